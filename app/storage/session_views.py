"""Sessions as they are shown: with their counts, worked out from the plan, the reports and the clock."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, Select, and_, case, cast, extract, func, literal, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from app.caller import EVERYTHING, Reach
from app.storage.reach import sessions_within
from app.storage.report_lookup import looked_up
from app.storage.reports.records import ReportRecord, record_of
from app.storage.session_records import SessionDeviceRecord, SessionRecord
from app.storage.sessions import SessionClock, grace_s
from app.storage.tables import SessionDeviceRow, SessionRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What came of the reports of a session or of one of its devices.

    Attributes:
        due: Reports that should have come by now.
        missing: Of those, the ones that neither came nor failed; never made up for by another device.
        ended: Reports that are owed no more, because the provider has given their devices up.
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
    due, missing, ended = _due(clock), _missing(clock), _ended(clock)
    report, is_last = looked_up(SessionDeviceRow.last_at, SessionDeviceRow.last_report_id)
    failure, is_last_error = looked_up(SessionDeviceRow.last_error_at, SessionDeviceRow.last_error_id)
    wanted = (
        select(SessionDeviceRow, SessionRow.state, report, failure, due, missing, ended)
        .join(SessionRow, SessionRow.id == SessionDeviceRow.session_id)
        .outerjoin(report, is_last)
        .outerjoin(failure, is_last_error)
        .where(SessionDeviceRow.session_id == key)
        .order_by(SessionDeviceRow.device)
        .limit(limit)
    )
    if after is not None:
        wanted = wanted.where(SessionDeviceRow.device > after)
    return [
        DeviceView(
            row=SessionDeviceRecord.of(device),
            state=_device_state(device, state),
            last=None if report is None else record_of(report),
            last_error=None if error is None else record_of(error),
            counts=Counts(received=device.received, failed=device.failed, due=due, missing=missing, ended=ended),
        )
        for device, state, report, error, due, missing, ended in await db.execute(wanted)
    ]


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
    sums = (
        select(
            func.coalesce(func.sum(SessionDeviceRow.received), 0).label("received"),
            func.coalesce(func.sum(SessionDeviceRow.failed), 0).label("failed"),
            func.coalesce(func.sum(_due(clock)), 0).label("due"),
            func.coalesce(func.sum(_missing(clock)), 0).label("missing"),
            func.coalesce(func.sum(_ended(clock)), 0).label("ended"),
        )
        .where(SessionDeviceRow.session_id == SessionRow.id)
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
        select(func.coalesce(func.sum(_missing(clock)), 0))
        .select_from(SessionDeviceRow)
        .join(SessionRow, SessionRow.id == SessionDeviceRow.session_id)
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


def _due(clock: SessionClock) -> ColumnElement[int]:
    """Express how many reports of a device should have come by now; one that has ended owes what came.

    The fix number k is expected at the start + delay + k intervals, and its report within the grace after that. A
    fix's own time does not count, because a cached one may be older than the session.
    """
    return cast(case((SessionDeviceRow.ended_at.is_(None), _planned(clock)), else_=_came()), BigInteger())


def _planned(clock: SessionClock) -> ColumnElement[int]:
    """Express how many reports of a device should have come by now, had the provider not given it up."""
    now = literal(clock.now)
    stopped_at = func.coalesce(SessionDeviceRow.stop_requested_at, SessionDeviceRow.stopped_at)
    since_start_s = extract("epoch", func.least(now, stopped_at) - SessionRow.started_at)
    since_first_s = since_start_s - SessionRow.start_delay_s - grace_s(clock)
    by_now = func.greatest(0, func.floor(since_first_s / SessionRow.interval_s) + 1)
    return case(
        (SessionRow.started_at.is_(None), 0),
        (and_(SessionRow.state == "completed", stopped_at.is_(None)), SessionRow.count),
        else_=func.least(SessionRow.count, by_now),
    )


def _came() -> ColumnElement[int]:
    return SessionDeviceRow.received + SessionDeviceRow.failed


def _missing(clock: SessionClock) -> ColumnElement[int]:
    return cast(func.greatest(0, _due(clock) - _came()), BigInteger())


def _ended(clock: SessionClock) -> ColumnElement[int]:
    """Express how many reports a device owes no more: all that the plan had left, or was due without an end."""
    owed = func.greatest(0, func.coalesce(SessionRow.count, _planned(clock)) - _came())
    return cast(case((SessionDeviceRow.ended_at.is_(None), 0), else_=owed), BigInteger())
