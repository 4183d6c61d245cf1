"""Pages of the audit trail, newest first.

A device is looked for under its own key and, through `session_devices`, in the rows of its sessions. Both have an
index in the order of the page, so each key and each session brings its newest rows, and these are put in order.
"""

# ruff: noqa: S608 -- statements are put together from the constants of this module, and numbers

from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from app.identifiers import readings
from app.ids import instant_of
from app.list_page import ListPage
from app.storage.audit import AuditFilter, AuditRecord
from app.storage.database import Database
from app.storage.reports.statements import Arguments, Statement
from app.storage.spans import FAR_FUTURE, FAR_PAST, backwards

MOST_SCANNED = 50_000
_FIRST_SPAN = timedelta(hours=6)
_NEWEST = "ORDER BY a.at DESC, a.id DESC"
_COLUMNS = ", ".join(f"a.{name}" for name in AuditRecord._fields)
_SELECT = f"SELECT {_COLUMNS} FROM audit AS a WHERE"
# The book leads from a number to its devices, and from a device to its numbers.
_TRACES = """
WITH keys AS (
    SELECT unnest($1::text[]) AS key
    UNION SELECT device FROM account_aliases WHERE mdn = ANY ($2::text[])
    UNION SELECT 'mdn:' || mdn FROM account_aliases WHERE device = ANY ($2::text[])
)
SELECT key, NULL::uuid AS session_id FROM keys
UNION ALL
SELECT DISTINCT NULL, d.session_id FROM keys JOIN session_devices AS d ON d.device = keys.key
"""
_OF_ONE = """
SELECT a.at, a.id FROM unnest({wanted}) AS wanted (key)
CROSS JOIN LATERAL (SELECT a.at, a.id FROM audit AS a WHERE a.{column} = wanted.key AND {conditions} {order}) AS a
"""
_OF_DEVICE = f"""
SELECT {_COLUMNS} FROM (
    SELECT a.at, a.id FROM ({{of_keys}} UNION {{of_sessions}}) AS a {{order}}
) AS found
JOIN LATERAL ({_SELECT} a.at = found.at AND a.id >= found.id ORDER BY a.id LIMIT 1) AS a ON a.id = found.id {{order}}
"""


class _Traces(NamedTuple):
    """By what the rows about a device are found."""

    keys: list[str]
    sessions: list[UUID]


async def page(
    database: Database, wanted: AuditFilter, limit: int, *, most_scanned: int = MOST_SCANNED
) -> ListPage[AuditRecord]:
    """Read rows, newest first.

    Args:
        most_scanned: How many rows to look through at most when no index leads to those that match.
    """
    if wanted.device is None and (wanted.account is not None or wanted.action is not None):
        return await _scanned(database, wanted, limit, most_scanned)
    traces = None if wanted.device is None else await _traces_of(database, wanted.device)
    since, until = _window(wanted)
    found: list[AuditRecord] = []
    for span in backwards(since, until, near=datetime.now(UTC), first=_FIRST_SPAN):
        found += await _read(database, _statement(wanted, traces, span, limit + 1))
        if len(found) > limit:
            break
    return ListPage.of(found, limit)


async def _scanned(database: Database, wanted: AuditFilter, limit: int, most: int) -> ListPage[AuditRecord]:
    arguments = Arguments()
    conditions = " AND ".join(_followed(wanted, _window(wanted), arguments))
    looked_at = f"{_SELECT} {conditions} {_NEWEST} LIMIT {most}"
    last = f"SELECT a.id FROM audit AS a WHERE {conditions} {_NEWEST} LIMIT 1 OFFSET {most - 1}", *arguments
    checks = " AND ".join(_checked(wanted, arguments))
    text = f"SELECT {_COLUMNS} FROM ({looked_at}) AS a WHERE {checks} {_NEWEST} LIMIT {limit + 1}"
    found = await _read(database, (text, *arguments))
    if len(found) > limit:
        return ListPage.of(found, limit)
    rows = await database.fetch(*last)
    return ListPage(entries=found, next=rows[0]["id"] if rows else None)


async def _read(database: Database, statement: Statement) -> list[AuditRecord]:
    return [AuditRecord._make(row.values()) for row in await database.fetch(*statement)]


def _window(wanted: AuditFilter) -> tuple[datetime, datetime]:
    until = wanted.until or FAR_FUTURE
    if wanted.before is not None:
        until = min(until, instant_of(wanted.before) + timedelta(milliseconds=1))
    return wanted.since or FAR_PAST, until


async def _traces_of(database: Database, device: str) -> _Traces:
    """Find every device key that a text can mean; what stands there for an erased device is one, too."""
    known = readings(device)
    identifiers = [one for one in (*known.ids, known.mdn) if one is not None]
    keys = [device, f"name:{known.name}", *identifiers, *(f"mdn:{one}" for one in identifiers)]
    rows = await database.fetch(_TRACES, keys, identifiers)
    return _Traces(
        keys=[row["key"] for row in rows if row["session_id"] is None],
        sessions=[row["session_id"] for row in rows if row["session_id"] is not None],
    )


def _statement(wanted: AuditFilter, traces: _Traces | None, span: tuple[datetime, datetime], limit: int) -> Statement:
    arguments = Arguments()
    conditions = " AND ".join([*_followed(wanted, span, arguments), *_checked(wanted, arguments)])
    order = f"{_NEWEST} LIMIT {limit}"
    if traces is None:
        return (f"{_SELECT} {conditions} {order}", *arguments)
    keys, sessions = arguments.add(traces.keys), arguments.add(traces.sessions)
    text = _OF_DEVICE.format(
        of_keys=_OF_ONE.format(wanted=f"{keys}::text[]", column="device", conditions=conditions, order=order),
        of_sessions=_OF_ONE.format(
            wanted=f"{sessions}::uuid[]", column="session_id", conditions=conditions, order=order
        ),
        order=order,
    )
    return (text, *arguments)


def _followed(wanted: AuditFilter, span: tuple[datetime, datetime], arguments: Arguments) -> list[str]:
    """List the conditions that an index in the order of the page answers."""
    conditions = [f"a.at >= {arguments.add(span[0])}", f"a.at < {arguments.add(span[1])}"]
    if wanted.before is not None:
        at, key = arguments.add(instant_of(wanted.before)), arguments.add(wanted.before)
        conditions.append(f"(a.at, a.id) < ({at}, {key})")
    if wanted.key_id is not None:
        conditions.append(f"a.key_id = {arguments.add(wanted.key_id)}")
    return conditions


def _checked(wanted: AuditFilter, arguments: Arguments) -> list[str]:
    """List the conditions that rows are held against one by one."""
    exact = {"account": wanted.account, "action": wanted.action}
    return [f"a.{column} = {arguments.add(value)}" for column, value in exact.items() if value is not None]
