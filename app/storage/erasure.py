"""Everything that is kept of one device, and how it is removed.

Each step is a transaction of its own and can be repeated, so an interrupted erasure is simply started again.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.identifiers import readings
from app.ids import EPOCH, public_id
from app.storage.connections import Connection
from app.storage.device_names import BODY_OF_IMEI, Names, without
from app.storage.partition_merges import SCAN_LOCK

_PAGE = 500
_LARGEST_ON_LOOP = 16_384
"""Bytes of a callback that are searched at once; a larger one is searched in a thread."""

OnStep = Callable[[int, int], None]
_FIRST = UUID(int=0)

_ROWS = "device = ANY ($1) OR mdn = $2 OR (device = ANY ($3) AND mdn IS NULL)"
_ERASE_REPORTS = f"""
WITH gone AS (
    DELETE FROM reports WHERE {_ROWS} OR name = $4 RETURNING at, id, callback_id
), hashes AS (
    DELETE FROM undated_reports AS u USING gone
    WHERE u.at = gone.at
        AND left(replace(u.content_hash::text, '-', ''), 20) = right(replace(gone.id::text, '-', ''), 20)
)
SELECT count(*) AS erased, array_remove(coalesce(array_agg(DISTINCT callback_id), '{{}}'), NULL) AS of FROM gone
"""  # noqa: S608 -- our own constants
_ERASE_ANSWERS = f"""
DELETE FROM idempotency
WHERE session_id IN (SELECT session_id FROM session_devices WHERE {_ROWS})
"""  # noqa: S608 -- our own constants
_BLOT_OUT = """
UPDATE callbacks SET body = $3, flags = array_append(flags, 'device_erased') WHERE received_at = $1 AND id = $2
"""
_MENTIONS = "EXISTS (SELECT FROM unnest($2::text[]) AS name WHERE position(name IN {column}) > 0)"
_IN_SUBJECT, _IN_REQUEST = _MENTIONS.format(column="subject"), _MENTIONS.format(column="request_id")
# Callers choose the ids of their requests, and may put identifiers into them.
_BLOT_OUT_AUDIT = f"""
UPDATE audit SET
    device = CASE WHEN device = ANY ($1) THEN $3 ELSE device END,
    subject = CASE WHEN {_IN_SUBJECT} THEN $3 ELSE subject END,
    request_id = CASE WHEN {_IN_REQUEST} THEN $3 ELSE request_id END
WHERE device = ANY ($1) OR {_IN_SUBJECT} OR {_IN_REQUEST}
"""  # noqa: S608 -- our own constants
_PAIRS = """
SELECT DISTINCT ON (account, mdn) device, mdn FROM account_aliases
WHERE mdn IN (SELECT mdn FROM account_aliases WHERE device = ANY ($1) OR mdn = $2)
ORDER BY account, mdn, learned_at DESC
"""
"""Finds the devices to which the numbers of a device, or a number, belong now."""
_UNREGISTER = """
DELETE FROM devices AS d
WHERE device = ANY ($1) OR (
    device = ANY ($2)
    AND NOT EXISTS (SELECT FROM positions AS p WHERE p.device = d.device)
    AND NOT EXISTS (SELECT FROM session_devices AS s WHERE s.device = d.device)
    AND NOT EXISTS (SELECT FROM reports AS r WHERE r.device = d.device)
    AND NOT EXISTS (SELECT FROM account_aliases AS a WHERE a.device = d.device AND a.mdn <> $3)
)
"""
# What receivers have answered may repeat what they were sent.
_BLOT_OUT_DELIVERIES = """
UPDATE deliveries SET
    devices = ARRAY(SELECT CASE WHEN name = ANY ($1) THEN $2 ELSE name END FROM unnest(devices) AS name),
    attempts = coalesce(
        (SELECT jsonb_agg(attempt || '{"answer": ""}') FROM jsonb_array_elements(attempts) AS attempt), '[]'
    )
