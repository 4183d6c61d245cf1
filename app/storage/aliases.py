"""The alias book of each account: which MDN belongs to which identifier, as the provider itself has said.

Every pair is kept with the time when it was said last, so that old reports are found under a number that a device has
had. Only current pairs complete a device: a number belongs to the device that was named with it last, and a device has
the newest of the numbers that belong to it.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple, cast

from msgspec.structs import replace
from sqlalchemy import ARRAY, BindParameter, DateTime, Text, any_, func, literal, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.caller import EVERYTHING, Reach
from app.model import Device, DeviceIdKind, Mdn
from app.storage.device_register import DeviceRegistration, register
from app.storage.tables import AliasRow


class Pair(NamedTuple):
    """An identifier and the MDN that belongs to it."""

    id: str
    kind: DeviceIdKind
    mdn: str


async def completed(
    session: AsyncSession, account: str, devices: Sequence[Device], reach: Reach = EVERYTHING
) -> list[Device]:
    """Complete devices of which one identifier is known, where the account's book has the other one.

    A device whose other identifier is beyond `reach` stays as it is, as if the book did not have it.
    """
    lacking = [device for device in devices if (device.id is None) != (device.mdn is None)]
    ids = [device.id for device in lacking if device.id is not None]
    mdns = [device.mdn for device in lacking if device.mdn is not None]
    if not lacking:
        return list(devices)
    pairs = await current(session, account, ids=ids, mdns=mdns)
    by_id = {pair.id: pair for pair in pairs}
    by_mdn = {pair.mdn: pair for pair in pairs}
    return [_completed(device, by_id.get(device.id or ""), by_mdn.get(device.mdn or ""), reach) for device in devices]


def _completed(device: Device, by_id: Pair | None, by_mdn: Pair | None, reach: Reach) -> Device:
    if device.mdn is None and by_id is not None:
        whole = replace(device, mdn=Mdn(by_id.mdn))
    elif device.id is None and by_mdn is not None:
        whole = replace(device, id=by_mdn.id, kind=by_mdn.kind)
    else:
        return device
    return whole if reach.has_completed(whole) else device


async def current(
    session: AsyncSession, account: str, *, ids: Sequence[str] = (), mdns: Sequence[str] = ()
) -> list[Pair]:
    """Find the current pairs of an account in which any of these identifiers or MDNs stands."""
    asked, sibling, rival = AliasRow, aliased(AliasRow), aliased(AliasRow)
    is_asked = or_(asked.device == any_(_texts(ids)), asked.mdn == any_(_texts(mdns)))
    devices = select(asked.device).where(asked.account == account, is_asked)
    numbers = select(sibling.mdn).where(sibling.account == account, sibling.device.in_(devices))
    rows = await session.scalars(select(rival).where(rival.account == account, rival.mdn.in_(numbers)))
    return choose_current(rows)


def choose_current(rows: Iterable[AliasRow]) -> list[Pair]:
    """Choose the current pairs among all that were ever said of some numbers."""
    holders: dict[str, AliasRow] = {}
    for row in sorted(rows, key=_age):
        holders[row.mdn] = row
    newest: dict[str, AliasRow] = {}
    for row in sorted(holders.values(), key=_age):
        newest[row.device] = row
    return [Pair(row.device, cast("DeviceIdKind", row.device_kind), row.mdn) for row in newest.values()]


def _texts(values: Sequence[str]) -> BindParameter[list[str]]:
    return literal(list(values), ARRAY(Text()))


def _age(row: AliasRow) -> tuple[datetime, str, str]:
    return row.learned_at, row.device, row.mdn


async def learn(session: AsyncSession, account: str, devices: Sequence[Device], at: datetime) -> None:
    """Write down which MDNs the provider has accepted for which identifiers of an account."""
    pairs = sorted({(one.id, one.mdn, one.kind) for one in devices if one.id and one.mdn and one.kind})
    if not pairs:
        return
    # In one order everywhere, so that two replicas that store the same pairs never deadlock.
    listed = (
        func.unnest(*map(_texts, zip(*pairs, strict=True)))
        .table_valued("device", "mdn", "device_kind")
        .render_derived("listed")
    )
    learned = insert(AliasRow).from_select(
        ["device", "mdn", "account", "device_kind", "learned_at"],
        select(
            listed.c.device,
            listed.c.mdn,
            literal(account, Text()),
            listed.c.device_kind,
            literal(at, DateTime(timezone=True)),
        ),
    )
    await session.execute(
        learned.on_conflict_do_update(
            index_elements=[AliasRow.device, AliasRow.mdn, AliasRow.account],
            set_={"learned_at": learned.excluded.learned_at},
            where=AliasRow.learned_at < learned.excluded.learned_at,
        )
    )
    newest = {id_: DeviceRegistration(id_, kind, mdn) for id_, mdn, kind in pairs}
    await register(session, account, newest.values(), at)
