"""Turns filters into statements: which index is used, what is checked on the way, and where the next page begins.

The order is that of every index here, read backwards for newest first, so a page costs the same at any depth. Values
never become part of a statement's text, so that texts are few and prepared once; limits do, because the plan depends on
them.

Reports are in the order of their own time, not of their arrival. Nearly all arrive at once, so what arrived within a
span is looked for among the reports of that span. Untimely reports, which arrived long after their time or before it,
have an index of their own.
"""

# ruff: noqa: S608 -- statements are put together from the constants of this module, and numbers

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from app.caller import Reach
from app.plausibility import CLOCK_SKEW, LATE_AFTER
from app.storage import flags
from app.storage.reach import reports_within
from app.storage.reports.filters import Box, ReportCursor, ReportFilter
from app.storage.reports.records import COLUMNS

MOST_SCANNED = 100_000
"""How many reports one page looks through when no index leads to those that match."""

Statement = tuple[str, *tuple[object, ...]]
"""The text of a statement, and then its arguments."""


class Arguments(list[object]):
    """The arguments of a statement that is being written."""

    def add(self, value: object) -> str:
        """Add a value; return its placeholder."""
        self.append(value)
        return f"${len(self)}"


def is_scan(wanted: ReportFilter) -> bool:
    """Return whether reports have to be scanned without knowing how many of them match."""
    checks = (wanted.account, wanted.type, wanted.status, wanted.flag, wanted.box, *_arrival(wanted))
    is_checked = any(value is not None for value in checks) or not wanted.reach.is_everything
    return is_checked and not _is_led(wanted)


def is_by_arrival(wanted: ReportFilter) -> bool:
    """Return whether only the time of arrival restricts them, so that timely and untimely ones are read apart."""
    return not _is_led(wanted) and _arrival(wanted) != (None, None)


def _is_led(wanted: ReportFilter) -> bool:
    leads = (wanted.device_id, wanted.mdn, wanted.name, wanted.transaction_id, wanted.session_id)
    return any(value is not None for value in leads)


def _arrival(wanted: ReportFilter) -> tuple[datetime | None, datetime | None]:
    return wanted.received_since, wanted.received_until


def page(wanted: ReportFilter, after: ReportCursor | None, limit: int, most_scanned: int = MOST_SCANNED) -> Statement:
    """Select the `limit` reports after a cursor; a scan may find fewer, see `scanned_to`."""
    arguments = Arguments()
    window = _window(wanted, after, arguments)
    limited = f"{_order(wanted)} LIMIT {limit}"
    if is_scan(wanted):
        looked_at = f"{_rows(window)} {_order(wanted)} LIMIT {most_scanned}"
        text = f"SELECT {COLUMNS} FROM ({looked_at}) AS r{_where(_checks(wanted, arguments))} {limited}"
    else:
        text = f"{_led(wanted, window, arguments, each=limited)} {limited}"
    return (text, *arguments)


def one(at: datetime, report_id: UUID, reach: Reach) -> Statement:
    """Select one report, if it is within reach."""
    arguments = Arguments()
    key = arguments.add(report_id)
    found = looked_up(arguments.add(at), key)
    where = _where([f"r.id = {key}", *reports_within(reach, arguments.add, of="r")])
    return (f"SELECT {COLUMNS} FROM ({found}) AS r{where}", *arguments)


def looked_up(at: str, report_id: str) -> str:
    """Select the report with a key, or the next one, so that its `id` has to be compared once more.

    A partition that was empty when a plan was made has no statistics: every index with the columns of the key seems as
    good as the primary key, and would be read whole for each report once the partition is full. Only the primary key
    has this order.
    """
    return f"SELECT {COLUMNS} FROM reports AS r WHERE r.at = {at} AND r.id >= {report_id} ORDER BY r.id LIMIT 1"


