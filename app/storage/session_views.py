"""Sessions as they are shown: with their counts, worked out from the plan, the reports and the clock."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, Select, and_, case, cast, extract, func, literal, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from app.caller import EVERYTHING, Reach
from app.storage.reach import sessions_within
from app.storage.sessions import Clock, grace_s
from app.storage.tables import ReportRow, SessionDeviceRow, SessionRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What came of the reports of a session or of one of its devices.

    Attributes:
        due: Reports that should have come by now.
        missing: Of those, the ones that neither came nor failed; never made up for by another device.
    """

    received: int = 0
    failed: int = 0
    due: int = 0
    missing: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionView:
    """A session and how it stands."""

    row: SessionRow
    counts: Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceView:
    """A device of a session and how it stands.

    Attributes:
        last: The report with its latest fix.
    """

    row: SessionDeviceRow
    counts: Counts
    last: ReportRow | None


async def view(db: AsyncSession, key: UUID, clock: Clock) -> SessionView | None:
    """Show one session."""
    found = await _views(db, select(SessionRow.id).where(SessionRow.id == key), clock)
    return found[0] if found else None


async def page(
    db: AsyncSession,
    clock: Clock,
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


async def devices(db: AsyncSession, key: UUID, clock: Clock, *, after: str | None, limit: int) -> list[DeviceView]:
    """Show devices of a session, in the order of their IMEIs; `after` goes on behind that one."""
    due, missing = _due(clock), _missing(clock)
    wanted = (
        select(SessionDeviceRow, ReportRow, due, missing)
        .join(SessionRow, SessionRow.id == SessionDeviceRow.session_id)
        .outerjoin(
            ReportRow, (ReportRow.at == SessionDeviceRow.last_at) & (ReportRow.id == SessionDeviceRow.last_report_id)
        )
        .where(SessionDeviceRow.session_id == key)
        .order_by(SessionDeviceRow.device)
        .limit(limit)
    )
    if after is not None:
        wanted = wanted.where(SessionDeviceRow.device > after)
    return [
        DeviceView(
            row=device,
            last=report,
            counts=Counts(received=device.received, failed=device.failed, due=due, missing=missing),
        )
        for device, report, due, missing in await db.execute(wanted)
    ]


async def _views(db: AsyncSession, wanted: Select[UUID], clock: Clock) -> list[SessionView]:
    # One row with the sums for each session, so that a page of sessions is one query.
    sums = (
        select(
            func.coalesce(func.sum(SessionDeviceRow.received), 0).label("received"),
            func.coalesce(func.sum(SessionDeviceRow.failed), 0).label("failed"),
            func.coalesce(func.sum(_due(clock)), 0).label("due"),
            func.coalesce(func.sum(_missing(clock)), 0).label("missing"),
        )
        .where(SessionDeviceRow.session_id == SessionRow.id)
        .lateral("sums")
    )
    rows = await db.execute(
        select(SessionRow, sums.c.received, sums.c.failed, sums.c.due, sums.c.missing)
        .join(sums, true())
        .where(SessionRow.id.in_(wanted.scalar_subquery()))
        .order_by(SessionRow.id.desc())
        .execution_options(populate_existing=True)
    )
    return [
        SessionView(
            row=row, counts=Counts(received=int(received), failed=int(failed), due=int(due), missing=int(missing))
        )
        for row, received, failed, due, missing in rows
    ]


async def count_by_state(db: AsyncSession) -> dict[str, int]:
    """Count the sessions that are kept, by state."""
    counted = await db.execute(select(SessionRow.state, func.count()).group_by(SessionRow.state))
    return {state: count for state, count in counted}  # noqa: C416 -- a row is no pair to dict()


async def missing_of_open(db: AsyncSession, clock: Clock) -> int:
    """Count the reports that running sessions should have by now and lack."""
    lacking = (
        select(func.coalesce(func.sum(_missing(clock)), 0))
        .select_from(SessionDeviceRow)
        .join(SessionRow, SessionRow.id == SessionDeviceRow.session_id)
        .where(SessionRow.state.in_(("active", "stopping")))
    )
    return int(await db.scalar(lacking) or 0)


def _due(clock: Clock) -> ColumnElement[int]:
    """Express how many reports of a device should have come by now.

    The fix number k is expected at the start + delay + k intervals, and its report within the grace after that. A
    fix's own time does not count, because a cached one may be older than the session.
    """
    now = literal(clock.now)
    stopped_at = func.coalesce(SessionDeviceRow.stop_requested_at, SessionDeviceRow.stopped_at)
    since_start_s = extract("epoch", func.least(now, stopped_at) - SessionRow.started_at)
    since_first_s = since_start_s - SessionRow.start_delay_s - grace_s(clock)
    by_now = func.greatest(0, func.floor(since_first_s / SessionRow.interval_s) + 1)
    due = case(
        (SessionRow.started_at.is_(None), 0),
        (and_(SessionRow.state == "completed", stopped_at.is_(None)), SessionRow.count),
        else_=func.least(SessionRow.count, by_now),
    )
    return cast(due, BigInteger())


def _missing(clock: Clock) -> ColumnElement[int]:
    came = SessionDeviceRow.received + SessionDeviceRow.failed
    return cast(func.greatest(0, _due(clock) - came), BigInteger())
