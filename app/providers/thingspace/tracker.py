"""Periodic location (reference, section 6)."""

from collections.abc import Sequence
from typing import Never
from urllib.parse import quote

import httpx

from app import identifiers
from app.errors import (
    FieldError,
    InvalidArgument,
    MalformedJson,
    OutcomeUnknown,
    ProviderError,
    ProviderRefused,
    UnexpectedReply,
    UnsupportedIdentifier,
)
from app.model import AccountName, Deadline, Device, Mdn, PeriodicPlan, TransactionId
from app.providers.thingspace import reading
from app.providers.thingspace.client import Call, Client
from app.providers.thingspace.settings import NAME, ThingSpaceSettings
from app.providers.thingspace.vendor_errors import by_words, fault_in
from app.providers.thingspace.wire import DeviceId, PeriodicStartRequest, to_json
from app.upstream import reserved

STOP_LIMIT = 100
_PATH = "/devicelocations/action/periodic"
_DONE_ALREADY = "unable to cancel"


class ThingSpaceTracker:
    """Has ThingSpace report positions at intervals."""

    def __init__(self, client: Client, settings: ThingSpaceSettings) -> None:
        self._client = client
        self._as_text = settings.periodic_numbers == "strings"
        self._joined = settings.stop_mdn_encoding == "comma"

    @property
    def stop_limit(self) -> int:
        """100 MDNs go into one stop call."""
        return STOP_LIMIT

    async def start(self, plan: PeriodicPlan, *, deadline: Deadline) -> TransactionId:
        """Start periodic reports; where ThingSpace may have taken the request, the outcome is unknown."""
        call = Call(
            method="POST",
            path=_PATH,
            operation="start",
            body=self._to_body(plan),
            account=plan.account,
        )
        try:
            async with reserved(len(plan.devices) * (plan.count or 1)):
                started = await self._client.call(call, _transaction_id, deadline=deadline)
        except ProviderError as error:
            if not error.may_have_been_received:
                raise
            _raise_unknown(error)
        if started is None:
            _raise_unknown(None)
        return started

    def _to_body(self, plan: PeriodicPlan) -> bytes:
        return to_json(
            PeriodicStartRequest(
                account_name=plan.account,
                device_list=[_to_device_id(device, place) for place, device in enumerate(plan.devices)],
                max_loc_age=self._number(plan.max_age_s),
                number_of_fixes=self._number(plan.count or 0),
                fix_interval=self._number(plan.interval_s),
                start_time=self._number(plan.start_delay_s),
            )
        )

    def _number(self, value: int) -> str | int:
        return str(value) if self._as_text else value

    async def stop(
        self, account: AccountName, transaction_id: TransactionId, mdns: Sequence[Mdn], *, deadline: Deadline
    ) -> TransactionId:
        """Stop reports of up to 100 devices; the stop's own id is the start's where ThingSpace names none.

        A stop that is too late because an earlier sending of it got through is a success.
        """
        if not 1 <= len(mdns) <= STOP_LIMIT:
            raise InvalidArgument(f"A stop call takes 1 to {STOP_LIMIT} devices.")
        path = self._stop_path(account, transaction_id, mdns)
        call = Call(method="DELETE", path=path, operation="stop", account=account, is_safe=True)
        try:
            stopped = await self._client.call(call, _transaction_id, deadline=deadline)
        except ProviderError as error:
            if call.in_doubt and _DONE_ALREADY in (error.vendor_message or "").lower():
                return transaction_id
            raise
        return stopped or transaction_id

    def _stop_path(self, account: AccountName, transaction_id: TransactionId, mdns: Sequence[Mdn]) -> str:
        encoded = [quote(mdn, safe="") for mdn in mdns]
        listed = f"&mdn={','.join(encoded)}" if self._joined else "".join(f"&mdn={mdn}" for mdn in encoded)
        return f"{_PATH}/{quote(transaction_id, safe='')}?accountName={quote(account, safe='')}{listed}"


def _to_device_id(device: Device, place: int) -> DeviceId:
    if device.imei is None:
        wrong = FieldError(pointer=f"/devices/{place}/imei", code="REQUIRED", detail="Send the device's IMEI.")
        raise UnsupportedIdentifier("ThingSpace locates periodically by IMEI only.", errors=(wrong,))
    return DeviceId(id=device.imei, kind="imei", mdn=device.mdn)


def _transaction_id(response: httpx.Response) -> TransactionId | None:
    """Find the transaction's id under any of its names; an opaque text, which may come with a blank behind it.

    Raises:
        UnexpectedReply: The answer is not JSON.
        ProviderError: It is an error in spite of its status.
    """
    if not response.content.strip():
        return None
    try:
        value = reading.decode(response.content)
    except MalformedJson as error:
        raise UnexpectedReply(
            "ThingSpace's answer could not be read.", provider=NAME, may_have_been_received=True
        ) from error
    found = reading.members(value)
    written = identifiers.transaction_id(reading.text(reading.first(found, "transactionid", "txid")) or "")
    fault = fault_in(value)
    if not written and fault.code:
        raise by_words(fault) or ProviderRefused("ThingSpace rejected the request.", provider=NAME)
    return TransactionId(written) if written else None


def _raise_unknown(error: ProviderError | None) -> Never:
    raise OutcomeUnknown(
        "ThingSpace may have started the periodic location, or not. Wait for its reports before starting it again.",
        provider=NAME,
        vendor_code=error.vendor_code if error else None,
        vendor_message=error.vendor_message if error else None,
        may_have_been_received=True,
    ) from error