def scanned_to(wanted: ReportFilter, after: ReportCursor | None, most_scanned: int) -> Statement:
    """Select the cursor at which a scan gives up; nothing when it reaches the end."""
    arguments = Arguments()
    where = _where(_window(wanted, after, arguments))
    text = f"SELECT r.at, r.id FROM reports AS r{where} {_order(wanted)} LIMIT 1 OFFSET {most_scanned - 1}"
    return (text, *arguments)


def timely(wanted: ReportFilter) -> ReportFilter:
    """Narrow the window down to where timely reports are that arrived within the span."""
    since, until = wanted.since, wanted.until
    if wanted.received_since is not None:
        earliest = _shift(wanted.received_since, -LATE_AFTER)
        since = max(since or earliest, earliest)
    if wanted.received_until is not None:
        latest = _shift(wanted.received_until, CLOCK_SKEW)
        until = min(until or latest, latest)
    return replace(wanted, since=since, until=until)


def _shift(instant: datetime, by: timedelta) -> datetime:
    try:
        return instant + by
    except OverflowError:
        return instant


def untimely(wanted: ReportFilter, after: ReportCursor | None, limit: int) -> Statement:
    """Select the reports outside the window of `timely`: all of them are untimely."""
    arguments = Arguments()
    return (f"{_untimely(wanted, after, arguments)} LIMIT {limit}", *arguments)


def everything(wanted: ReportFilter, after: ReportCursor | None = None, limit: int | None = None) -> Statement:
    """Select all reports after a cursor, or the first of them."""
    arguments = Arguments()
    if is_by_arrival(wanted):
        dense = timely(wanted)
        rows = _rows(_window(dense, after, arguments) + _checks(dense, arguments))
        sources = f"({rows} {_order(wanted)}) UNION ALL ({_untimely(wanted, after, arguments)})"
        text = f"SELECT {COLUMNS} FROM ({sources}) AS r"
    else:
        # OFFSET 0 keeps the planner from looking the keys up in any other way than one by one.
        text = _led(wanted, _window(wanted, after, arguments), arguments, each="OFFSET 0")
    return (f"{text} {_order(wanted)}{'' if limit is None else f' LIMIT {limit}'}", *arguments)


def _untimely(wanted: ReportFilter, after: ReportCursor | None, arguments: Arguments) -> str:
    dense = timely(wanted)
    beyond = []
    if wanted.received_since is not None:
        beyond.append(f"r.at < {arguments.add(dense.since)}")
    if wanted.received_until is not None:
        beyond.append(f"r.at >= {arguments.add(dense.until)}")
    outside = [flags.untimely("r."), f"({' OR '.join(beyond)})"]
    rows = _rows(_window(wanted, after, arguments) + outside + _checks(wanted, arguments))
    # OFFSET 0 keeps the planner from reading all reports in order; it sorts the few untimely ones instead.
    return f"SELECT {COLUMNS} FROM ({rows} OFFSET 0) AS r {_order(wanted)}"


def _order(wanted: ReportFilter) -> str:
    direction = "ASC" if wanted.oldest_first else "DESC"
    return f"ORDER BY r.at {direction}, r.id {direction}"


def keys_of_device(device_id: str, reach: Reach, arguments: Arguments) -> str:
    """Select the keys under which the reports of an identifier may stand, by the alias books within reach."""
    given, book = arguments.add(device_id), _book(reach, arguments)
    return f"SELECT {given}::text AS key UNION SELECT 'mdn:' || mdn FROM {book} WHERE device = {given}::text"


def keys_of_mdn(mdn: str, reach: Reach, arguments: Arguments) -> str:
    """Select the keys under which the reports of an MDN may stand, by the alias books within reach."""
    given, book = arguments.add(mdn), _book(reach, arguments)
    return f"SELECT 'mdn:' || {given}::text AS key UNION SELECT device FROM {book} WHERE mdn = {given}::text"


def _book(reach: Reach, arguments: Arguments) -> str:
    if reach.accounts is None:
        return "account_aliases"
    accounts = arguments.add(sorted(reach.accounts))
    return f"(SELECT * FROM account_aliases WHERE account = ANY ({accounts}::text[])) AS book"


