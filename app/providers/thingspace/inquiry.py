"""The calls of `POST /locations` that one request leads to (reference, section 4)."""

import asyncio
from collections.abc import Mapping, Sequence
from copy import copy
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
    ProviderTimeout,
    UnableToLocate,
)
from app.model import Deadline, Located
from app.plausibility import may_be_believed
from app.providers.thingspace.answers import CacheMode, read_answers, to_answer
from app.providers.thingspace.chunks import Asked, to_chunks
from app.providers.thingspace.client import Call, Client
from app.providers.thingspace.settings import NAME
from app.providers.thingspace.vendor_errors import is_about_one_device
from app.providers.thingspace.wire import DeviceId, LocationsRequest, to_json
from app.upstream import CallSlots, CallTimes, part_of, reserved

_FEWEST_CALLS = 8
_MOST_CALLS = 64
_TIME_RESOLUTION = timedelta(seconds=1)
_LONG_AGO = timedelta(minutes=5)
_STALE_HINT = "thingspace: the position is the newest there is, and older than five minutes"
_BUDGET_HINT = (
    "thingspace: the key's budget of billed fixes is used up; the position comes from the cache, which is free"
)

Outcome = Located | GatewayError


class Inquiry:
    """All calls for one request: how fresh, to whom, how many at a time."""

    def __init__(self, client: Client, times: Mapping[CacheMode, CallTimes], deadline: Deadline) -> None:
        self._client = client
        self._times = times
        self._deadline = deadline
        self._slots = {
            mode: CallSlots(of_mode, deadline, fewest=_FEWEST_CALLS, most=_MOST_CALLS)
            for mode, of_mode in times.items()
        }

    async def locate(self, asked: Sequence[Asked], max_age_s: int | None) -> list[Outcome]:
        """Locate devices of equal freshness, in the order asked."""
        match ladder(max_age_s):
            case ("1",):
                return await self._locate_of_any_age(asked)
            case ("2",):
                started_at = datetime.now(UTC)
                return [_with_age_hint(outcome, started_at) for outcome in await self._ask(asked, "2")]
        return await self._locate_no_older(asked, timedelta(seconds=max_age_s or 0))

    async def _locate_of_any_age(self, asked: Sequence[Asked]) -> list[Outcome]:
        """Take what there is; a caller who may spend nothing more gets what is in the cache, which is free."""
        outcomes = await self._ask(asked, "1")
        refused = [place for place, outcome in enumerate(outcomes) if isinstance(outcome, BudgetExceeded)]
        if refused:
            cached = await self._ask([asked[place] for place in refused], "0")
            for place, outcome in zip(refused, cached, strict=True):
                if isinstance(outcome, Located):
                    outcomes[place] = replace(outcome, hints=(*outcome.hints, _BUDGET_HINT))
        return outcomes

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
        try:
            async with self._slots[mode].slot():
                if mode == "0":
                    return await self._call(chunk, mode)
                return await self._client.paid.answer_to(
                    self._call(chunk, mode), times=self._times[mode], deadline=self._deadline
                )
        except GatewayError as error:
            return await self._despite(error, chunk, mode)

    async def _despite(self, error: GatewayError, chunk: list[Asked], mode: CacheMode) -> dict[Asked, Outcome]:
        """Assign a failed call's error to its devices, after asking again about those that it need not concern."""
        outcomes: dict[Asked, Outcome] = {device: _of_one(error, device) for device in chunk}
        again: list[list[Asked]] = []
        if isinstance(error, BudgetExceeded) and 0 < error.left < len(chunk):
            again = [chunk[: error.left]]
        elif isinstance(error, ProviderError) and is_about_one_device(error) and len(chunk) > 1:
            # One device spoiled it for all; refused as a whole, the call cost nothing.
            again = [[device] for device in chunk]
        for part in await asyncio.gather(*(self._ask_chunk(part, mode) for part in again)):
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
            may_outlast=not is_free,
        )
        asked_at = datetime.now(UTC)
        async with reserved(0 if is_free else len(chunk)) as reservation:
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
            await reservation.give_back(sum(_is_certainly_free(outcome) for outcome in outcomes.values()))
        return outcomes


def ladder(max_age_s: int | None) -> tuple[CacheMode, ...]:
    """List the cache modes that are asked for, one after the other, until an answer is fresh enough."""
    if max_age_s is None:
        return ("1",)
    return ("0", "2") if max_age_s else ("2",)


def times_by_freshness() -> Mapping[CacheMode, CallTimes]:
    """Begin to measure how long calls take, apart for each cache mode: finding a device anew takes much longer."""
    return {"0": CallTimes(NAME), "1": CallTimes(NAME), "2": CallTimes(NAME)}


def _of_one(error: GatewayError, device: Asked) -> GatewayError:
    """Copy the error of a call for one of its devices, which has its own part of a late answer."""
    if not isinstance(error, ProviderTimeout) or error.late is None:
        return error
    of_one = copy(error)
    of_one.late = part_of(error.late, lambda outcomes: _located(outcomes[device]))
    return of_one


def _located(outcome: Outcome) -> Located:
    if isinstance(outcome, GatewayError):
        raise outcome
    return outcome


def _is_certainly_free(outcome: Outcome) -> bool:
    """Return whether a device's part of a call cannot have been billed: it came from the cache, or was refused."""
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
        reason = "It is not known how old ThingSpace's newest position is; send maxAge 0 to take it as current."
    error = MaxAgeNotMet(reason, provider=NAME)
    error.obtained = outcome
    return error


def _with_age_hint(outcome: Outcome, started_at: datetime) -> Outcome:
    if isinstance(outcome, Located) and started_at - outcome.fix.fixed_at > _LONG_AGO:
        return replace(outcome, hints=(*outcome.hints, _STALE_HINT))
    return outcome
