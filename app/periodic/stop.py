"""Stop a session or some of its devices, in calls as large as the provider takes them."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from app.errors import FieldError, GatewayError, IncompatibleState, MissingIdentifier, NotFound, ProviderTimeout
from app.model import AccountName, Deadline, Mdn, TransactionId
from app.periodic.background import persistently
from app.periodic.claim import SessionClaims
from app.periodic.context import SessionContext
from app.storage import aliases, session_views, sessions
from app.storage.session_views import SessionView
from app.storage.tables import SessionRow
from app.worker import Background

log = structlog.get_logger()

_CALLS_AT_ONCE = 4
_STOP_LIMIT_S = 120
_RECORDING_S = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class StopFailure:
    """A device that goes on, and why."""

    imei: str | None
    mdn: str | None
    error: GatewayError


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """What became of a stop.

    Attributes:
        accepted: How many devices the provider has agreed to stop.
        failures: The others that were to be stopped.
    """

    session: SessionView
    accepted: int
    failures: tuple[StopFailure, ...] = ()

    @property
    def requested(self) -> int:
        """How many devices were to be stopped by this request."""
        return self.accepted + len(self.failures)


@dataclass(slots=True)
class _Wanted:
    """Devices that are to be stopped, by IMEI with the MDN to address them by."""

    devices: dict[str, str] = field(default_factory=dict)
    failures: list[StopFailure] = field(default_factory=list)


class SessionStop:
    """Stops sessions."""

    def __init__(self, parts: SessionContext, background: Background, claiming: SessionClaims) -> None:
        self._parts = parts
        self._background = background
        self._claiming = claiming
        self._turns: dict[UUID, tuple[asyncio.Lock, list[None]]] = {}

    async def stop(self, key: UUID, mdns: Sequence[str]) -> Stopped:
        """Stop the devices with these MDNs, or all when there are none; those asked before are not asked again.

        A caller who goes away does not stop the stopping.

        Raises:
            NotFound: There is no such session.
            IncompatibleState: It is not known yet whether the session was started.
        """
        return await self._background.sheltered(self._stop(key, mdns))

    async def _stop(self, key: UUID, mdns: Sequence[str]) -> Stopped:
        async with self._turn(key):
            row, wanted = await self._select(key, mdns)
            accepted = 0
            if wanted.devices:
                accepted = await self._call(row, wanted)
            clock = self._parts.clock()
            async with self._parts.database.transaction() as db:
                await sessions.advance(db, clock, [key])
                view = await session_views.view(db, key, clock)
        assert view is not None
        return Stopped(session=view, accepted=accepted, failures=tuple(wanted.failures))

    @asynccontextmanager
    async def _turn(self, key: UUID) -> AsyncIterator[None]:
        """Let one stop of a session finish before the next one looks at what is left; replicas may overlap."""
        lock, waiting = self._turns.setdefault(key, (asyncio.Lock(), []))
        waiting.append(None)
        try:
            async with lock:
                yield
        finally:
            waiting.pop()
            if not waiting:
                del self._turns[key]

    async def _select(self, key: UUID, mdns: Sequence[str]) -> tuple[SessionRow, _Wanted]:
        wanted = _Wanted()
        async with self._parts.database.transaction() as db:
            await sessions.advance(db, self._parts.clock(), [key])
            row = await sessions.find(db, key)
            if row is None:
                raise NotFound("There is no such session.")
            if row.state in ("requested", "unknown"):
                raise IncompatibleState(
                    "It is not known yet whether the provider has started this session; wait for its first callback."
                )
            if row.state in sessions.ENDED:
                return row, wanted
            chosen: dict[str, str] = {}
            if mdns:
                chosen = await sessions.devices_with(db, key, mdns)
                others = [mdn for mdn in mdns if mdn not in chosen]
                chosen |= {pair.mdn: pair.id for pair in await aliases.current(db, row.account, mdns=others)}
            left = await sessions.devices_to_stop(db, key, list(chosen.values()) if mdns else None)
            unknown = [device.device for device in left if device.mdn is None]
            learned = {pair.id: pair.mdn for pair in await aliases.current(db, row.account, ids=unknown)}
            members = await sessions.members(db, key, list(chosen.values()))
        given = {device: mdn for mdn, device in chosen.items()}
        for device in left:
            mdn = given.get(device.device) or device.mdn or learned.get(device.device)
            if mdn is None:
                wanted.failures.append(StopFailure(imei=device.device, mdn=None, error=_unaddressed()))
            else:
                wanted.devices[device.device] = mdn
        strangers = [mdn for mdn in mdns if chosen.get(mdn) not in members]
        wanted.failures.extend(StopFailure(imei=None, mdn=mdn, error=_not_one_of_its()) for mdn in strangers)
        return row, wanted

    async def _call(self, row: SessionRow, wanted: _Wanted) -> int:
        """Ask the provider, several calls at once; return how many devices it agreed to stop."""
        tracker_limit = self._parts.tracker_of(row.provider).stop_limit
        by_mdn: dict[str, list[str]] = {}
        for device, mdn in wanted.devices.items():
            by_mdn.setdefault(mdn, []).append(device)
        mdns = list(by_mdn)
        chunks = [mdns[begin : begin + tracker_limit] for begin in range(0, len(mdns), tracker_limit)]
        gate = asyncio.Semaphore(_CALLS_AT_ONCE)
        deadline = Deadline.after(_STOP_LIMIT_S)

        async def one(chunk: list[str]) -> int:
            devices = {device: mdn for mdn in chunk for device in by_mdn[mdn]}
            async with gate:
                error = await self._call_once(row, devices, deadline)
            if error is None:
                return len(devices)
            wanted.failures.extend(StopFailure(imei=device, mdn=mdn, error=error) for device, mdn in devices.items())
            return 0

        return sum(await asyncio.gather(*(one(chunk) for chunk in chunks)))

    async def _call_once(self, row: SessionRow, devices: Mapping[str, str], deadline: Deadline) -> GatewayError | None:
        """Stop devices, by IMEI with their MDNs, in one call and record it; return what went wrong."""
        assert row.transaction_id is not None
        mdns = [Mdn(mdn) for mdn in dict.fromkeys(devices.values())]
        try:
            async with asyncio.timeout(deadline.left_s() + 1):
                stop_id = await self._parts.tracker_of(row.provider).stop(
                    AccountName(row.account), TransactionId(row.transaction_id), mdns, deadline=deadline
                )
            await persistently(lambda: self._record(row.id, stop_id, devices), for_s=_RECORDING_S)
        except TimeoutError:
            return ProviderTimeout("The stop was not answered in time; it is safe to repeat it.", provider=row.provider)
        except GatewayError as error:
            return error
        except Exception as error:  # noqa: BLE001 -- the other calls have to go on, and be reported
            log.error("stop failed unexpectedly", error=type(error).__name__)
            return GatewayError()
        return None

    async def _record(self, key: UUID, stop_id: TransactionId, devices: Mapping[str, str]) -> None:
        async with self._parts.database.transaction() as db:
            await sessions.locked(db, key)
            await sessions.link_transaction(db, key, stop_id, "stop")
            await sessions.note_stops(db, key, devices, self._parts.now())
        await self._claiming.claim([stop_id])


def _unaddressed() -> MissingIdentifier:
    detail = "neither a request nor a callback has shown it yet"
    return MissingIdentifier(
        "The device's MDN is not known, and only by it can it be stopped.",
        errors=(FieldError(pointer="/mdn", code="MISSING", detail=detail),),
    )


def _not_one_of_its() -> NotFound:
    return NotFound("No device of this session has this MDN.")
