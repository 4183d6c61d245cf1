"""Identifiers that earlier releases stored as they came get the form in which they are read now.

A MEID in lower case, an IMEI with separators and an IMEI of 14 or 16 digits were devices of their own; what is no
identifier was stored as one. Reports keep their ids, except where an id can be derived anew from the canonical
identifier: then a callback that comes again is the same report, and a report that was stored under two spellings is
one.

Nothing is locked but the rows of one step, and the steps are small; each can be repeated.
"""

# ruff: noqa: S608 -- statements are put together from the constants of this module

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from hashlib import blake2b, sha256
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa
from alembic import op

from app import identifiers

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

CHANGES_TABLES = False

_AT_ONCE = 500
_UNREADABLE = "identifier_unreadable"
_LONGEST_KEY = 512
_FORMS = {"imei": "^[0-9]{15}$", "meid": "^[0-9A-F]{14}$", "esn": "^[0-9A-F]{8}$"}
_ODD_DEVICE = " OR ".join(f"device_kind = '{kind}' AND device !~ '{form}'" for kind, form in _FORMS.items())
_ODD_NUMBER = "mdn !~ '^[0-9]{10}$' OR device ~ '^mdn:' AND device !~ '^mdn:[0-9]{10}$'"
_ODD_POSITIONS = f"""
SELECT account, device, mdn,
    (SELECT device_kind FROM reports AS r WHERE r.at = p.at AND r.id = p.report_id) AS kind
FROM positions AS p
WHERE device !~ '^(name|mdn):' AND device !~ '{"|".join(_FORMS.values())}' OR device ~ '^[0-9]{{14}}$' OR {_ODD_NUMBER}
"""

_ODD_REPORTS = f"""
SELECT at, id, type, account, transaction_id, session_id, device, device_kind, mdn, name, latitude, longitude,
    error_type, error_info
FROM reports
WHERE (at, id) > (CAST(:at AS timestamptz), CAST(:id AS uuid)) AND ({_ODD_DEVICE} OR {_ODD_NUMBER})
ORDER BY at, id LIMIT {_AT_ONCE}
"""
# A report that is there under its new id as well goes; `moved` and `gone` see the same rows, and share none of them.
_MOVE_REPORTS = """
WITH given AS (
    SELECT * FROM json_to_recordset(CAST(:rows AS json)) AS g (
        at timestamptz, id uuid, new_id uuid, session_id uuid, device text, device_kind text, mdn text, flag text
    )
), twice AS (
    SELECT g.at, g.id FROM given AS g JOIN reports AS r ON r.at = g.at AND r.id = g.new_id WHERE g.new_id <> g.id
), gone AS (
    DELETE FROM reports AS r USING twice WHERE r.at = twice.at AND r.id = twice.id
), moved AS (
    UPDATE reports AS r SET
        id = g.new_id, device = g.device, device_kind = g.device_kind, mdn = g.mdn,
        flags = CASE WHEN g.flag IS NULL OR g.flag = ANY (r.flags) THEN r.flags ELSE array_append(r.flags, g.flag) END
    FROM given AS g
    WHERE r.at = g.at AND r.id = g.id AND NOT EXISTS (SELECT FROM twice WHERE twice.at = g.at AND twice.id = g.id)
), latest AS (
    UPDATE positions AS p SET report_id = g.new_id FROM given AS g
    WHERE p.device = g.device AND p.at = g.at AND p.report_id = g.id
), last AS (
    UPDATE session_devices AS d SET last_report_id = g.new_id FROM given AS g
    WHERE d.session_id = g.session_id AND d.device = g.device AND d.last_report_id = g.id
)
UPDATE session_devices AS d SET last_error_id = g.new_id FROM given AS g
WHERE d.session_id = g.session_id AND d.device = g.device AND d.last_error_id = g.id
"""
_MOVE_POSITION = """
WITH gone AS (DELETE FROM positions WHERE account = :account AND device = :device RETURNING *)
INSERT INTO positions (account, device, at, report_id, provider, mdn, latitude, longitude)
SELECT account, CAST(:key AS text), at, report_id, provider, CAST(:number AS text), latitude, longitude
FROM gone WHERE CAST(:key AS text) <> ''
ON CONFLICT (account, device) DO UPDATE SET
    at = excluded.at, report_id = excluded.report_id, provider = excluded.provider,
    mdn = coalesce(excluded.mdn, positions.mdn), latitude = excluded.latitude, longitude = excluded.longitude
WHERE positions.at < excluded.at
"""
_MOVE_ALIAS = """
WITH gone AS (DELETE FROM account_aliases WHERE device = :device AND mdn = :mdn AND account = :account RETURNING *)
INSERT INTO account_aliases (device, mdn, account, device_kind, learned_at)
SELECT CAST(:id AS text), CAST(:number AS text), account, device_kind, learned_at FROM gone
WHERE CAST(:id AS text) IS NOT NULL AND CAST(:number AS text) IS NOT NULL
ON CONFLICT (device, mdn, account) DO UPDATE SET learned_at = excluded.learned_at
WHERE account_aliases.learned_at < excluded.learned_at
"""
_RENAME_MEMBER = """
UPDATE session_devices AS d SET device = :id, mdn = :number
WHERE session_id = :session_id AND device = :device
    AND (d.device = :id OR NOT EXISTS (SELECT FROM session_devices WHERE session_id = :session_id AND device = :id))
"""


