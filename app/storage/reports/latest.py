"""The report with the latest fix of one device, and the latest positions of many, as a map wants them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, func, literal_column, or_, select, true, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import NullType

from app.storage import aliases, positions
from app.storage.reports.filters import Box, ReportFilter
from app.storage.reports.records import COLUMNS, REPORTS, ReportRecord
from app.storage.reports.selection import Selection
from app.storage.tables import PositionRow, ReportRow

_CREDIBLE = timedelta(days=1)


class Holder(NamedTuple):
    """Whose position it is; positions are listed in this order, so that none is missed while devices move."""

    account: str
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Positions:
    """The latest positions of some devices; `next` is None at the end."""

    reports: Sequence[ReportRecord] = ()
    next: Holder | None = None


async def latest_of_device(session: AsyncSession, identifier: str) -> ReportRow | None:
    """Find the report with the latest fix of a device, by IMEI, MEID or ESN, or by the caller's name for it."""
    keys = await aliases.keys_of(session, identifier.upper())
    return await positions.latest(session, [*keys, f"name:{identifier}"])


async def latest_of_mdn(session: AsyncSession, mdn: str, now: datetime) -> ReportRow | ReportRecord | None:
    """Find the report with the latest fix under an MDN, even where its device goes by another one by now."""
    keys = [key for key in await aliases.keys_of(session, mdn) if key != mdn]
    latest = await positions.latest(session, keys)
    if latest is None or latest.mdn in (None, mdn):
        return latest
    under_mdn = ReportFilter(mdn=mdn, status="located", until=now + _CREDIBLE)
    selection = Selection(wanted=under_mdn, column=REPORTS.c.device, keys=tuple(keys))
    row = (await session.execute(selection.page(None, 1))).one_or_none()
    return None if row is None else ReportRecord._make(row)


async def positions_page(
    session: AsyncSession,
    *,
    box: Box | None = None,
    account: str | None = None,
    after: Holder | None = None,
    limit: int = 100,
) -> Positions:
    """Read the latest positions of the devices that come after one."""
    found = list(await session.execute(positions_statement(box=box, account=account, after=after, limit=limit + 1)))
    width = len(COLUMNS)
    # A position outlives its report for as long as retention takes; the device is then passed over.
    reports = [ReportRecord._make(row[:width]) for row in found[:limit] if row[0] is not None]
    return Positions(reports=reports, next=Holder(*found[limit - 1][width:]) if len(found) > limit else None)


def positions_statement(*, box: Box | None, account: str | None, after: Holder | None, limit: int) -> Select[Any]:
    """Select reports of latest positions, each followed by its account and device."""
    place = (PositionRow.account, PositionRow.device)
    devices = select(*place, PositionRow.at, PositionRow.report_id).order_by(*place)
    devices = devices.limit(literal_column(str(limit)))
    if box is not None:
        devices = devices.where(_inside(box))
    if account is not None:
        devices = devices.where(PositionRow.account == account)
    if after is not None:
        devices = devices.where(tuple_(*place) > tuple_(*after))
    holder = devices.subquery("holder")
    # One report after the other by its key: joined freely, the plan might read all of them.
    report = select(*COLUMNS).where(REPORTS.c.at == holder.c.at, REPORTS.c.id == holder.c.report_id)
    latest = report.limit(literal_column("1")).lateral("latest")
    rows = select(*latest.c, holder.c.account, holder.c.device).select_from(holder).outerjoin(latest, true())
    return rows.order_by(holder.c.account, holder.c.device)


def _inside(box: Box) -> ColumnElement[bool]:
    # Written like the index, so that it is used.
    point = func.point(PositionRow.longitude, PositionRow.latitude, type_=NullType())
    east_deg = 180.0 if box.crosses_antimeridian else box.east_deg
    areas = [_area(box.west_deg, box.south_deg, east_deg, box.north_deg)]
    if box.crosses_antimeridian:
        areas.append(_area(-180.0, box.south_deg, box.east_deg, box.north_deg))
    return or_(*(point.bool_op("<@")(area) for area in areas))


def _area(west_deg: float, south_deg: float, east_deg: float, north_deg: float) -> ColumnElement[object]:
    return func.box(func.point(west_deg, south_deg), func.point(east_deg, north_deg), type_=NullType())
