"""A provider that is no part of the product, as somebody would add one: a module with `Settings` and `build`.

It can all that a provider can: it locates, reports periodically, posts signed callbacks, and registers listeners.
"""

import hashlib
import hmac
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

from pydantic_settings import BaseSettings, SettingsConfigDict

from app.errors import GatewayError, MalformedJson, UnexpectedReply
from app.model import (
    AccountName,
    Deadline,
    Device,
    Fix,
    Headers,
    Located,
    LocationQuery,
    Mdn,
    PeriodicPlan,
    ProviderName,
    Registration,
    Report,
    SimpleFix,
    TransactionId,
)
from app.provider import Assessment, LocatesBy, Provider, ProviderModule, SignatureMode, Vault

NAME = ProviderName("beacon")
ACCOUNT = AccountName("lighthouse")
SERVICE = "BeaconReports"
SIGNATURE = "x-beacon-signature"


class Settings(BaseSettings):
    """The settings of the beacons."""

    model_config = SettingsConfigDict(env_prefix="BEACON_")

    floor: int = 0


@dataclass
class Network:
    """What the beacons' own service was asked, and what it keeps."""

    queries: list[LocationQuery] = field(default_factory=list)
    started: list[PeriodicPlan] = field(default_factory=list)
    stopped: list[tuple[TransactionId, tuple[Mdn, ...]]] = field(default_factory=list)
    listeners: dict[AccountName, Registration] = field(default_factory=dict)


class Beacons:
    """Knows every device to be at the same place."""

    locates_by: LocatesBy = "measurements"

    def __init__(self, settings: Settings, network: Network) -> None:
        self._settings = settings
        self._network = network

    def assess(self, query: LocationQuery) -> Assessment:
        return Assessment(usable=True)

    async def locate(self, query: LocationQuery, *, request_id: str, deadline: Deadline) -> Located:
        self._network.queries.append(query)
        return Located(fix=fix_at(float(self._settings.floor), 0.0, datetime.now(UTC)))

    async def locate_many(
        self, queries: Sequence[LocationQuery], *, request_id: str, deadline: Deadline
    ) -> list[Located | GatewayError]:
        return [await self.locate(query, request_id=request_id, deadline=deadline) for query in queries]


class BeaconTracker:
    """Begins jobs, and ends them."""

    stop_limit = 1

    def __init__(self, network: Network) -> None:
        self._network = network

    async def start(self, plan: PeriodicPlan, *, deadline: Deadline) -> TransactionId:
        self._network.started.append(plan)
        return TransactionId(f"job-{len(self._network.started)}")

    async def stop(
        self, account: AccountName, transaction_id: TransactionId, mdns: Sequence[Mdn], *, deadline: Deadline
    ) -> TransactionId:
        self._network.stopped.append((transaction_id, tuple(mdns)))
        return TransactionId(f"end-{len(self._network.stopped)}")


class BeaconCallbacks:
    """Reads callbacks of the form `{"job", "imei", "latitude", "longitude", "seen"}`, signed with a plain HMAC."""

    signature_mode: SignatureMode = "enforce"
    fixed_token: str | None = None
    fixed_secret: str | None = None

    def read_simple_fix(self, body: bytes) -> SimpleFix | None:
        return None

    def read(self, body: bytes) -> list[Report]:
        try:
            said = json.loads(body)
        except ValueError:
            raise MalformedJson("The body is no JSON.") from None
        if "job" not in said:
            raise UnexpectedReply("The callback names no job.", provider=NAME)
        seen = datetime.fromisoformat(said["seen"]) if "seen" in said else None
        return [
            Report(
                provider=NAME,
                type="other" if seen is None else "location",
                status="info" if seen is None else "located",
                content_key=body.decode(),
                account=ACCOUNT,
                transaction_id=TransactionId(said["job"]),
                device=Device(id=said["imei"], kind="imei") if "imei" in said else Device(),
                fix=None if seen is None else fix_at(said["latitude"], said["longitude"], seen),
                said_at=seen,
            )
        ]

    def is_authentic(self, body: bytes, headers: Headers, secret: str) -> bool | None:
        signature = headers.get(SIGNATURE)
        return None if signature is None else hmac.compare_digest(signature, self.sign(body, secret)[SIGNATURE])

    def redacted(self, body: bytes) -> bytes:
        return body

    def sign(self, body: bytes, secret: str) -> Headers:
        return {SIGNATURE: hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}

    def test_message(self, account: AccountName, transaction_id: TransactionId) -> bytes:
        return json.dumps({"job": transaction_id}).encode()


class BeaconListeners:
    """Keeps one address for each account."""

    services = (SERVICE,)

    def __init__(self, network: Network) -> None:
        self._network = network

    async def register(self, account: AccountName, service: str, url: str, *, deadline: Deadline) -> Registration:
        registration = Registration(account=account, service=service, url=url, secret=f"secret of {account}")
        self._network.listeners[account] = registration
        return registration

    async def registered(self, account: AccountName, *, deadline: Deadline) -> list[Registration]:
        return [self._network.listeners[account]] if account in self._network.listeners else []

    async def remove(self, account: AccountName, service: str, *, deadline: Deadline) -> None:
        self._network.listeners.pop(account, None)


def fix_at(latitude_deg: float, longitude_deg: float, seen: datetime) -> Fix:
    """Make a fix of a beacon."""
    return Fix(
        latitude_deg=latitude_deg,
        longitude_deg=longitude_deg,
        accuracy_m=5.0,
        confidence_pct=95,
        fixed_at=seen,
        source="unknown",
        provider=NAME,
    )


NETWORK = Network()


def build(transport: object | None = None, *, vault: Vault | None = None) -> Provider:
    return Provider(
        name=NAME,
        configured=True,
        locator=Beacons(Settings(), NETWORK),
        tracker=BeaconTracker(NETWORK),
        callbacks=BeaconCallbacks(),
        listeners=BeaconListeners(NETWORK),
        default_account=ACCOUNT,
        key_material=b"the beacons' own key",
    )


third = cast("ProviderModule", sys.modules[__name__])
