"""From a filter to a statement: which index leads, what is checked on the way, and where to go on.

Newest first is the order of every index here read backwards, so a page costs the same at any depth. Values never
become part of a statement's text, so that texts are few and prepared once; limits do, because the plan depends on them.
"""

# ruff: noqa: S608 -- statements are put together from the constants of this module, and numbers

from datetime import datetime
from uuid import UUID

from app.caller import Reach
from app.storage.flags import believed
from app.storage.reach import reports_within
from app.storage.reports.filters import Box, Place, ReportFilter
from app.storage.reports.records import COLUMNS

MOST_SCANNED = 100_000
"""How many reports one page looks through when no index leads to those that match."""

Statement = tuple[str, *tuple[object, ...]]
"""The text of a statement, and then its arguments."""

_NEWEST_FIRST = "ORDER BY r.at DESC, r.id DESC"


class Arguments(list[object]):
    """The arguments of a statement that is being written."""

    def add(self, value: object) -> str:
        """Take a value; return what stands for it."""
        self.append(value)
        return f"${len(self)}"


def is_scan(wanted: ReportFilter) -> bool:
    """Tell whether reports have to be looked through without knowing how many of them match."""
    leads = (wanted.device_id, wanted.mdn, wanted.transaction_id, wanted.session_id)
    checks = (wanted.account, wanted.type, wanted.status, wanted.box)
    is_checked = any(value is not None for value in checks) or not wanted.reach.is_everything
    return all(value is None for value in leads) and is_checked


def page(wanted: ReportFilter, after: Place | None, limit: int, most_scanned: int = MOST_SCANNED) -> Statement:
    """Select the `limit` reports after a place; a scan may find fewer, see `scanned_to`."""
    arguments = Arguments()
    window = _window(wanted, after, arguments)
    limited = f"{_NEWEST_FIRST} LIMIT {limit}"
    if is_scan(wanted):
        looked_at = f"{_rows(window)} {_NEWEST_FIRST} LIMIT {most_scanned}"
        text = f"SELECT {COLUMNS} FROM ({looked_at}) AS r{_where(_checks(wanted, arguments))} {limited}"
    else:
        text = f"{_led(wanted, window, arguments, each=limited)} {limited}"
    return (text, *arguments)


def one(at: datetime, report_id: UUID, reach: Reach) -> Statement:
    """Select one report, if it is within reach."""
    arguments = Arguments()
    place = [f"r.at = {arguments.add(at)}", f"r.id = {arguments.add(report_id)}"]
    return (_rows(place + reports_within(reach, arguments.add, of="r")), *arguments)


def scanned_to(wanted: ReportFilter, after: Place | None, most_scanned: int) -> Statement:
    """Select the place where a scan after a place gives up; nothing when it comes to the end."""
    arguments = Arguments()
    where = _where(_window(wanted, after, arguments))
    text = f"SELECT r.at, r.id FROM reports AS r{where} {_NEWEST_FIRST} LIMIT 1 OFFSET {most_scanned - 1}"
    return (text, *arguments)


def everything(wanted: ReportFilter) -> Statement:
    """Select all reports."""
    arguments = Arguments()
    window = _window(wanted, None, arguments)
    # OFFSET 0 keeps the planner from looking the keys up in any other way than one by one.
    return (f"{_led(wanted, window, arguments, each='OFFSET 0')} {_NEWEST_FIRST}", *arguments)


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
    # An index gives the order for one key only: each key brings its newest rows, and these are put in order.
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


def _window(wanted: ReportFilter, after: Place | None, arguments: Arguments) -> list[str]:
    """List the conditions that the order itself answers."""
    window = []
    if wanted.since is not None:
        window.append(f"r.at >= {arguments.add(wanted.since)}")
    if wanted.until is not None:
        window.append(f"r.at < {arguments.add(wanted.until)}")
    if after is not None:
        # The comparison of both columns finds the place in an index; the first alone rules out partitions.
        at, key = arguments.add(after.at), arguments.add(after.id)
        window += [f"r.at <= {at}", f"(r.at, r.id) < ({at}, {key})"]
    return window


def _checks(wanted: ReportFilter, arguments: Arguments) -> list[str]:
    """List the conditions that every report of the window is held against."""
    exact = {
        "transaction_id": wanted.transaction_id,
        "session_id": wanted.session_id,
        "account": wanted.account,
        "type": wanted.type,
        "status": wanted.status,
    }
    checks = [f"r.{column} = {arguments.add(value)}" for column, value in exact.items() if value is not None]
    if wanted.mdn is not None:
        checks.append(f"coalesce(r.mdn, {arguments.add(wanted.mdn)}) = {arguments.add(wanted.mdn)}")
    if wanted.is_believed:
        checks.append(believed("r.flags"))
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
