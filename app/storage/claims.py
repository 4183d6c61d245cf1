"""Reports that came before their session was known: assigning them to it, and counting them exactly once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ARRAY, Text, exists, func, literal, or_, select, text
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncSession

from app.storage.counting import COUNTED
from app.storage.flags import WITH_CLAIM, of_own_account
from app.storage.sessions import seconds
from app.storage.tables import ReportRow, SessionDeviceRow, SessionRow, SessionTransactionRow

CLOCK_SLACK = timedelta(seconds=5)
"""How far the clocks of two replicas may be apart."""

_ADOPTION_LOCK = 0x61646F7074

_CLAIM = text(f"""
WITH new AS (
    UPDATE reports AS r SET
        session_id = s.id,
        flags = {WITH_CLAIM}
    FROM session_transactions AS t JOIN sessions AS s ON s.id = t.session_id
    WHERE t.transaction_id = ANY (CAST(:ids AS text[])) AND r.transaction_id = t.transaction_id
        AND r.account = t.account AND r.session_id IS NULL AND {of_own_account("r.flags")}
    RETURNING r.session_id, r.device, r.mdn, r.type, r.status, r.at, r.id, r.flags, r.received_at
), counted AS ({COUNTED})
SELECT count(*) FROM new
""")  # noqa: S608 -- put together from our own constants


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownTransaction:
    """A transaction that belongs to no session, as its reports show it.

    Attributes:
        devices: Every device that it has reported on.
        first_at: When its first report arrived.
        last_at: When its latest report arrived.
    """

    transaction_id: str
    provider: str
    account: str
    devices: tuple[str, ...]
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCandidate:
    """A session that a stranger may belong to.

    Attributes:
        devices_digest: Equal for sessions with the same devices.
    """

    row: SessionRow
    devices_digest: str


async def claim(db: AsyncSession, transaction_ids: Sequence[str]) -> int:
    """Assign the reports of these transactions to the sessions they belong to; return how many there were.

    Only reports that this statement itself assigns are counted, so that of two concurrent ones the second counts none.
    """
    await db.flush()
    claimed: int = (await db.execute(_CLAIM, {"ids": list(transaction_ids)})).scalar_one()
    return claimed


async def is_any_session_unknown(db: AsyncSession) -> bool:
    """Return whether any session waits for a transaction of its own."""
    return bool(await db.scalar(select(exists().where(SessionRow.state == "unknown"))))


async def lock_adoptions(db: AsyncSession) -> None:
    """Keep other replicas from adopting until the transaction ends."""
    await db.execute(select(func.pg_advisory_xact_lock(_ADOPTION_LOCK)))


async def strangers(db: AsyncSession, transaction_ids: Sequence[str]) -> list[UnknownTransaction]:
    """Find those of the transactions, by account, that belong to no session."""
    known = exists().where(
        SessionTransactionRow.transaction_id == ReportRow.transaction_id,
        SessionTransactionRow.account == ReportRow.account,
    )
    rows = await db.execute(
        select(
            ReportRow.transaction_id,
            func.min(ReportRow.provider),
            ReportRow.account,
            func.array_agg(ReportRow.device.distinct()),
            func.min(ReportRow.received_at).label("first_at"),
            func.max(ReportRow.received_at),
        )
        .where(ReportRow.transaction_id == func.any(literal(list(transaction_ids), ARRAY(Text()))))
        .where(ReportRow.session_id.is_(None), ReportRow.type == "location", ~known)
        .where(ReportRow.account.is_not(None), text(of_own_account("reports.flags")))
        .group_by(ReportRow.transaction_id, ReportRow.account)
        .order_by(text("first_at"))
    )
    return [
        UnknownTransaction(
            transaction_id=transaction_id or "",
            provider=provider,
            account=account or "",
            devices=tuple(devices),
            first_at=first_at,
            last_at=last_at,
        )
        for transaction_id, provider, account, devices, first_at, last_at in rows
    ]


async def candidates(db: AsyncSession, stranger: UnknownTransaction, grace: timedelta) -> list[SessionCandidate]:
    """Find the sessions that fit a stranger: account, devices, and time; oldest first.

    A session that is still being started is among them: the stranger may be its own, and its reply on the way.
    """
    among_them = SessionDeviceRow.device == func.any(literal(list(stranger.devices), ARRAY(Text())))
    mine = SessionDeviceRow.session_id == SessionRow.id
    devices_in_common = select(func.count()).select_from(SessionDeviceRow).where(mine, among_them).scalar_subquery()
    length = seconds(SessionRow.start_delay_s + SessionRow.count * SessionRow.interval_s)
    digest = (
        select(
            func.md5(
                func.string_agg(SessionDeviceRow.device, aggregate_order_by(literal(","), SessionDeviceRow.device))
            )
        )
        .where(mine)
        .scalar_subquery()
    )
    rows = await db.execute(
        select(SessionRow, digest)
        .where(SessionRow.state.in_(("unknown", "requested")), SessionRow.transaction_id.is_(None))
        .where(SessionRow.provider == stranger.provider, SessionRow.account == stranger.account)
        .where(SessionRow.created_at <= stranger.first_at + CLOCK_SLACK)
        .where(or_(SessionRow.count.is_(None), SessionRow.created_at + length >= stranger.last_at - grace))
        .where(devices_in_common == len(stranger.devices))
        .order_by(SessionRow.created_at, SessionRow.id)
        .execution_options(populate_existing=True)
    )
    return [SessionCandidate(row=row, devices_digest=digest or "") for row, digest in rows]


async def lingering(db: AsyncSession, since: datetime) -> list[str]:
    """List transactions without a session that report on devices of sessions that wait for one."""
    wanted = (
        select(ReportRow.transaction_id)
        .distinct()
        .join(SessionDeviceRow, SessionDeviceRow.device == ReportRow.device)
        .join(SessionRow, SessionRow.id == SessionDeviceRow.session_id)
        .where(SessionRow.state == "unknown", SessionRow.account == ReportRow.account)
        .where(ReportRow.session_id.is_(None), ReportRow.transaction_id.is_not(None), ReportRow.at >= since)
        .where(text(of_own_account("reports.flags")))
    )
    return [found for found in await db.scalars(wanted) if found]
