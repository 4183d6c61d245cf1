"""Periodic sessions: keeping them, finding them, and moving their state along."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Text, and_, case, exists, func, insert, literal, or_, select, text, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncSession

from app import identifiers
from app.caller import EVERYTHING, Reach
from app.ids import parse_id
from app.model import TransactionId
from app.storage import tallies
from app.storage.device_register import DeviceRegistration, register
from app.storage.reach import sessions_within
from app.storage.tables import SESSION_TALLIES, SessionDeviceRow, SessionRow, SessionTransactionRow

STOP_GRACE = timedelta(minutes=10)
"""How long to wait for a session's stop callbacks."""

ENDED = frozenset({"completed", "stopped", "failed"})

_SKEW = timedelta(minutes=1)
"""Tolerated clock skew between replicas. An end further in the future came from a wrong clock."""

_FOLLOWING_ENDS = {"active": "completed", "stopping": "stopped"}
_FOLLOWING = _FOLLOWING_ENDS | {"requested": "unknown", "completed": "active", "stopped": "stopping"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionClock:
    """What the states and counts of sessions depend on, besides the reports.

    Attributes:
        now: The present instant.
        grace_s: How late a report may be at least; a tenth of the interval when that is more, never a whole one.
        call_limit: A session that is still `requested` after this time was left behind by a process that died.
    """

    now: datetime
    grace_s: int
    call_limit: timedelta


async def add(db: AsyncSession, row: SessionRow, devices: Mapping[str, str | None]) -> None:
    """Add a session with its devices, by IMEI with the MDN where it is known."""
    db.add(row)
    await db.flush()
    listed = (
        func.unnest(literal(list(devices), ARRAY(Text())), literal(list(devices.values()), ARRAY(Text())))
        .table_valued("device", "mdn")
        .render_derived("listed")
    )
    await db.execute(
        insert(SessionDeviceRow).from_select(
            ["session_id", "device", "mdn"],
            select(literal(row.id, SessionDeviceRow.session_id.type), listed.c.device, listed.c.mdn),
        )
    )
    # Their numbers are only what the caller says, until the provider has accepted them.
    await register(db, row.account, (DeviceRegistration(device, "imei") for device in devices), row.created_at)


async def id_of(db: AsyncSession, reference: str, reach: Reach = EVERYTHING) -> UUID | None:
    """Find a session within reach by its own id or by a transaction id of its start or its stops.

    Of several accounts with the same transaction id, the newest session counts.
    """
    if "\x00" in reference:
        return None
    within = select(SessionRow.id).where(*sessions_within(reach))
    if (key := parse_id(reference)) is not None:
        found: UUID | None = await db.scalar(within.where(SessionRow.id == key))
        if found is not None:
            return found
    transaction = identifiers.transaction_id(reference)
    owners = select(SessionTransactionRow.session_id).where(SessionTransactionRow.transaction_id == transaction)
    newest: UUID | None = await db.scalar(
        within.where(SessionRow.id.in_(owners)).order_by(SessionRow.id.desc()).limit(1)
    )
    return newest


async def find(db: AsyncSession, key: UUID) -> SessionRow | None:
    """Fetch a session as it is now."""
    return await db.get(SessionRow, key, populate_existing=True)


async def locked(db: AsyncSession, key: UUID) -> SessionRow | None:
    """Fetch a session as it is now, and keep others from changing it until the transaction ends."""
    return await db.get(SessionRow, key, with_for_update=True, populate_existing=True)


async def link_transaction(db: AsyncSession, key: UUID, transaction_id: TransactionId, kind: str) -> bool:
    """Record that a transaction of its account belongs to a session; False when it is recorded already."""
    values = select(literal(transaction_id), SessionRow.id, literal(kind), SessionRow.account)
    recorded = await db.scalar(
        postgresql.insert(SessionTransactionRow)
        .from_select(["transaction_id", "session_id", "kind", "account"], values.where(SessionRow.id == key))
        .on_conflict_do_nothing()
        .returning(SessionTransactionRow.session_id)
    )
    return recorded is not None


def mark_active(row: SessionRow, transaction_id: TransactionId, at: datetime) -> None:
    """Record that the provider has accepted a session; a later state is kept."""
    if row.state in ("requested", "unknown"):
        row.state = "active"
    row.transaction_id = transaction_id
    row.started_at = at
    row.ends_at = planned_end(row, at)
    row.problem = None


def planned_end(row: SessionRow, started_at: datetime) -> datetime | None:
    """Return when a session that began at `started_at` is over; None when it has no end."""
    if row.count is None:
        return None
    return started_at + timedelta(seconds=row.start_delay_s + row.count * row.interval_s)


async def mark_failed(db: AsyncSession, key: UUID, problem: dict[str, Any], now: datetime) -> None:
    """Record that the provider has refused a session."""
    waiting = update(SessionRow).where(SessionRow.id == key, SessionRow.state.in_(("requested", "unknown")))
    await db.execute(waiting.values(state="failed", problem=problem, ended_at=now))


async def mark_unknown(db: AsyncSession, key: UUID, problem: dict[str, Any]) -> None:
    """Record that it is unknown whether the provider has accepted a session."""
    waiting = update(SessionRow).where(SessionRow.id == key, SessionRow.state.in_(("requested", "unknown")))
    await db.execute(waiting.values(state="unknown", problem=problem))


async def advance(
    db: AsyncSession, clock: SessionClock, keys: Sequence[UUID] | None = None, *, is_thorough: bool = False
) -> None:
    """Update the states of sessions by their reports and the clock; None updates all sessions.

    Rows locked by another replica are skipped, so that replicas never wait for each other. A session that was stopping
    is active again once the provider reports that one of its devices did not stop.

    Args:
        is_thorough: Of all sessions, look at the ended ones as well, which no index leads to. Those that lack reports
            and end in the future go on: a clock that was ahead, and has been put back since, had ended them.
    """
    now = literal(clock.now)
    abandoned = and_(SessionRow.state == "requested", SessionRow.created_at < clock.now - clock.call_limit)
    over = and_(
        SessionRow.state == "active",
        or_(SessionRow.ends_at + seconds(grace_s(clock)) < now, and_(SessionRow.count.is_not(None), ~_lacks_reports())),
    )
    halted = and_(
        SessionRow.state == "stopping",
        or_(SessionRow.stop_requested_at < clock.now - STOP_GRACE, ~_runs_somewhere()),
    )
    goes_on = and_(SessionRow.state.in_(("stopping", "stopped")), _failed_to_stop(clock))
    causes = [abandoned, over, halted, and_(SessionRow.state == "stopping", goes_on)]
    if keys is not None or is_thorough:
        causes += [_ended_too_soon(clock), and_(SessionRow.state == "stopped", goes_on)]
    due = select(SessionRow.id).where(or_(*causes)).order_by(SessionRow.id)
    if keys is not None:
        due = due.where(SessionRow.id.in_(keys))
    moved = due.with_for_update(skip_locked=True).cte("moved")
    ends = SessionRow.state.in_(list(_FOLLOWING_ENDS))
    await db.execute(
        update(SessionRow)
        .where(SessionRow.id.in_(select(moved.c.id)))
        .values(
            state=case((goes_on, "active"), else_=case(_FOLLOWING, value=SessionRow.state)),
            ended_at=case((and_(ends, ~goes_on), now), else_=None),
            stop_requested_at=case((goes_on, None), else_=SessionRow.stop_requested_at),
        )
        .execution_options(synchronize_session=False)
    )


def _ended_too_soon(clock: SessionClock) -> ColumnElement[bool]:
    unfinished = or_(
        and_(SessionRow.state == "completed", _lacks_reports()), and_(SessionRow.state == "stopped", _runs_somewhere())
    )
    return and_(SessionRow.ended_at > clock.now + _SKEW, unfinished)


def _lacks_reports() -> ColumnElement[bool]:
    return tallies.devices_going_on(SESSION_TALLIES.c.came < SessionRow.count) > 0


def _runs_somewhere() -> ColumnElement[bool]:
    return tallies.devices_going_on() > 0


def goes_on() -> ColumnElement[bool]:
    """Hold for devices of a session that are to report on."""
    return and_(SessionDeviceRow.stopped_at.is_(None), SessionDeviceRow.ended_at.is_(None))


def _is_unasked() -> ColumnElement[bool]:
    return and_(SessionDeviceRow.stop_requested_at.is_(None), goes_on())


def _failed_to_stop(clock: SessionClock) -> ColumnElement[bool]:
    """Hold where a stop has failed for a device that goes on, in a session that is not over by its plan."""
    mine = SessionDeviceRow.session_id == SessionRow.id
    fails = exists().where(mine, SessionDeviceRow.stop_failed_at.is_not(None), _is_unasked())
    return and_(or_(SessionRow.ends_at.is_(None), SessionRow.ends_at > clock.now), fails)


def grace_s(clock: SessionClock) -> Any:
    """Express how late a session's report may be before it counts as missing, in seconds.

    Never longer than an interval, so that a dead listener is noticed within one.
    """
    return func.least(SessionRow.interval_s, func.greatest(clock.grace_s, SessionRow.interval_s // 10))


def seconds(amount: Any) -> Any:
    """Express an amount of seconds as an interval."""
    return amount * text("interval '1 second'")


async def devices_to_stop(
    db: AsyncSession, key: UUID, devices: Sequence[str] | None = None
) -> Sequence[SessionDeviceRow]:
    """List the devices of a session that have not been asked to stop yet; None lists them all."""
    asked = select(SessionDeviceRow).where(
        SessionDeviceRow.session_id == key,
        _is_unasked(),
    )
    if devices is not None:
        asked = asked.where(SessionDeviceRow.device.in_(devices))
    return (await db.scalars(asked.order_by(SessionDeviceRow.device))).all()


async def devices_with(db: AsyncSession, key: UUID, mdns: Sequence[str]) -> dict[str, str]:
    """Find the devices of a session that have these MDNs, by MDN."""
    wanted = select(SessionDeviceRow.mdn, SessionDeviceRow.device).where(
        SessionDeviceRow.session_id == key, SessionDeviceRow.mdn.in_(mdns)
    )
    return {mdn: device for mdn, device in await db.execute(wanted) if mdn is not None}


async def members(db: AsyncSession, key: UUID, devices: Sequence[str]) -> set[str]:
    """Return which of these devices belong to a session."""
    wanted = select(SessionDeviceRow.device).where(
        SessionDeviceRow.session_id == key, SessionDeviceRow.device.in_(devices)
    )
    return set(await db.scalars(wanted))


async def note_stops(db: AsyncSession, key: UUID, devices: Mapping[str, str], at: datetime) -> None:
    """Record that these devices, with the MDNs they were addressed by, have been asked to stop.

    The session is `stopping` once all of its devices have been asked.
    """
    listed = (
        func.unnest(literal(list(devices), ARRAY(Text())), literal(list(devices.values()), ARRAY(Text())))
        .table_valued("device", "mdn")
        .render_derived("listed")
    )
    await db.execute(
        update(SessionDeviceRow)
        .where(SessionDeviceRow.session_id == key, SessionDeviceRow.device == listed.c.device)
        .values(
            stop_requested_at=func.coalesce(SessionDeviceRow.stop_requested_at, at),
            mdn=func.coalesce(SessionDeviceRow.mdn, listed.c.mdn),
        )
    )
    unasked = exists().where(SessionDeviceRow.session_id == key, _is_unasked())
    await db.execute(
        update(SessionRow)
        .where(SessionRow.id == key, SessionRow.state == "active", ~unasked)
        .values(state="stopping", stop_requested_at=at)
    )


async def recent_transactions(db: AsyncSession, since: datetime) -> list[str]:
    """List the transactions of the sessions that run, or ended after `since`."""
    young = or_(SessionRow.ended_at.is_(None), SessionRow.ended_at > since)
    listed = select(SessionTransactionRow.transaction_id).join(
        SessionRow, SessionRow.id == SessionTransactionRow.session_id
    )
    return list(await db.scalars(listed.where(young)))
