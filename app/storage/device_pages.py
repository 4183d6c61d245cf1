"""Every device that is known, page by page: what it is called, where it is, and what it owes.

The first statement goes along the register's key, so that a page costs the same at any depth; the others look up what
belongs to the devices of the page.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, and_, exists, func, or_, select, union
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import aliased
from sqlalchemy.sql.selectable import SelectBase

from app.caller import Reach
from app.plausibility import CLOCK_SKEW
from app.storage.database import Database, Transaction
from app.storage.reach import devices_within, reports_within, within
from app.storage.reports.records import COLUMNS, ReportRecord, to_record
from app.storage.reports.statements import Arguments, Statement, looked_up
from app.storage.running_sessions import DeviceState, RunningSession, has_state, running_sessions, state_of
from app.storage.sessions import SessionClock
from app.storage.tables import AliasRow, DeviceRow

_NUMBER = "mdn:"
_LIKE_MARKS = re.compile(r"([%_\\])")
_ESCAPED = r"\\\1"

# Beside its own key, a device has those under which stands what came under its numbers alone. A report from the future
# is dated wrongly, and would be the latest one for long.
_LATEST = """
WITH keys AS MATERIALIZED (
    SELECT device AS of, device AS key FROM unnest({devices}::text[]) AS device
    UNION SELECT device, 'mdn:' || mdn FROM account_aliases AS a WHERE device = ANY ({devices}::text[]) {of_accounts}
), positioned AS MATERIALIZED (
    SELECT DISTINCT ON (k.of) k.of, p.at, p.report_id
    FROM keys AS k CROSS JOIN LATERAL (
        -- OFFSET 0 keeps the planner from reading all positions.
        SELECT p.at, p.report_id FROM positions AS p WHERE p.device = k.key {positions_within} OFFSET 0
    ) AS p
    ORDER BY k.of, p.at DESC
)
SELECT k.of, false AS is_position, {columns}
FROM (SELECT keys.of, keys.key, p.at FROM keys LEFT JOIN positioned AS p USING (of)) AS k
CROSS JOIN LATERAL (
    SELECT {columns} FROM reports AS r
    WHERE r.device = k.key AND r.at >= coalesce(k.at, '-infinity') AND r.at < {until} {reports_within}
    ORDER BY r.at DESC, r.id DESC LIMIT 1
) AS r
UNION ALL
SELECT p.of, true, {columns}
FROM positioned AS p
JOIN LATERAL ({position}) AS r ON r.id = p.report_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFilter:
    """Which devices are wanted; None wants them all, and everything given has to hold.

    Attributes:
        account: Known in this account.
        parts: One of them stands anywhere in an identifier or the name, in whatever case.
        reach: What the reader may see at all.
    """

    account: str | None = None
    parts: Sequence[str] | None = None
    state: DeviceState | None = None
    reach: Reach


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownDevice:
    """A device and how it stands.

    Attributes:
        key: Its key in `reports`.
        accounts: In which it is known, as far as the reader may see them.
        latest: Its latest report.
        position: The report with its latest fix.
        sessions: In which it is to report.
    """

    key: str
    kind: str | None
    mdn: str | None
    name: str | None
    accounts: Sequence[str]
    latest: ReportRecord | None
    position: ReportRecord | None
    sessions: Sequence[RunningSession]

    @property
    def state(self) -> DeviceState:
        """Whether it reports as it should."""
        return state_of(self.sessions)


async def page(
    database: Database, wanted: DeviceFilter, clock: SessionClock, *, after: str | None, limit: int
) -> list[KnownDevice]:
    """Read the devices whose keys come after one."""

    async def work(db: Transaction) -> tuple[Sequence[Row[Any]], Mapping[str, Sequence[RunningSession]]]:
        rows = (await db.execute(registered(wanted, clock, after, limit))).all()
        return rows, await running_sessions(db, [row.device for row in rows], clock, wanted.reach)

    rows, sessions = await database.read(work)
    keys = [row.device for row in rows]
    latest = await _latest(database, keys, clock.now, wanted.reach)
    return [
        KnownDevice(
            key=row.device,
            kind=row.kind,
            mdn=row.mdn,
            name=row.name,
            accounts=[account for account in row.accounts if account],
            latest=latest.get((row.device, False)),
            position=latest.get((row.device, True)),
            sessions=sessions.get(row.device, ()),
        )
        for row in rows
    ]


