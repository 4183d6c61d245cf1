"""From a filter to statements: which index leads, what is checked on the way, and where to go on.

Newest first is the order of every index here read backwards, so a page costs the same at any depth.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Select, Text, and_, column, func, literal_column, or_, select, true, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.expression import bindparam

from app.storage import aliases
from app.storage.reports.filters import Box, Place, ReportFilter
from app.storage.reports.records import COLUMNS, REPORTS
from app.storage.tables import SessionTransactionRow

Condition = ColumnElement[bool]

MOST_SCANNED = 100_000
"""How many reports one page looks through when no index leads to those that match."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A filter, ready to be turned into statements.

    Attributes:
        column: The indexed column that leads to the rows; None leaves it to the primary key.
        keys: The values of `column` that are wanted.
        most_scanned: See `MOST_SCANNED`.
    """

    wanted: ReportFilter
    column: ColumnElement[Any] | None = None
    keys: tuple[str, ...] = ()
    most_scanned: int = MOST_SCANNED

    @property
    def is_scan(self) -> bool:
        """Whether rows have to be looked through without knowing how many of them match."""
        return self.column is None and bool(_checks(self.wanted, REPORTS.c))

    def page(self, after: Place | None, limit: int) -> Select[Any]:
        """Select the `limit` rows after a place; a scan may find fewer, see `scanned_to`."""
        window = (*_window(self.wanted), *_after(after))
        if self.is_scan:
            looked_at = _newest(select(*COLUMNS).where(*window), self.most_scanned).subquery("looked_at")
            found = select(*looked_at.c).where(*_checks(self.wanted, looked_at.c))
            return _newest(found, limit, looked_at.c)
        return self._led(window, limit)

    def scanned_to(self, after: Place | None) -> Select[Any]:
        """Select the place where a scan after a place gives up; nothing when it comes to the end."""
        rows = select(REPORTS.c.at, REPORTS.c.id).where(*_window(self.wanted), *_after(after))
        return _newest(rows, 1).offset(literal_column(str(self.most_scanned - 1)))

    def everything(self) -> Select[Any]:
        """Select all rows."""
        return self._led(_window(self.wanted), None)

    def _led(self, window: Sequence[Condition], limit: int | None) -> Select[Any]:
        rows = select(*COLUMNS).where(*window, *_checks(self.wanted, REPORTS.c))
        if self.column is None:
            return _newest(rows, limit)
        if len(self.keys) == 1:
            return _newest(rows.where(self.column == self.keys[0]), limit)
        # An index gives the order for one key only: each key brings its newest rows, and these are put in order.
        keys = func.unnest(bindparam("keys", list(self.keys), ARRAY(Text())))
        wanted = keys.table_valued(column("key", Text()), name="wanted").render_derived()
        rows = rows.where(self.column == wanted.c.key)
        each = (rows if limit is None else _newest(rows, limit)).lateral("each")
        return _newest(select(*each.c).select_from(wanted).join(each, true()), limit, each.c)


async def resolve(session: AsyncSession, wanted: ReportFilter) -> Selection | None:
    """Look up what a filter stands for in the alias book and among the sessions; None when nothing can match."""
    if wanted.device_id is not None or wanted.mdn is not None:
        column, keys = REPORTS.c.device, await _device_keys(session, wanted)
    elif wanted.transaction_id is not None:
        column, keys = REPORTS.c.transaction_id, [wanted.transaction_id]
    elif wanted.session_id is not None:
        column, keys = REPORTS.c.transaction_id, await _transactions(session, wanted)
    else:
        return Selection(wanted=wanted)
    return Selection(wanted=wanted, column=column, keys=tuple(keys)) if keys else None


async def _device_keys(session: AsyncSession, wanted: ReportFilter) -> list[str]:
    """List the device keys of the identifier, of the MDN, or those that both have in common."""
    of_each = []
    if wanted.device_id is not None:
        keys = await aliases.keys_of(session, wanted.device_id)
        of_each.append([key for key in keys if key != f"mdn:{wanted.device_id}"])
    if wanted.mdn is not None:
        keys = await aliases.keys_of(session, wanted.mdn)
        of_each.append([key for key in keys if key != wanted.mdn])
    return [key for key in dict.fromkeys(of_each[0]) if key in of_each[-1]]


async def _transactions(session: AsyncSession, wanted: ReportFilter) -> list[str]:
    transactions = select(SessionTransactionRow.transaction_id).where(
        SessionTransactionRow.session_id == wanted.session_id
    )
    return list(await session.scalars(transactions))


def _window(wanted: ReportFilter) -> list[Condition]:
    """List the conditions that the order itself answers."""
    window: list[Condition] = []
    if wanted.since is not None:
        window.append(REPORTS.c.at >= wanted.since)
    if wanted.until is not None:
        window.append(REPORTS.c.at < wanted.until)
    return window


def _after(after: Place | None) -> tuple[Condition, ...]:
    if after is None:
        return ()
    # The comparison of both columns finds the place in an index; the first alone rules out partitions.
    return (REPORTS.c.at <= after.at, tuple_(REPORTS.c.at, REPORTS.c.id) < tuple_(*after))


def _checks(wanted: ReportFilter, columns: Any) -> list[Condition]:
    """List the conditions that every row of the window is held against."""
    exact: dict[str, Any] = {
        "session_id": wanted.session_id,
        "account": wanted.account,
        "type": wanted.type,
        "status": wanted.status,
    }
    if wanted.device_id is not None or wanted.mdn is not None:
        exact["transaction_id"] = wanted.transaction_id
    checks = [columns[name] == value for name, value in exact.items() if value is not None]
    if wanted.mdn is not None:
        checks.append(or_(columns.mdn == wanted.mdn, columns.mdn.is_(None)))
    if wanted.box is not None:
        checks.append(_inside(wanted.box, columns))
    return checks


def _inside(box: Box, columns: Any) -> Condition:
    both = or_ if box.crosses_antimeridian else and_
    return and_(
        columns.latitude.between(box.south_deg, box.north_deg),
        both(columns.longitude >= box.west_deg, columns.longitude <= box.east_deg),
    )


def _newest(rows: Select[Any], limit: int | None, columns: Any = REPORTS.c) -> Select[Any]:
    rows = rows.order_by(columns.at.desc(), columns.id.desc())
    # Written out, not bound: a prepared plan for an unknown limit would be one for a tenth of the table.
    return rows if limit is None else rows.limit(literal_column(str(limit)))
