"""Sessions as they are shown: with their counts, worked out from the plan, the reports and the clock."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    ScalarSelect,
    Select,
    and_,
    case,
    cast,
    extract,
    func,
    literal,
    select,
    true,
)
from sqlalchemy.ext.asyncio import AsyncSession

from app.caller import EVERYTHING, Reach
from app.storage import tallies
from app.storage.reach import sessions_within
from app.storage.report_lookup import Key, reports_at
from app.storage.reports.records import ReportRecord, record_of
from app.storage.session_records import SessionDeviceRecord, SessionRecord
from app.storage.sessions import SessionClock, grace_s
from app.storage.tables import SESSION_TALLIES, SessionDeviceRow, SessionRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The counts of the reports of a session, or of one of its devices.

    Attributes:
        due: Reports that should have come by now.
        missing: Of those, the ones that neither came nor failed; never made up for by another device.
        ended: Reports that are no longer expected, because the provider has given their devices up.
    """

    received: int = 0
    failed: int = 0
    due: int = 0
    missing: int = 0
    ended: int = 0


NONE_YET = Counts()


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionView:
    """A session and how it stands."""

    row: SessionRecord
    counts: Counts

    @property
    def id(self) -> UUID:
        """The session's id."""
        return self.row.id

    @classmethod
    def of(cls, row: SessionRow, counts: Counts = NONE_YET) -> "SessionView":
        """Describe a session by its row; without counts, it is one that has just been requested."""
        return cls(row=SessionRecord.of(row), counts=counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceView:
    """A device of a session and how it stands.

    Attributes:
        state: `ended` once the provider has given it up, else as the session's states.
        last: The report with its latest fix.
        last_error: Its latest report of a failure.
    """

    row: SessionDeviceRecord
    state: str
    counts: Counts
    last: ReportRecord | None
    last_error: ReportRecord | None


async def view(db: AsyncSession, key: UUID, clock: SessionClock) -> SessionView | None:
    """Show one session."""
    found = await _views(db, select(SessionRow.id).where(SessionRow.id == key), clock)
    return found[0] if found else None


async def page(
    db: AsyncSession,
    clock: SessionClock,
    *,
    state: str | None,
    account: str | None,
    before: UUID | None,
    limit: int,
    reach: Reach = EVERYTHING,
) -> list[SessionView]:
    """Show sessions, newest first; `before` goes on after the session with that id."""
    wanted = select(SessionRow.id).where(*sessions_within(reach)).order_by(SessionRow.id.desc()).limit(limit)
    if state is not None:
        wanted = wanted.where(SessionRow.state == state)
    if account is not None:
        wanted = wanted.where(SessionRow.account == account)
    if before is not None:
        wanted = wanted.where(SessionRow.id < before)
    return await _views(db, wanted, clock)


async def devices(
    db: AsyncSession, key: UUID, clock: SessionClock, *, after: str | None, limit: int
) -> list[DeviceView]:
    """Show devices of a session, in the order of their IMEIs; `after` goes on behind that one."""
    due, missing, ended = _due(_EACH, clock), _missing(_EACH, clock), _ended(_EACH, clock)
    wanted = (
        select(SessionDeviceRow, SessionRow.state, due, missing, ended)
        .join(SessionRow, SessionRow.id == SessionDeviceRow.session_id)
        .where(SessionDeviceRow.session_id == key)
        .order_by(SessionDeviceRow.device)
        .limit(limit)
    )
    if after is not None:
        wanted = wanted.where(SessionDeviceRow.device > after)
    found = (await db.execute(wanted)).all()
    keys = [key for row, *_ in found for key in (_last(row), _last_error(row)) if key is not None]
    reports = {key: record_of(report) for key, report in (await reports_at(db, keys)).items()}
    return [
        DeviceView(
            row=SessionDeviceRecord.of(device),
            state=_device_state(device, state),
            last=reports.get(last) if (last := _last(device)) else None,
            last_error=reports.get(error) if (error := _last_error(device)) else None,
            counts=Counts(received=device.received, failed=device.failed, due=due, missing=missing, ended=ended),
        )
        for device, state, due, missing, ended in found
    ]


def _last(device: SessionDeviceRow) -> Key | None:
    return _key(device.last_at, device.last_report_id)


def _last_error(device: SessionDeviceRow) -> Key | None:
    return _key(device.last_error_at, device.last_error_id)


def _key(at: datetime | None, report_id: UUID | None) -> Key | None:
    return None if at is None or report_id is None else (at, report_id)


def _device_state(device: SessionDeviceRow, session_state: str) -> str:
    if device.ended_at is not None:
        return "ended"
    if device.stopped_at is not None:
        return "stopped"
    if device.stop_requested_at is not None and session_state == "active":
        return "stopping"
    return session_state


async def _views(db: AsyncSession, wanted: Select[UUID], clock: SessionClock) -> list[SessionView]:
    # One row with the sums for each session, so that a page of sessions is one query.
    alike = _ALIKE.devices
    sums = (
        select(
            tallies.summed(SESSION_TALLIES.c.received).label("received"),
            tallies.summed(SESSION_TALLIES.c.failed).label("failed"),
            tallies.summed(alike * _due(_ALIKE, clock)).label("due"),
            tallies.summed(alike * _missing(_ALIKE, clock)).label("missing"),
            tallies.summed(alike * _ended(_ALIKE, clock)).label("ended"),
        )
        .where(SESSION_TALLIES.c.session_id == SessionRow.id)
        .lateral("sums")
    )
    rows = await db.execute(
        select(SessionRow, sums.c.received, sums.c.failed, sums.c.due, sums.c.missing, sums.c.ended)
        .join(sums, true())
        .where(SessionRow.id.in_(wanted.scalar_subquery()))
        .order_by(SessionRow.id.desc())
        .execution_options(populate_existing=True)
    )
    return [
        SessionView.of(
            row,
            Counts(received=int(received), failed=int(failed), due=int(due), missing=int(missing), ended=int(ended)),
        )
        for row, received, failed, due, missing, ended in rows
    ]


async def count_by_state(db: AsyncSession) -> dict[str, int]:
    """Count the sessions that are kept, by state."""
    counted = await db.execute(select(SessionRow.state, func.count()).group_by(SessionRow.state))
    return {state: count for state, count in counted}  # noqa: C416 -- a row is no pair to dict()


async def missing_of_open(db: AsyncSession, clock: SessionClock) -> int:
    """Count the reports that running sessions should have by now and lack."""
    lacking = (
        select(tallies.summed(_ALIKE.devices * _missing(_ALIKE, clock)))
        .select_from(SESSION_TALLIES)
        .join(SessionRow, SessionRow.id == SESSION_TALLIES.c.session_id)
        .where(SessionRow.state.in_(("active", "stopping")))
    )
    return int(await db.scalar(lacking) or 0)


async def failed_stops_of_open(db: AsyncSession) -> int:
    """Count the devices of running sessions of which the provider said that they could not be stopped."""
    failed = (
        select(func.count())
        .select_from(SessionDeviceRow)
        .join(SessionRow, SessionRow.id == SessionDeviceRow.session_id)
        .where(SessionRow.state.in_(("active", "stopping")), SessionDeviceRow.stop_failed_at.is_not(None))
        .where(SessionDeviceRow.stopped_at.is_(None), SessionDeviceRow.ended_at.is_(None))
    )
    return int(await db.scalar(failed) or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standing:
    """How devices of a session stand, as columns: one device, or all that stand alike."""

    devices: ColumnElement[int]
    stops_at: ColumnElement[datetime | None]
    has_ended: ColumnElement[bool]
    came: ColumnElement[int]


_EACH = _Standing(
    devices=literal(1),
    stops_at=func.coalesce(SessionDeviceRow.stop_requested_at, SessionDeviceRow.stopped_at),
    has_ended=SessionDeviceRow.ended_at.is_not(None),
    came=SessionDeviceRow.received + SessionDeviceRow.failed,
)
_ALIKE = _Standing(
    devices=SESSION_TALLIES.c.devices,
    stops_at=SESSION_TALLIES.c.stops_at,
    has_ended=SESSION_TALLIES.c.has_ended,
    came=SESSION_TALLIES.c.came,
)


def missing_of_session(clock: SessionClock) -> ScalarSelect[int]:
    """Express how many reports a session lacks."""
    lacking = tallies.summed(_ALIKE.devices * _missing(_ALIKE, clock))
    return select(lacking).where(SESSION_TALLIES.c.session_id == SessionRow.id).correlate(SessionRow).scalar_subquery()


def due_reports(clock: SessionClock) -> ColumnElement[int]:
    """Express how many reports of a device of a session should have come by now."""
    return _due(_EACH, clock)


def missing_reports(clock: SessionClock) -> ColumnElement[int]:
    """Express how many of those neither came nor failed."""
    return _missing(_EACH, clock)


def _due(of: _Standing, clock: SessionClock) -> ColumnElement[int]:
    """Express how many reports of a device should have come by now; one that has ended owes what came.

    The fix number k is expected at the start + delay + k intervals, and its report within the grace after that. A
    fix's own time does not count, because a cached one may be older than the session.
    """
    return cast(case((of.has_ended, of.came), else_=_planned(of, clock)), BigInteger())


def _planned(of: _Standing, clock: SessionClock) -> ColumnElement[int]:
    """Express how many reports of a device should have come by now, had the provider not given it up."""
    since_start_s = extract("epoch", func.least(literal(clock.now), of.stops_at) - SessionRow.started_at)
    since_first_s = since_start_s - SessionRow.start_delay_s - grace_s(clock)
    by_now = func.greatest(0, func.floor(since_first_s / SessionRow.interval_s) + 1)
    return case(
        (SessionRow.started_at.is_(None), 0),
        (and_(SessionRow.state == "completed", of.stops_at.is_(None)), SessionRow.count),
        else_=func.least(SessionRow.count, by_now),
    )


def _missing(of: _Standing, clock: SessionClock) -> ColumnElement[int]:
    return cast(func.greatest(0, _due(of, clock) - of.came), BigInteger())


def _ended(of: _Standing, clock: SessionClock) -> ColumnElement[int]:
    """Express how many reports are no longer expected of a device: the rest of its plan, or all due without an end."""
    owed = func.greatest(0, func.coalesce(SessionRow.count, _planned(of, clock)) - of.came)
    return cast(case((of.has_ended, owed), else_=0), BigInteger())