class _Device(NamedTuple):
    key: str
    kind: str | None
    mdn: str | None
    is_odd: bool


def upgrade() -> None:
    context = op.get_context()
    if context.as_sql:
        return
    with context.autocommit_block():
        connection = op.get_bind()
        _rename_members(connection)
        _move_positions(connection)
        _move_aliases(connection)
        _move_reports(connection)
        _rename_in_audit(connection)


def downgrade() -> None:
    """Leave everything as it is: earlier releases read the canonical forms, too."""


def _rename_members(connection: sa.Connection) -> None:
    odd = "SELECT session_id, device, mdn FROM session_devices WHERE device !~ '^[0-9]{15}$' OR mdn !~ '^[0-9]{10}$'"
    for row in connection.execute(sa.text(odd)).mappings().all():
        id_ = identifiers.imei(row["device"]) or row["device"]
        connection.execute(sa.text(_RENAME_MEMBER), {**row, "id": id_, "number": identifiers.mdn(row["mdn"])})


def _move_positions(connection: sa.Connection) -> None:
    for row in connection.execute(sa.text(_ODD_POSITIONS)).mappings().all():
        device = _device_of(row["device"], row["kind"], row["mdn"], None)
        if device.key != row["device"] or device.mdn != row["mdn"]:
            to = {"key": device.key, "number": device.mdn}
            connection.execute(sa.text(_MOVE_POSITION), {**row, **to})


def _move_aliases(connection: sa.Connection) -> None:
    odd = f"SELECT device, mdn, account, device_kind AS kind FROM account_aliases WHERE {_ODD_DEVICE} OR {_ODD_NUMBER}"
    for row in connection.execute(sa.text(odd)).mappings().all():
        found = identifiers.hardware_id(row["device"], row["kind"])
        to = {"id": found and found[1], "number": identifiers.mdn(row["mdn"])}
        if (to["id"], to["number"]) != (row["device"], row["mdn"]):
            connection.execute(sa.text(_MOVE_ALIAS), {**row, **to})


def _move_reports(connection: sa.Connection) -> None:
    place: dict[str, Any] = {"at": datetime(1, 1, 1, tzinfo=UTC), "id": UUID(int=0)}
    while rows := connection.execute(sa.text(_ODD_REPORTS), place).mappings().all():
        changed = [moved for row in rows if (moved := _moved(row)) is not None]
        for step in _apart(changed):
            connection.execute(sa.text(_MOVE_REPORTS), {"rows": json.dumps(step)})
        place = {"at": rows[-1]["at"], "id": rows[-1]["id"]}


