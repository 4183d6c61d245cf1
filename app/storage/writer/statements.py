"""The statement that stores a batch: callbacks, reports, events, latest positions, session counts, aliases at once.

One statement is one round trip and one commit.
"""

# ruff: noqa: S608 -- put together from the names of columns and our own constants

from collections.abc import Container, Mapping
from functools import cache

from sqlalchemy.dialects.postgresql.base import PGDialect

from app.storage.counting import COUNTED
from app.storage.device_register import IF_REGISTERED
from app.storage.events.appending import TRANSACTION
from app.storage.flags import WITH_ARRIVAL, believed, of_own_account
from app.storage.rows import NewSimpleFix
from app.storage.tables import REPORT_COLUMNS
from app.storage.writer import arguments

PLAN_BY_INDEX = (
    "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off; "
    "SET plan_cache_mode = force_generic_plan"
)
"""Prepares a connection for these statements.

Each row of a batch is looked up by an index. A plan made while the tables were empty would read them whole, and be
kept long after they have grown. One plan serves all batches: planning takes a good part of a small batch's time.
"""

_STORE = """
WITH arrived AS (
    INSERT INTO callbacks (received_at, id, provider, account, service, state, signature, reason, flags, body)
    {callbacks}
    {if_repeated}
), said AS (
    SELECT r.*, s.id AS session_id, s.ended_at, p.at AS before_at, p.latitude AS before_latitude,
        p.longitude AS before_longitude, p.accuracy_m AS before_accuracy_m
    FROM ({reports}) AS r
    LEFT JOIN session_transactions AS of
        ON of.transaction_id = r.transaction_id AND of.account = r.account AND {of_own_account}
    LEFT JOIN sessions AS s ON s.id = of.session_id
    LEFT JOIN LATERAL (
        -- Looked up for each report: a plan made while the table was empty would otherwise join it whole, and be kept.
        SELECT at, latitude, longitude, accuracy_m FROM positions
        WHERE positions.device = r.device AND positions.account = coalesce(r.account, '') OFFSET 0
    ) AS p ON r.latitude IS NOT NULL
), new AS (
    INSERT INTO reports ({columns})
    SELECT {values}
    FROM said
    {if_repeated}
    RETURNING at, id, provider, type, status, account, transaction_id, session_id, device, device_kind, mdn,
        latitude, longitude, accuracy_m, flags, received_at
), latest AS (
    INSERT INTO positions (account, device, at, report_id, provider, mdn, latitude, longitude, accuracy_m)
    SELECT DISTINCT ON (coalesce(account, ''), device)
        coalesce(account, ''), device, at, id, provider, mdn, latitude, longitude, accuracy_m
    FROM new
    WHERE status = 'located' AND device <> '' AND {believed}
    ORDER BY coalesce(account, ''), device, at DESC
    ON CONFLICT (account, device) DO UPDATE SET
        at = excluded.at, report_id = excluded.report_id, provider = excluded.provider,
        mdn = coalesce(excluded.mdn, positions.mdn), latitude = excluded.latitude, longitude = excluded.longitude,
        accuracy_m = excluded.accuracy_m
    WHERE positions.at < excluded.at
), logged AS (
    INSERT INTO events (generation, xid, part, size, report_ids)
    SELECT {transaction}, count(*), array_agg(id) FROM new HAVING count(*) > 0
), counted AS ({counted}){learned}{audited}
SELECT
    count(*) AS stored,
    array_agg(DISTINCT transaction_id)
        FILTER (WHERE session_id IS NULL AND transaction_id IS NOT NULL AND {of_own_account}) AS unclaimed
    {then_flush}
FROM new
"""
_INSTANTS = {
    column: f"'epoch'::timestamptz + {member} * '1 us'::interval" for column, member in arguments.INSTANTS.items()
}
_CALLBACKS = f"""
    SELECT {_INSTANTS["received_at"]}, id, provider, account, service, state, signature, reason, flags, body
    FROM unnest(${{number}}::{arguments.CALLBACK_TYPE}[])
"""
_CALLBACKS_OF_SIMPLE_FIXES = f"""
    SELECT {_INSTANTS["received_at"]}, callback_id, provider, account, service, 'stored', signature, NULL::text,
        NULL::text[], body
    FROM unnest(${{number}}::{arguments.SIMPLE_FIX_TYPE}[])
"""
_OF_SIMPLE_FIXES = {"type": "'location'", "status": "'located'"}
_DIALECT = PGDialect()  # type: ignore[no-untyped-call]


