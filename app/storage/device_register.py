"""The register of devices: who is known in which account, written whenever a device is seen anew.

Reading all that is kept would find the same devices, in four tables of which one is parted by days. Registering costs
the way of callbacks nothing: the writer remembers whom it has written down already (`writer.aliases`).
"""

# ruff: noqa: S608 -- put together from our own constants

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ARRAY, Text, bindparam, exists, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.caller import Reach
from app.identifiers import Readings
from app.storage.reach import devices_within
from app.storage.tables import DeviceRow

IF_REGISTERED = """
    ON CONFLICT (device, account) DO UPDATE SET
        device_kind = coalesce(excluded.device_kind, devices.device_kind),
        mdn = coalesce(excluded.mdn, devices.mdn),
        name = coalesce(excluded.name, devices.name),
        seen_at = greatest(excluded.seen_at, devices.seen_at)
    WHERE devices.seen_at < excluded.seen_at - interval '1 day'
        OR excluded.device_kind IS DISTINCT FROM coalesce(devices.device_kind, excluded.device_kind, '')
        OR excluded.mdn <> coalesce(devices.mdn, '')
        OR excluded.name <> coalesce(devices.name, '')
"""
"""Ends an insertion into `devices`: what is new about a device is noted; where nothing is, its day is, once a day."""

NOTHING_KEPT = """
    NOT EXISTS (SELECT FROM positions AS p WHERE p.device = devices.device)
    AND NOT EXISTS (SELECT FROM account_aliases AS a WHERE a.device = devices.device)
    AND NOT EXISTS (SELECT FROM session_devices AS s WHERE s.device = devices.device)
    AND NOT EXISTS (SELECT FROM reports AS r WHERE r.device = devices.device)
"""
"""Holds for devices of which nothing but their registration is left."""

_REGISTER = text(f"""
INSERT INTO devices (device, account, device_kind, mdn, seen_at)
SELECT device, :account, device_kind, mdn, :at
FROM unnest(:devices, :kinds, :mdns) AS given (device, device_kind, mdn) ORDER BY device
{IF_REGISTERED}
""").bindparams(*(bindparam(name, type_=ARRAY(Text())) for name in ("devices", "kinds", "mdns")))


class DeviceRegistration(NamedTuple):
    """A device to be registered, by its device key."""

    device: str
    kind: str | None = None
    mdn: str | None = None


async def register(session: AsyncSession, account: str, devices: Iterable[DeviceRegistration], at: datetime) -> None:
    """Register devices of an account that were seen at an instant; each may stand there once."""
    listed = list(devices)
    given = {
        "devices": [one.device for one in listed],
        "kinds": [one.kind for one in listed],
        "mdns": [one.mdn for one in listed],
    }
    await session.execute(_REGISTER, {"account": account, "at": at, **given})


async def is_registered(session: AsyncSession, known: Readings, reach: Reach) -> bool:
    """Return whether anything that a text can mean names a registered device within reach."""
    keys = [*known.ids, f"name:{known.name}", *([f"mdn:{known.mdn}"] if known.mdn else [])]
    is_named = or_(DeviceRow.device.in_(keys), DeviceRow.mdn == known.mdn, DeviceRow.name == known.name)
    return bool(await session.scalar(select(exists().where(is_named, *devices_within(reach)))))