def _apart(moved: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Part rows that become the same one: the second finds the first under its new id."""
    first = {(row["at"], row["new_id"]): row for row in reversed(moved)}
    if first:
        yield list(first.values())
    if others := [row for row in moved if first[row["at"], row["new_id"]] is not row]:
        yield from _apart(others)


def _moved(row: Any) -> dict[str, Any] | None:
    device = _device_of(row["device"], row["device_kind"], row["mdn"], row["name"])
    if (device.key, device.kind, device.mdn) == (row["device"], row["device_kind"], row["mdn"]):
        return None
    return {
        "at": row["at"].isoformat(),
        "id": str(row["id"]),
        "new_id": str(_new_id(row, device.key) if device.kind else row["id"]),
        "session_id": row["session_id"] and str(row["session_id"]),
        "device": device.key,
        "device_kind": device.kind,
        "mdn": device.mdn,
        "flag": _UNREADABLE if device.is_odd else None,
    }


def _device_of(key: str, kind: str | None, mdn: str | None, name: str | None) -> _Device:
    """Read a stored device again; `kind` None leaves it to the shape."""
    number = identifiers.mdn(mdn)
    mark, _, text = key.rpartition("mdn:")
    found = None if mark or key.startswith("mdn:") else identifiers.hardware_id(key, kind)  # type: ignore[arg-type]  # one of the kinds
    is_odd = (mdn is not None and number is None) or (kind is not None and found is None)
    if found is not None:
        return _Device(found[1], found[0], number, is_odd)
    number = number or (identifiers.mdn(text) if key.startswith("mdn:") else None)
    return _Device(f"mdn:{number}" if number else f"name:{name}" if name else "", None, number, is_odd)


def _new_id(row: Any, device: str) -> UUID:
    """Derive the id from the canonical identifier, where the old one is known to come from the one that is stored."""
    for account in {row["account"] or "", ""}:
        for words in _said(row):
            about = (account, row["transaction_id"] or "", row["type"])
            if _id_of(row["at"], [*about, row["device"], *words]) == row["id"]:
                return _id_of(row["at"], [*about, device, *words])
    return row["id"]  # type: ignore[no-any-return]  # a UUID


def _said(row: Any) -> Iterable[list[str]]:
    when = str(int(row["at"].timestamp()))
    where = [] if row["latitude"] is None else [repr(row["latitude"] + 0.0), repr(row["longitude"] + 0.0)]
    yield [when, *where, *(words for words in (row["error_type"], row["error_info"]) if words)]


def _id_of(at: datetime, parts: list[str]) -> UUID:
    key = json.dumps(parts, separators=(",", ":"), ensure_ascii=False).encode()
    named = key if len(key) <= _LONGEST_KEY else sha256(key).hexdigest().encode()
    return UUID(hex=f"{round(at.timestamp() * 1000):012x}{blake2b(named, digest_size=16).hexdigest()[:20]}")


def _rename_in_audit(connection: sa.Connection) -> None:
    odd = "SELECT DISTINCT device FROM audit WHERE device ~ '^[0-9A-Fa-f]{8,18}$' AND device !~ "
    devices = connection.execute(sa.text(f"{odd} '{'|'.join(_FORMS.values())}'")).scalars().all()
    renamed = {device: found[1] for device in devices if (found := identifiers.hardware_id(device)) is not None}
    connection.execute(sa.text("SET gateway.keeping_house = 'on'"))
    for device, canonical in renamed.items():
        to = {"device": device, "canonical": canonical}
        connection.execute(sa.text("UPDATE audit SET device = :canonical WHERE device = :device"), to)
    connection.execute(sa.text("RESET gateway.keeping_house"))
