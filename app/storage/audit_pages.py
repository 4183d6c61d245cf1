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
from app.storage.audit import AuditFilter, AuditRecord
from app.storage.database import Database
from app.storage.reports.statements import Arguments, Statement
from app.storage.spans import FAR_FUTURE, FAR_PAST, backwards

_FIRST_SPAN = timedelta(hours=6)
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


async def page(database: Database, wanted: AuditFilter, limit: int) -> list[AuditRecord]:
    """Read rows, newest first."""
    traces = None if wanted.device is None else await _traces_of(database, wanted.device)
    until = wanted.until or FAR_FUTURE
    if wanted.before is not None:
        until = min(until, instant_of(wanted.before) + timedelta(milliseconds=1))
    found: list[AuditRecord] = []
    for span in backwards(wanted.since or FAR_PAST, until, near=datetime.now(UTC), first=_FIRST_SPAN):
        rows = await database.fetch(*_statement(wanted, traces, span, limit))
        found += [AuditRecord._make(row.values()) for row in rows]
        if len(found) >= limit:
            break
    return found[:limit]


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
    conditions = " AND ".join(_conditions(wanted, span, arguments))
    order = f"ORDER BY a.at DESC, a.id DESC LIMIT {limit}"
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


def _conditions(wanted: AuditFilter, span: tuple[datetime, datetime], arguments: Arguments) -> list[str]:
    conditions = [f"a.at >= {arguments.add(span[0])}", f"a.at < {arguments.add(span[1])}"]
    if wanted.before is not None:
        at, key = arguments.add(instant_of(wanted.before)), arguments.add(wanted.before)
        conditions.append(f"(a.at, a.id) < ({at}, {key})")
    exact = {"key_id": wanted.key_id, "account": wanted.account, "action": wanted.action}
    conditions += [f"a.{column} = {arguments.add(value)}" for column, value in exact.items() if value is not None]
    return conditions