def _reports(type_name: str, members: Container[str], constants: Mapping[str, str], number: int) -> str:
    """Select the columns of reports from a parameter of rows; what they have no member for is empty."""

    def value(column: str) -> str:
        if column in constants:
            return constants[column]
        return column if column in members else f"NULL::{REPORT_COLUMNS[column].type.compile(_DIALECT)}"

    columns = [f"{value(column)} AS {column}" for column in (*arguments.INSTANTS, *arguments.REPORT_MEMBERS)]
    return f"SELECT {', '.join(columns)} FROM unnest(${number}::{type_name}[])"


_IF_REPEATED = "ON CONFLICT DO NOTHING"
# A statement that finds all its rows stored writes nothing, and its commit waits for no flush, not even for that of the
# commit which stored those rows and whose answer was lost.
_EMIT = "pg_logical_emit_message(true, 'flush', '')"
_THEN_FLUSH = f", {_EMIT}"
# Devices come here seldom: `aliases.KnownDevices` holds back those that are written down.
_LEARNED = """, seen AS MATERIALIZED (
    SELECT * FROM json_to_recordset(${seen}::json) AS s (
        device text, account text, mdn text, device_kind text, name text, at timestamptz, is_pair bool
    )
), learned AS (
    INSERT INTO account_aliases (device, mdn, account, device_kind, learned_at)
    SELECT DISTINCT ON (device, mdn, account) device, mdn, account, device_kind, at
    FROM seen WHERE is_pair
    ORDER BY device, mdn, account, at DESC
    ON CONFLICT (device, mdn, account) DO UPDATE SET learned_at = excluded.learned_at
    WHERE account_aliases.learned_at < excluded.learned_at
), registered AS (
    INSERT INTO devices (device, account, device_kind, mdn, name, seen_at)
    SELECT
        device, account,
        (array_agg(device_kind ORDER BY at DESC) FILTER (WHERE device_kind IS NOT NULL))[1],
        -- A number that a caller has put beside a device gives way to what the provider says.
        coalesce(
            (array_agg(mdn ORDER BY at DESC) FILTER (WHERE is_pair))[1],
            (SELECT d.mdn FROM devices AS d WHERE d.device = seen.device AND d.account = seen.account),
            (array_agg(mdn ORDER BY at DESC) FILTER (WHERE mdn IS NOT NULL))[1]
        ),
        (array_agg(name ORDER BY at DESC) FILTER (WHERE name IS NOT NULL))[1],
        max(at)
    FROM seen GROUP BY device, account ORDER BY device, account
    {if_registered}
)"""
_AUDITED = """, audited AS (
    INSERT INTO audit (
        at, id, key_id, request_id, action, outcome, account, device, provider, billed, report_id, session_id, subject
    )
    SELECT
        -- A replica whose clock is wrong must not date its rows to days that are dropped, or are never.
        CASE WHEN at BETWEEN now() - interval '1 hour' AND now() + interval '1 minute' THEN at ELSE now() END,
        id, key_id, request_id, action, outcome, account, device, provider, billed, report_id, session_id, subject
    FROM json_to_recordset(${audit}::json) AS a (
        at timestamptz, id uuid, key_id text, request_id text, action text, outcome text, account text, device text,
        provider text, billed bool, report_id uuid, session_id uuid, subject text
    )
    ON CONFLICT DO NOTHING
)"""


