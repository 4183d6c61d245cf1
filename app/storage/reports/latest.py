"""The report with the latest fix of one device, and the latest positions of many, for a map."""

# ruff: noqa: S608 -- statements are put together from constants, and numbers

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from app.caller import EVERYTHING, Reach
from app.identifiers import Readings
from app.storage.database import Database
from app.storage.reach import within
from app.storage.reports.filters import Box, ReportFilter
from app.storage.reports.pages import page
from app.storage.reports.records import COLUMNS, ReportRecord, to_record
from app.storage.reports.statements import Arguments, Statement, keys_of_device, keys_of_mdn, looked_up
from app.storage.tables import REPORT_COLUMNS

_CREDIBLE = timedelta(days=1)
_WIDTH = len(REPORT_COLUMNS)

_LATEST = f"""
SELECT {COLUMNS} FROM (
    SELECT at, report_id FROM positions AS p WHERE device = ANY (ARRAY({{keys}})) {{reach}} ORDER BY at DESC LIMIT 1
) AS p
JOIN LATERAL ({looked_up("p.at", "p.report_id")}) AS r ON r.id = p.report_id
"""
# A position outlives its report for as long as retention takes; such a device is passed over when it is read.
_POSITIONS = f"""
SELECT {COLUMNS}, p.account, p.device FROM (
    SELECT account, device, at, report_id FROM positions AS p {{where}} ORDER BY device, account LIMIT {{limit}}
) AS p
LEFT JOIN LATERAL ({looked_up("p.at", "p.report_id")}) AS r ON r.id = p.report_id
ORDER BY p.device, p.account
"""


class Holder(NamedTuple):
    """Whose position it is; positions are listed in this order, so that none is missed while devices move."""

    account: str
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Positions:
    """The latest positions of some devices; `next` is None at the end."""

    reports: Sequence[ReportRecord] = ()
    next: Holder | None = None


async def latest_of_device(database: Database, known: Readings, *, reach: Reach = EVERYTHING) -> ReportRecord | None:
    """Find the report with the latest fix of a device, by IMEI, MEID or ESN, or by the caller's name for it."""
    given = Arguments()
    keys = [keys_of_device(device_id, reach, given) for device_id in known.ids]
    keys.append(f"SELECT 'name:' || {given.add(known.name)}::text")
    rows = await database.fetch(*_latest(" UNION ".join(keys), given, reach))
    return to_record(rows[0].values()) if rows else None


async def latest_of_mdn(
    database: Database, mdn: str, now: datetime, *, reach: Reach = EVERYTHING
) -> ReportRecord | None:
    """Find the report with the latest fix under an MDN, even where its device has another one by now."""
    given = Arguments()
    statement = _latest(keys_of_mdn(mdn, reach, given), given, reach)
    rows = await database.fetch(*statement)
    if not rows or rows[0]["mdn"] in (None, mdn):
        return to_record(rows[0].values()) if rows else None
    under_mdn = ReportFilter(mdn=mdn, status="located", until=now + _CREDIBLE, is_believed=True, reach=reach)
    found = await page(database, under_mdn, limit=1)
    return found.reports[0] if found.reports else None


async def positions_page(
    database: Database,
    *,
    box: Box | None = None,
    account: str | None = None,
    after: Holder | None = None,
    limit: int = 100,
    reach: Reach = EVERYTHING,
) -> Positions:
    """Read the latest positions of the devices that come after one."""
    statement = _positions(box, account, after, limit + 1, reach)
    rows = [tuple(row.values()) for row in await database.fetch(*statement)]
    found = [to_record(row[:_WIDTH]) for row in rows[:limit] if row[0] is not None]
    return Positions(reports=found, next=Holder(*rows[limit - 1][_WIDTH:]) if len(rows) > limit else None)


def _latest(keys: str, arguments: Arguments, reach: Reach) -> Statement:
    conditions = "".join(f" AND {condition}" for condition in within(reach, arguments.add, of="p"))
    return (_LATEST.format(keys=keys, reach=conditions), *arguments)


def _positions(
    box: Box | None, account: str | None, after: Holder | None, limit: int, reach: Reach = EVERYTHING
) -> Statement:
    arguments = Arguments()
    conditions = within(reach, arguments.add, of="p")
    if box is not None:
        conditions.append(_inside(box, arguments))
    if account is not None:
        conditions.append(f"account = {arguments.add(account)}")
    if after is not None:
        conditions.append(f"(device, account) > ({arguments.add(after.device)}, {arguments.add(after.account)})")
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    return (_POSITIONS.format(where=where, limit=limit), *arguments)


def _inside(box: Box, arguments: Arguments) -> str:
    """Write the condition on tiles as the spatial index has it, so that it is used, and then the exact one."""
    spans = [(box.west_deg, box.east_deg)]
    if box.crosses_antimeridian:
        spans = [(box.west_deg, 180.0), (-180.0, box.east_deg)]
    south, north = arguments.add(box.south_deg), arguments.add(box.north_deg)
    areas = []
    for west_deg, east_deg in spans:
        west, east = arguments.add(west_deg), arguments.add(east_deg)
        tiles = f"box(point({_tile(west)}, {_tile(south)}), point({_tile(east)}, {_tile(north)}))"
        areas.append(
            f"point(tile_x, tile_y) <@ {tiles} "
            f"AND longitude BETWEEN {west} AND {east} AND latitude BETWEEN {south} AND {north}"
        )
    return f"({' OR '.join(areas)})"


def _tile(degrees: str) -> str:
    return f"floor({degrees}::float8 * 10)"