def _led(wanted: ReportFilter, window: list[str], arguments: Arguments, *, each: str) -> str:
    """Select reports along the index that leads to the fewest; `each` ends the selection of one key's reports."""
    conditions = window + _checks(wanted, arguments)
    column, keys = _keys(wanted, arguments)
    if keys is None:
        return _rows(conditions)
    # An index has the order of one key only: select the newest rows of each key, and sort these.
    rows = _rows([f"r.{column} = wanted.key", *conditions])
    return f"SELECT {COLUMNS} FROM ({keys}) AS wanted CROSS JOIN LATERAL ({rows} {each}) AS r"


def _keys(wanted: ReportFilter, arguments: Arguments) -> tuple[str, str | None]:
    """Choose an indexed column, and select the values of it that are wanted; None where these are not several."""
    of_each = []
    if wanted.device_id is not None:
        of_each.append(f"({keys_of_device(wanted.device_id, wanted.reach, arguments)})")
    if wanted.mdn is not None:
        of_each.append(f"({keys_of_mdn(wanted.mdn, wanted.reach, arguments)})")
    if of_each:
        return "device", " INTERSECT ".join(of_each)
    if wanted.transaction_id is None and wanted.session_id is not None:
        number = arguments.add(wanted.session_id)
        return "transaction_id", f"SELECT transaction_id AS key FROM session_transactions WHERE session_id = {number}"
    return "", None


def _window(wanted: ReportFilter, after: ReportCursor | None, arguments: Arguments) -> list[str]:
    """List the conditions that the order itself answers."""
    window = []
    if wanted.since is not None:
        window.append(f"r.at >= {arguments.add(wanted.since)}")
    if wanted.until is not None:
        window.append(f"r.at < {arguments.add(wanted.until)}")
    if after is not None:
        # The comparison of both columns finds the place in an index; the first alone rules out partitions.
        at, key = arguments.add(after.at), arguments.add(after.id)
        follows = ">" if wanted.oldest_first else "<"
        window += [f"r.at {follows}= {at}", f"(r.at, r.id) {follows} ({at}, {key})"]
    if wanted.flag is not None:
        # Reports with any flag are few, and have an index.
        window.append("r.flags IS NOT NULL")
    return window


def _checks(wanted: ReportFilter, arguments: Arguments) -> list[str]:
    """List the conditions that every report of the window is held against."""
    exact = {
        "transaction_id": wanted.transaction_id,
        "session_id": wanted.session_id,
        "name": wanted.name,
        "account": wanted.account,
        "type": wanted.type,
        "status": wanted.status,
    }
    checks = [f"r.{column} = {arguments.add(value)}" for column, value in exact.items() if value is not None]
    if wanted.mdn is not None:
        checks.append(f"coalesce(r.mdn, {arguments.add(wanted.mdn)}) = {arguments.add(wanted.mdn)}")
    if wanted.flag is not None:
        checks.append(f"r.flags @> ARRAY[{arguments.add(wanted.flag)}::text]")
    if wanted.received_since is not None:
        checks.append(f"r.received_at >= {arguments.add(wanted.received_since)}")
    if wanted.received_until is not None:
        checks.append(f"r.received_at < {arguments.add(wanted.received_until)}")
    if wanted.is_believed:
        checks.append(flags.believed("r.flags"))
    if wanted.box is not None:
        checks += _inside(wanted.box, arguments)
    return checks + reports_within(wanted.reach, arguments.add, of="r")


def _inside(box: Box, arguments: Arguments) -> list[str]:
    both = "OR" if box.crosses_antimeridian else "AND"
    return [
        f"r.latitude BETWEEN {arguments.add(box.south_deg)} AND {arguments.add(box.north_deg)}",
        f"(r.longitude >= {arguments.add(box.west_deg)} {both} r.longitude <= {arguments.add(box.east_deg)})",
    ]


def _rows(conditions: list[str]) -> str:
    return f"SELECT {COLUMNS} FROM reports AS r{_where(conditions)}"


def _where(conditions: list[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""