@cache
def store(
    *,
    has_reports: bool,
    has_simple_fixes: bool,
    has_devices: bool = False,
    has_audit: bool = False,
    is_repeated: bool = False,
) -> str:
    """Write the statement that stores a batch.

    It returns one row: how many reports were new, and the transaction ids that belong to no session yet. Its parameters
    are in the order of the arguments here, each only where it is asked for.

    Args:
        has_reports: Store what `arguments.of_reports` and `arguments.of_callbacks` make; two parameters.
        has_simple_fixes: Store what `arguments.of_simple_fixes` makes.
        has_devices: Store devices and aliases as well, a JSON array; most batches of callbacks have none.
        has_audit: Store audit rows as well, a JSON array; batches of callbacks alone have none.
        is_repeated: Skip what is stored already; otherwise that makes the statement fail.
    """
    callbacks, reports = _sources(has_reports=has_reports, has_simple_fixes=has_simple_fixes)
    number = 2 * has_reports + has_simple_fixes
    return _STORE.format(
        callbacks=callbacks,
        reports=reports,
        columns=", ".join(column.name for column in REPORT_COLUMNS.values()),
        values=", ".join(WITH_ARRIVAL if column == "flags" else column for column in REPORT_COLUMNS),
        believed=believed("flags"),
        of_own_account=of_own_account("flags"),
        transaction=TRANSACTION,
        counted=COUNTED,
        learned=_LEARNED.format(seen=number + 1, if_registered=IF_REGISTERED) if has_devices else "",
        audited=_AUDITED.format(audit=number + has_devices + 1) if has_audit else "",
        if_repeated=_IF_REPEATED if is_repeated else "",
        then_flush=_THEN_FLUSH if is_repeated else "",
    )


def _sources(*, has_reports: bool, has_simple_fixes: bool) -> tuple[str, str]:
    """Write the queries that the callbacks and the reports come from."""
    callbacks, reports = [], []
    if has_reports:
        callbacks.append(_CALLBACKS.format(number=2))
        reports.append(_reports(arguments.REPORT_TYPE, arguments.REPORT_MEMBERS, _INSTANTS, number=1))
    if has_simple_fixes:
        number, members = 3 if has_reports else 1, NewSimpleFix.__struct_fields__
        callbacks.append(_CALLBACKS_OF_SIMPLE_FIXES.format(number=number))
        reports.append(_reports(arguments.SIMPLE_FIX_TYPE, members, _INSTANTS | _OF_SIMPLE_FIXES, number))
    # In the same order everywhere, as within each of the two.
    in_order = " ORDER BY id" if len(reports) > 1 else ""
    return " UNION ALL ".join(callbacks), " UNION ALL ".join(reports) + in_order


FLUSH = f"SELECT {_EMIT}"
"""Commits next to nothing, so it takes as long as a flush."""

DATE_UNDATED = """
WITH given AS (
    SELECT r.hash, r.at FROM json_to_recordset($1::json) AS r (hash uuid, at timestamptz)
), first AS (
    INSERT INTO undated_reports (content_hash, at)
    SELECT DISTINCT ON (hash) hash, at FROM given ORDER BY hash, at
    ON CONFLICT (content_hash) DO UPDATE SET at = undated_reports.at
    RETURNING content_hash, at
)
SELECT content_hash, at FROM first
"""
"""Finds the first arrival of reports that state no time; takes and returns pairs of hash and instant."""

FORGET_REFUSED = """
WITH refused AS (
    SELECT * FROM json_to_recordset($1::json) AS r (account text, device text, mdn text)
), unregistered AS (
    UPDATE devices AS d SET mdn = NULL FROM refused AS r
    WHERE d.account = r.account AND d.device = r.device AND d.mdn = r.mdn
)
DELETE FROM account_aliases AS a USING refused AS r
WHERE a.account = r.account AND a.device = r.device AND a.mdn = r.mdn
"""
"""Removes pairs from the alias book, and from the register of devices."""

NAME_BY_MDN = """
SELECT DISTINCT ON (account, mdn) account, mdn, device, device_kind FROM account_aliases
WHERE mdn = ANY ($1::text[]) ORDER BY account, mdn, learned_at DESC
"""
"""Finds the devices of MDNs, by account."""