WHERE devices && $1
"""
_FORMER = "SELECT DISTINCT device FROM account_aliases WHERE mdn = ANY ($1) AND device <> ALL ($2)"
_MENTIONING = """
SELECT received_at, id, body FROM {partition}
WHERE (received_at, id) > ($1, $2)
    AND (id = ANY ($4) OR EXISTS (SELECT FROM unnest($3::bytea[]) AS name WHERE position(name IN body) > 0))
ORDER BY received_at, id LIMIT {page}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """By what a device is found.

    Attributes:
        names: What it goes by in what providers send.
        keys: The device keys of its rows.
        mdn: The number that was given; rows of whatever device carry it.
        devices: Devices to which that number belongs; only their rows without a number are meant.
        name: The caller's own name.
    """

    names: Names
    keys: tuple[str, ...]
    mdn: str | None = None
    devices: tuple[str, ...] = ()
    name: str | None = None


async def traces_of(connection: Connection, identifier: str) -> Traces:
    """Find out by what a device is known, from an identifier, a number or the caller's own name for it."""
    known = readings(identifier)
    ids = list(known.ids)
    pairs = await connection.fetch(_PAIRS, ids, known.mdn)
    if (mdn := known.mdn) is not None:
        devices = tuple({row["device"] for row in pairs if row["mdn"] == mdn})
        # Whatever states the number is meant, so it stands among the identifiers.
        return Traces(names=Names(ids=(mdn, *devices)), keys=(f"mdn:{mdn}",), mdn=mdn, devices=devices)
    mdns = tuple({row["mdn"] for row in pairs if row["device"] in ids})
    others = tuple(row["device"] for row in await connection.fetch(_FORMER, list(mdns), ids))
    keys = (*known.ids, f"name:{known.name}", *(f"mdn:{mdn}" for mdn in mdns))
    # The callers' own names never reach a provider's callbacks, and may be any word that does.
    return Traces(names=Names(ids=known.ids, numbers=mdns, others=others), keys=keys, name=known.name)


async def sessions_at_work(connection: Connection, traces: Traces) -> list[tuple[str, str | None]]:
    """List the sessions in which the device still reports, each with the number that it is stopped by."""
    rows = await connection.fetch(
        "SELECT s.id, d.mdn FROM session_devices AS d JOIN sessions AS s ON s.id = d.session_id "  # noqa: S608
        "WHERE s.state IN ('requested', 'active', 'stopping') AND d.stop_requested_at IS NULL "
        f"AND d.stopped_at IS NULL AND ({_ROWS})",
        *_rows(traces),
    )
    return [(public_id(row["id"]), row["mdn"]) for row in rows]


async def is_reporting(connection: Connection, traces: Traces) -> bool:
    """Return whether the device still reports in any session."""
    found: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM session_devices WHERE device = ANY ($1) AND stopped_at IS NULL)", list(traces.keys)
    )
    return found


async def erase(
    connection: Connection, traces: Traces, *, known_as: str, on_step: OnStep = lambda _done, _total: None
) -> dict[str, int]:
    """Remove everything of a device; return how many rows went or were changed, by what they are.

    Args:
        known_as: What stands in its place in the audit trail, which keeps who asked and what came of it.
        on_step: Called with the number of partitions of callbacks that have been looked through, and of all.
    """
    rows = _rows(traces)
    reports = await connection.fetchrow(_ERASE_REPORTS, *rows, traces.name)
    assert reports is not None
    erased = {
        "reports": reports["erased"],
        "callbacks": await _erase_from_callbacks(connection, traces.names, reports["of"], on_step),
        "positions": _count(await connection.execute(f"DELETE FROM positions WHERE {_ROWS}", *rows)),  # noqa: S608
        "idempotencyAnswers": _count(await connection.execute(_ERASE_ANSWERS, *rows)),
        "sessionDevices": _count(await connection.execute(f"DELETE FROM session_devices WHERE {_ROWS}", *rows)),  # noqa: S608
    }
    async with connection.transaction():
        await connection.execute("SET LOCAL gateway.keeping_house = 'on'")
        devices = [*traces.keys, *traces.devices, *traces.names.all, traces.name]
        blotted = await connection.execute(_BLOT_OUT_AUDIT, devices, list(traces.names.all), known_as)
        erased["auditEntries"] = _count(blotted)
    await connection.execute(_BLOT_OUT_DELIVERIES, _subjects(traces), known_as)
    await _unregister(connection, traces)
    # Last, because by them the rest is found again when this is interrupted.
    known = "DELETE FROM account_aliases WHERE device = ANY ($1) OR mdn = $2"
    erased["aliases"] = _count(await connection.execute(known, list(traces.keys), traces.mdn))
    return erased


