"""Locates devices by their identifiers: `POST /locations` (reference, section 4)."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from app.errors import (
    BudgetExceeded,
    ConsentRequired,
    DeviceNotOwned,
    DeviceUnknown,
    GatewayError,
    MaxAgeNotMet,
    ProviderError,
    ProviderUnavailable,
    UnableToLocate,
)
from app.model import Deadline, Device, Located, LocationQuery
from app.plausibility import may_be_believed
from app.provider import Assessment, LocatesBy
from app.providers.thingspace.answers import CacheMode, read_answers, to_answer
from app.providers.thingspace.chunks import Asked, to_chunks
from app.providers.thingspace.client import Call, Client
from app.providers.thingspace.settings import NAME
from app.providers.thingspace.vendor_errors import is_about_one_device
from app.providers.thingspace.wire import DeviceId, LocationsRequest, to_json

CONCURRENT_CALLS = 8
_TIME_RESOLUTION = timedelta(seconds=1)
_LONG_AGO = timedelta(minutes=5)
_STALE_HINT = "thingspace: the position is the newest there is, and older than five minutes"

Outcome = Located | GatewayError


class ThingSpaceLocator:
    """Asks ThingSpace where the network sees a device."""

    def __init__(self, client: Client, default_account: str | None) -> None:
        self._client = client
        self._default_account = default_account

    @property
    def locates_by(self) -> LocatesBy:
        """By the device's identifiers."""
        return "device"

    def assess(self, query: LocationQuery) -> Assessment:
        """Ask for an id, an MDN and an account; measurements are not needed."""
        device = query.device
        if device.id is None and device.mdn is None:
            return Assessment(usable=False, reason="ThingSpace needs the device's IMEI, MEID or ESN, and its MDN.")
        if device.id is None or device.kind is None:
            reason = "ThingSpace needs the device's IMEI, MEID or ESN beside its MDN."
            return Assessment(usable=False, reason=reason, missing_identifier="id")
        if device.mdn is None:
            reason = "ThingSpace needs the device's MDN beside its IMEI, MEID or ESN."
            return Assessment(usable=False, reason=reason, missing_identifier="mdn")
        if not (device.account or self._default_account):
            reason = "ThingSpace needs a billing account: give device.account or set THINGSPACE_ACCOUNT."
            return Assessment(usable=False, reason=reason)
        return Assessment(usable=True)

    async def locate(self, query: LocationQuery, *, request_id: str, deadline: Deadline) -> Located:
        """Locate one device."""
        inquiry = _Inquiry(self._client, deadline)
        [outcome] = await inquiry.locate([self._to_asked(query.device)], query.max_age_s)
        if isinstance(outcome, GatewayError):
            raise outcome
        return outcome

    async def locate_many(
        self, queries: Sequence[LocationQuery], *, request_id: str, deadline: Deadline
    ) -> list[Located | ProviderError]:
        """Locate many devices, 20 to a call where account and freshness agree."""
        inquiry = _Inquiry(self._client, deadline)
        places: dict[int | None, list[int]] = {}
        for place, query in enumerate(queries):
            places.setdefault(query.max_age_s, []).append(place)
        groups = await asyncio.gather(
            *(
                inquiry.locate([self._to_asked(queries[place].device) for place in alike], max_age_s)
                for max_age_s, alike in places.items()
            )
        )
        outcomes: dict[int, Outcome] = {}
        for alike, group in zip(places.values(), groups, strict=True):
            outcomes |= zip(alike, group, strict=True)
        return _without_own_trouble([outcomes[place] for place in range(len(queries))])

    def _to_asked(self, device: Device) -> Asked:
        assert device.id is not None, "assessed before"
        assert device.kind is not None, "assessed before"
        assert device.mdn is not None, "assessed before"
        account = device.account or self._default_account or ""
        return Asked(account=account, id=device.id, kind=device.kind, mdn=device.mdn)


