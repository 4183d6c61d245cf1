"""The alias book: which MDN belongs to which identifier, as requests and callbacks have shown."""

from collections.abc import Sequence
from datetime import datetime
from typing import TypedDict, cast

from sqlalchemy import ARRAY, DateTime, Text, func, literal, select
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.model import Device, DeviceIdKind
from app.storage.tables import AliasRow


async def mdns_of(session: AsyncSession, devices: Sequence[str]) -> dict[str, str]:
    """Find the MDN that was seen last with each of these identifiers."""
    newest = (
        select(AliasRow.device, AliasRow.mdn)
        .where(AliasRow.device.in_(devices))
        .order_by(AliasRow.device, AliasRow.learned_at.desc())
        .ext(distinct_on(AliasRow.device))
    )
    return {device: mdn for device, mdn in await session.execute(newest)}  # noqa: C416 -- a row is no pair to dict()


class Identifier(TypedDict):
    """The identifying members of `model.Device`."""

    id: str
    kind: DeviceIdKind


async def devices_of(session: AsyncSession, mdns: Sequence[str]) -> dict[str, Identifier]:
    """Find the identifier that was seen last with each of these MDNs."""
    newest = (
        select(AliasRow.mdn, AliasRow.device, AliasRow.device_kind)
        .where(AliasRow.mdn.in_(mdns))
        .order_by(AliasRow.mdn, AliasRow.learned_at.desc())
        .ext(distinct_on(AliasRow.mdn))
    )
    found = await session.execute(newest)
    return {mdn: Identifier(id=device, kind=cast("DeviceIdKind", kind)) for mdn, device, kind in found}


async def learn(session: AsyncSession, devices: Sequence[Device], at: datetime) -> None:
    """Write down which MDNs a request gave for which identifiers."""
    pairs = sorted({(one.id, one.mdn, one.kind) for one in devices if one.id and one.mdn and one.kind})
    if not pairs:
        return
    # Rows in one order everywhere, so that those who learn the same at the same time wait for each other in turn.
    columns = [literal(list(column), ARRAY(Text())) for column in zip(*pairs, strict=True)]
    listed = func.unnest(*columns).table_valued("device", "mdn", "device_kind").render_derived("listed")
    learned = insert(AliasRow).from_select(
        ["device", "mdn", "device_kind", "learned_at"],
        select(listed.c.device, listed.c.mdn, listed.c.device_kind, literal(at, DateTime(timezone=True))),
    )
    newer = {"learned_at": learned.excluded.learned_at}
    await session.execute(
        learned.on_conflict_do_update(
            index_elements=[AliasRow.device, AliasRow.mdn],
            set_=newer,
            where=AliasRow.learned_at < learned.excluded.learned_at,
        )
    )


async def keys_of(session: AsyncSession, identifier: str) -> list[str]:
    """List every device key under which reports of an identifier or MDN may stand."""
    mdns = await session.scalars(select(AliasRow.mdn).where(AliasRow.device == identifier))
    devices = await session.scalars(select(AliasRow.device).where(AliasRow.mdn == identifier))
    return [identifier, f"mdn:{identifier}", *devices, *(f"mdn:{mdn}" for mdn in mdns)]