def registered(wanted: DeviceFilter, clock: SessionClock, after: str | None, limit: int) -> Select[Any]:
    """Select a page of the register."""
    found = (
        select(
            DeviceRow.device,
            func.max(DeviceRow.device_kind).label("kind"),
            _newest(DeviceRow.mdn).label("mdn"),
            _newest(DeviceRow.name).label("name"),
            func.array_agg(aggregate_order_by(DeviceRow.account, DeviceRow.account)).label("accounts"),
        )
        .where(*devices_within(wanted.reach), ~_is_listed_by_id())
        .group_by(DeviceRow.device)
        .order_by(DeviceRow.device)
        .limit(limit)
    )
    if after is not None:
        found = found.where(DeviceRow.device > after)
    if wanted.account is not None:
        found = found.having(func.bool_or(DeviceRow.account == wanted.account))
    if wanted.parts is not None:
        found = found.where(DeviceRow.device.in_(_going_by(wanted.parts, wanted.reach)))
    if wanted.state is not None:
        found = found.where(has_state(wanted.state, clock, wanted.reach))
    return found


def _newest(column: Any) -> Any:
    return func.array_agg(aggregate_order_by(column, DeviceRow.seen_at.desc())).filter(column.is_not(None))[1]


def _is_listed_by_id() -> Any:
    """Hold for numbers of which the account's book says whose they are."""
    is_in_book = exists().where(
        AliasRow.mdn == func.substr(DeviceRow.device, len(_NUMBER) + 1), AliasRow.account == DeviceRow.account
    )
    return and_(DeviceRow.device.startswith(_NUMBER), is_in_book)


def _going_by(parts: Sequence[str], reach: Reach) -> SelectBase:
    """Select the devices that are called by something with one of the parts, or by a former number.

    Two selections, because an index leads to either, and to no combination of both.
    """
    named = aliased(DeviceRow)
    patterns = [f"%{_LIKE_MARKS.sub(_ESCAPED, part)}%" for part in parts]
    is_called_so = or_(
        *(column.ilike(pattern) for pattern in patterns for column in (named.device, named.mdn, named.name))
    )
    former = select(AliasRow.device).where(AliasRow.mdn.in_(parts))
    if reach.accounts is not None:
        former = former.where(AliasRow.account.in_(sorted(reach.accounts)))
    return union(select(named.device).where(is_called_so, *devices_within(reach, named)), former)


async def _latest(
    database: Database, devices: Sequence[str], now: datetime, reach: Reach
) -> dict[tuple[str, bool], ReportRecord]:
    """Find the latest report of each device, and the one with its latest fix (True)."""
    found: dict[tuple[str, bool], ReportRecord] = {}
    for row in await database.fetch(*_latest_of(devices, now, reach)):
        of, is_position, *report = row.values()
        record = to_record(report)
        known = found.get((of, is_position))
        if known is None or (known.at, known.id) < (record.at, record.id):
            found[of, is_position] = record
    return found


def _latest_of(devices: Sequence[str], now: datetime, reach: Reach) -> Statement:
    given = Arguments()
    of_accounts = "" if reach.accounts is None else f"AND account = ANY ({given.add(sorted(reach.accounts))}::text[])"
    text = _LATEST.format(
        devices=given.add(list(devices)),
        of_accounts=of_accounts,
        until=given.add(now + CLOCK_SKEW),
        positions_within=_and(within(reach, given.add, of="p")),
        reports_within=_and(reports_within(reach, given.add, of="r")),
        columns=COLUMNS,
        position=looked_up("p.at", "p.report_id"),
    )
    return (text, *given)


def _and(conditions: Sequence[str]) -> str:
    return "".join(f" AND {condition}" for condition in conditions)