class _Inquiry:
    """All calls for one request: how fresh, to whom, how many at a time."""

    def __init__(self, client: Client, deadline: Deadline) -> None:
        self._client = client
        self._deadline = deadline
        self._slots = asyncio.Semaphore(CONCURRENT_CALLS)

    async def locate(self, asked: Sequence[Asked], max_age_s: int | None) -> list[Outcome]:
        """Locate devices of equal freshness, in the order asked."""
        if max_age_s is None:
            return await self._ask(asked, "1")
        if max_age_s == 0:
            started_at = datetime.now(UTC)
            return [_with_age_hint(outcome, started_at) for outcome in await self._ask(asked, "2")]
        return await self._locate_no_older(asked, timedelta(seconds=max_age_s))

    async def _locate_no_older(self, asked: Sequence[Asked], max_age: timedelta) -> list[Outcome]:
        """Look into the cache, which is free, and have found anew what is missing or too old there."""
        outcomes = await self._ask(asked, "0")
        oldest_at = datetime.now(UTC) - max_age
        missing = [place for place, outcome in enumerate(outcomes) if _is_insufficient(outcome, oldest_at)]
        if missing:
            # The stated times have whole seconds, so a fix of this very moment may seem a little older.
            oldest_at = datetime.now(UTC) - max_age - _TIME_RESOLUTION
            current = await self._ask([asked[place] for place in missing], "2")
            for place, outcome in zip(missing, current, strict=True):
                outcomes[place] = _if_fresh(outcome, oldest_at)
        return outcomes

    async def _ask(self, asked: Sequence[Asked], mode: CacheMode) -> list[Outcome]:
        chunks = to_chunks(asked)
        if len(chunks) == 1:
            found = await self._ask_chunk(chunks[0], mode)
        else:
            found = {}
            for part in await asyncio.gather(*(self._ask_chunk(chunk, mode) for chunk in chunks)):
                found |= part
        return [found[device] for device in asked]

    async def _ask_chunk(self, chunk: list[Asked], mode: CacheMode) -> dict[Asked, Outcome]:
        outcomes: dict[Asked, Outcome]
        try:
            async with self._slots:
                return await self._call(chunk, mode)
        except BudgetExceeded as error:
            outcomes = dict.fromkeys(chunk, error)
            if 0 < error.left < len(chunk):
                outcomes |= await self._ask_chunk(chunk[: error.left], mode)
            return outcomes
        except ProviderError as error:
            if len(chunk) == 1 or not is_about_one_device(error):
                return dict.fromkeys(chunk, error)
        except GatewayError as error:
            return dict.fromkeys(chunk, error)
        # One device spoiled it for all; refused as a whole, the call cost nothing.
        outcomes = {}
        for part in await asyncio.gather(*(self._ask_chunk([device], mode) for device in chunk)):
            outcomes |= part
        return outcomes

    async def _call(self, chunk: list[Asked], mode: CacheMode) -> dict[Asked, Outcome]:
        account = chunk[0].account
        body = LocationsRequest(
            account_name=account,
            accuracy_mode="0",
            cache_mode=mode,
            device_list=[DeviceId(id=device.id, kind=device.kind, mdn=device.mdn) for device in chunk],
        )
        is_free = mode == "0"
        call = Call(
            method="POST",
            path="/locations",
            operation="locate",
            body=to_json(body),
            account=account,
            is_safe=is_free,
            fixes=0 if is_free else len(chunk),
        )
        asked_at = datetime.now(UTC)
        answers = await self._client.call(
            call, lambda response: read_answers(response.content, account=account), deadline=self._deadline
        )
        now = datetime.now(UTC)
        outcomes: dict[Asked, Outcome] = {}
        for device in chunk:
            entry, raw = answers.get(device.mdn) or answers.get(device.id) or (None, None)
            outcomes[device] = (
                UnableToLocate("ThingSpace's answer does not mention the device.", provider=NAME)
                if entry is None
                else to_answer(entry, raw, mode=mode, account=account, asked_at=asked_at, now=now)
            )
        await self._client.give_back(call, sum(_is_certainly_free(outcome) for outcome in outcomes.values()))
        return outcomes


def _is_certainly_free(outcome: Outcome) -> bool:
    """Tell whether a device's part of a call cannot have been billed: it came from the cache, or was refused."""
    if isinstance(outcome, Located):
        return outcome.billed is False
    return isinstance(outcome, ConsentRequired | DeviceNotOwned | DeviceUnknown)


def _is_insufficient(outcome: Outcome, oldest_at: datetime) -> bool:
    if isinstance(outcome, Located):
        return not _is_fresh(outcome, oldest_at)
    return isinstance(outcome, UnableToLocate)


def _is_fresh(located: Located, oldest_at: datetime) -> bool:
    return may_be_believed(located.flags) and located.fix.fixed_at >= oldest_at


def _if_fresh(outcome: Outcome, oldest_at: datetime) -> Outcome:
    if not isinstance(outcome, Located) or _is_fresh(outcome, oldest_at):
        return outcome
    reason = "Even ThingSpace's newest position is older than asked."
    if not may_be_believed(outcome.flags):
        reason = "Nobody knows how old ThingSpace's newest position is; send maxAge 0 to take it as current."
    error = MaxAgeNotMet(reason, provider=NAME)
    error.obtained = outcome
    return error


def _with_age_hint(outcome: Outcome, started_at: datetime) -> Outcome:
    if isinstance(outcome, Located) and started_at - outcome.fix.fixed_at > _LONG_AGO:
        return replace(outcome, hints=(*outcome.hints, _STALE_HINT))
    return outcome


def _without_own_trouble(outcomes: list[Outcome]) -> list[Located | ProviderError]:
    """Raise what is the gateway's own trouble, unless positions would be lost that are perhaps paid for."""
    any_located = any(isinstance(outcome, Located) for outcome in outcomes)
    results: list[Located | ProviderError] = []
    for outcome in outcomes:
        if isinstance(outcome, Located | ProviderError):
            results.append(outcome)
        elif any_located:
            results.append(ProviderUnavailable("A login is needed and could not be made.", provider=NAME))
        else:
            raise outcome
    return results
