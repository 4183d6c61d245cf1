"""The alias book: which MDN belongs to which identifier, as requests and callbacks have shown."""

from collections.abc import Sequence
from typing import TypedDict, cast

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.model import DeviceIdKind
from app.storage.tables import AliasRow


async def mdns_of(session: AsyncSession, devices: Sequence[str]) -> dict[str, str]:
    """Find the MDN that was seen last with each of these identifiers."""
    newest = (
        select(AliasRow.device, AliasRow.mdn)
        .where(AliasRow.device.in_(devices))
        .order_by(AliasRow.device, AliasRow.learned_at.desc())
        .distinct(AliasRow.device)
    )
    return dict((await session.execute(newest)).tuples().all())


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
        .distinct(AliasRow.mdn)
    )
    found = (await session.execute(newest)).tuples()
    return {mdn: Identifier(id=device, kind=cast("DeviceIdKind", kind)) for mdn, device, kind in found}


async def keys_of(session: AsyncSession, identifier: str) -> list[str]:
    """List every device key under which reports of an identifier or MDN may stand."""
    mdns = await session.scalars(select(AliasRow.mdn).where(AliasRow.device == identifier))
    devices = await session.scalars(select(AliasRow.device).where(AliasRow.mdn == identifier))
    return [identifier, f"mdn:{identifier}", *devices, *(f"mdn:{mdn}" for mdn in mdns)]
