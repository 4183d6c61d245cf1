"""A year of data to measure against, made by Postgres itself: reports, positions, sessions and an audit trail."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.storage.connections import Connection

ACCOUNT = "0844559123-00001"
FIRST_IMEI = 990001000000000
_CHUNK = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Year:
    """How much there is.

    Attributes:
        days: How many days, up to today.
        running: How many of the sessions have not ended.
        devices_each: Devices of each session; each device is in a tenth of the sessions.
        reads: Audited reads of each session's reports.
        locates: Audited locates of single devices.
    """

    days: int = 365
    reports: int = 2_000_000
    devices: int = 100_000
    sessions: int = 1_000
    running: int = 200
    devices_each: int = 10_000
    reads: int = 200
    locates: int = 500_000

    @property
    def start(self) -> datetime:
        """The first instant."""
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight - timedelta(days=self.days - 1)


_REPORTS = """
INSERT INTO reports (
    at, id, provider, type, status, account, transaction_id, session_id, device, device_kind, mdn,
    latitude, longitude, accuracy_m, source, cached, received_at, callback_id
)
SELECT
    at, (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || left(md5(n::text), 20))::uuid,
    'thingspace', 'location', 'located', '{account}', 't-' || s, lpad(to_hex(s), 32, '0')::uuid,
    ({imei} + d)::text, 'imei', (5080000000 + d)::text,
    25 + d % 100 / 4.0 + random() / 10, -125 + d / 100 % 100 / 2.0 + random() / 10,
    35, 'network', false, at + interval '2 seconds', md5(n::text)::uuid
FROM generate_series($1::bigint, $2::bigint - 1) AS n
CROSS JOIN LATERAL (
    SELECT date_trunc('milliseconds', $3::timestamptz + n * (now() - $3::timestamptz) / {reports}) AS at,
        n * 7919 % {devices} AS d, n * {sessions} / {reports} AS s
) AS given
"""
_CALLBACKS = """
INSERT INTO callbacks (received_at, id, provider, account, service, state, signature, body)
SELECT at, (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || left(md5(n::text), 20))::uuid,
    'thingspace', '{account}', 'Location', 'stored', 'valid', convert_to(repeat('{{"transactionID": "x"}}', 20), 'UTF8')
FROM generate_series($1::bigint, $2::bigint - 1) AS n
CROSS JOIN LATERAL (
    SELECT date_trunc('milliseconds', $3::timestamptz + n * (now() - $3::timestamptz) / {callbacks}) AS at
) AS given
"""
_POSITIONS = """
INSERT INTO positions (account, device, at, report_id, provider, mdn, latitude, longitude)
SELECT DISTINCT ON (device) account, device, at, id, provider, mdn, latitude, longitude
FROM reports ORDER BY device, at DESC
"""
_ALIASES = """
INSERT INTO account_aliases (device, mdn, account, device_kind, learned_at)
SELECT ({imei} + n)::text, (5080000000 + n)::text, '{account}', 'imei', now()
FROM generate_series(0, {devices} - 1) AS n
"""
_SESSIONS = """
INSERT INTO sessions (id, provider, account, state, transaction_id, interval_s, count, start_delay_s, max_age_s,
    devices_total, created_at, started_at, ends_at, ended_at)
SELECT lpad(to_hex(s), 32, '0')::uuid, 'thingspace', '{account}',
    CASE WHEN s >= {sessions} - {running} THEN 'active' ELSE 'completed' END, 't-' || s, 3600,
    CASE WHEN s >= {sessions} - {running} THEN 1000 ELSE 20 END, 0, 120, {devices_each}, at, at,
    at + CASE WHEN s >= {sessions} - {running} THEN interval '1000 hours' ELSE interval '20 hours' END,
    CASE WHEN s < {sessions} - {running} THEN at + interval '20 hours' END
FROM generate_series(0, {sessions} - 1) AS s
CROSS JOIN LATERAL (
    SELECT CASE WHEN s >= {sessions} - {running} THEN now() - interval '20 hours'
        ELSE $1::timestamptz + s * (now() - $1::timestamptz) / {sessions} END AS at
) AS given
"""
_TRANSACTIONS = """
INSERT INTO session_transactions (transaction_id, session_id, kind, account)
SELECT transaction_id, id, 'start', account FROM sessions
"""
_SESSION_DEVICES = """
INSERT INTO session_devices (session_id, device, mdn, received, last_at, last_report_id)
SELECT lpad(to_hex(s), 32, '0')::uuid, ({imei} + d)::text, (5080000000 + d)::text, 18 + d % 3, now(), md5(d::text)::uuid
FROM generate_series($1::bigint, $2::bigint - 1) AS s
CROSS JOIN generate_series(0, {devices_each} - 1) AS j
CROSS JOIN LATERAL (SELECT (s * 997 + j * {devices} / {devices_each}) % {devices} AS d) AS given
"""
_AUDIT = """
INSERT INTO audit (at, id, key_id, request_id, action, outcome, account, device, session_id, billed)
SELECT at, (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || left(md5({salt} || n::text), 20))::uuid,
    'key-' || n % 20, 'r-' || n, '{action}', 'done', '{account}', {device}, {session}, false
FROM generate_series($1::bigint, $2::bigint - 1) AS n
CROSS JOIN LATERAL (
    SELECT date_trunc('milliseconds', $3::timestamptz + n * (now() - $3::timestamptz) / {rows}) AS at
) AS given
"""


async def fill(connection: Connection, year: Year, say: Callable[[str], None] = print) -> None:
    """Fill a migrated database in which the partitions of the year exist."""
    sizes = {
        "account": ACCOUNT,
        "imei": FIRST_IMEI,
        "reports": year.reports,
        "callbacks": year.reports,
        "devices": year.devices,
        "sessions": year.sessions,
        "running": year.running,
        "devices_each": year.devices_each,
    }
    say("sessions")
    await connection.execute(_SESSIONS.format(**sizes), year.start)
    await connection.execute(_TRANSACTIONS)
    await _in_chunks(connection, _SESSION_DEVICES.format(**sizes), year.sessions, 20)
    say("audit")
    read = f"lpad(to_hex(n * 7 % {year.sessions}), 32, '0')::uuid"
    about = {**sizes, "action": "reports.read", "salt": "'r'", "device": "NULL", "session": read}
    reads = year.reads * year.sessions
    await _in_chunks(connection, _AUDIT.format(**about, rows=reads), reads, _CHUNK, year.start)
    device = f"({FIRST_IMEI} + n * 7919 % {year.devices})::text"
    about = {**sizes, "action": "locate", "salt": "'l'", "device": device, "session": "NULL::uuid"}
    await _in_chunks(connection, _AUDIT.format(**about, rows=year.locates), year.locates, _CHUNK, year.start)
    say("reports")
    await _in_chunks(connection, _REPORTS.format(**sizes), year.reports, _CHUNK, year.start)
    await _in_chunks(connection, _CALLBACKS.format(**sizes), year.reports, _CHUNK, year.start)
    say("positions")
    await connection.execute(_ALIASES.format(**sizes))
    await connection.execute(_POSITIONS)
    say("statistics")
    await connection.execute("VACUUM (ANALYZE)")


async def _in_chunks(connection: Connection, statement: str, total: int, size: int, *given: object) -> None:
    for start in range(0, total, size):
        await connection.execute(statement, start, min(start + size, total), *given)
