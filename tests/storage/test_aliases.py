"""The alias book: which number belongs to which device, as it was seen last."""

from datetime import UTC, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from app.model import Device, Mdn
from app.storage import aliases

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def pair(identifier: str | None, mdn: str | None, kind: str = "imei") -> Device:
    return Device(id=identifier, kind=kind if identifier else None, mdn=Mdn(mdn) if mdn else None)  # type: ignore[arg-type]  # the tests' kinds are right


async def test_a_pair_is_found_from_either_side(session: AsyncSession) -> None:
    await aliases.learn(session, [pair("imei-1", "5085550101")], NOON)

    assert await aliases.mdns_of(session, ["imei-1", "imei-2"]) == {"imei-1": "5085550101"}
    assert await aliases.devices_of(session, ["5085550101"]) == {"5085550101": {"id": "imei-1", "kind": "imei"}}


async def test_what_was_seen_last_counts(session: AsyncSession) -> None:
    await aliases.learn(session, [pair("imei-1", "5085550101")], NOON)
    await aliases.learn(session, [pair("imei-1", "5085550102")], NOON + timedelta(hours=1))
    await aliases.learn(session, [pair("imei-1", "5085550103")], NOON - timedelta(hours=1))

    assert await aliases.mdns_of(session, ["imei-1"]) == {"imei-1": "5085550102"}


async def test_a_number_that_moved_belongs_to_the_new_device(session: AsyncSession) -> None:
    await aliases.learn(session, [pair("imei-1", "5085550101")], NOON)
    await aliases.learn(session, [pair("A1000049D2C3E4", "5085550101", "meid")], NOON + timedelta(days=1))

    found = await aliases.devices_of(session, ["5085550101"])
    assert found["5085550101"] == {"id": "A1000049D2C3E4", "kind": "meid"}


async def test_seeing_a_pair_again_makes_it_the_newest(session: AsyncSession) -> None:
    await aliases.learn(session, [pair("imei-1", "5085550101")], NOON)
    await aliases.learn(session, [pair("imei-1", "5085550102")], NOON + timedelta(hours=1))
    await aliases.learn(session, [pair("imei-1", "5085550101")], NOON + timedelta(hours=2))

    assert await aliases.mdns_of(session, ["imei-1"]) == {"imei-1": "5085550101"}


async def test_half_a_pair_teaches_nothing(session: AsyncSession) -> None:
    await aliases.learn(session, [pair("imei-1", None), pair(None, "5085550101")], NOON)

    assert await aliases.mdns_of(session, ["imei-1"]) == {}
    assert await aliases.devices_of(session, ["5085550101"]) == {}


async def test_every_key_of_a_device_is_named(session: AsyncSession) -> None:
    await aliases.learn(session, [pair("imei-1", "5085550101"), pair("imei-1", "5085550102")], NOON)

    by_identifier = await aliases.keys_of(session, "imei-1")
    by_number = await aliases.keys_of(session, "5085550102")

    assert set(by_identifier) >= {"imei-1", "mdn:5085550101", "mdn:5085550102"}
    assert set(by_number) >= {"imei-1", "mdn:5085550102"}


async def test_nothing_is_asked_of_nobody(session: AsyncSession) -> None:
    await aliases.learn(session, [], NOON)

    assert await aliases.mdns_of(session, []) == {}