async def _unregister(connection: Connection, traces: Traces) -> None:
    """Take a device out of the register; of a device that has others, only the number or the name that was given."""
    await connection.execute("UPDATE devices SET mdn = NULL WHERE mdn = $1", traces.mdn)
    await connection.execute("UPDATE devices SET name = NULL WHERE name = $1", traces.name)
    await connection.execute(_UNREGISTER, list(traces.keys), list(traces.devices), traces.mdn)


def _subjects(traces: Traces) -> list[str]:
    """List what events call the device, see `events.subject_of`."""
    names = {*traces.keys, *traces.devices, *traces.names.all, *filter(None, [traces.name])}
    return [f"device/{name.removeprefix('mdn:').removeprefix('name:')}" for name in names]


def _rows(traces: Traces) -> tuple[list[str], str | None, list[str]]:
    return list(traces.keys), traces.mdn, list(traces.devices)


def _count(done: str) -> int:
    return int(done.rpartition(" ")[2])


async def _erase_from_callbacks(connection: Connection, names: Names, of_reports: list[Any], on_step: OnStep) -> int:
    if not names.all:
        return 0
    # A partition that changes places with a merged one meanwhile would be missed.
    await connection.execute("SELECT pg_advisory_lock_shared($1)", SCAN_LOCK)
    try:
        return await _erase_from_partitions(connection, names, of_reports, on_step)
    finally:
        await connection.execute("SELECT pg_advisory_unlock_shared($1)", SCAN_LOCK)


async def _erase_from_partitions(connection: Connection, names: Names, of_reports: list[Any], on_step: OnStep) -> int:
    partitions = await connection.fetch(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'callbacks'::regclass ORDER BY 1"
    )
    # The beginning of an IMEI finds it without its check digit, and with a software version.
    wanted = [spelling.encode() for name in names.all for spelling in {name[:BODY_OF_IMEI], name.lower()}]
    changed = 0
    for done, partition in enumerate(partitions):
        on_step(done, len(partitions))
        query = _MENTIONING.format(partition=partition["name"], page=_PAGE)
        place = (EPOCH, _FIRST)
        while rows := await connection.fetch(query, *place, wanted, of_reports):
            for row in rows:
                changed += await _erase_from_callback(connection, row, names, must_go=row["id"] in set(of_reports))
            place = (rows[-1]["received_at"], rows[-1]["id"])
    on_step(len(partitions), len(partitions))
    return changed


async def _erase_from_callback(connection: Connection, row: Any, names: Names, *, must_go: bool) -> int:
    body: bytes = row["body"]
    left = without(body, names) if len(body) <= _LARGEST_ON_LOOP else await asyncio.to_thread(without, body, names)
    if left == body and not must_go:
        return 0
    place = (row["received_at"], row["id"])
    if left is None or left == body:
        return _count(await connection.execute("DELETE FROM callbacks WHERE received_at = $1 AND id = $2", *place))
    return _count(await connection.execute(_BLOT_OUT, *place, left))
