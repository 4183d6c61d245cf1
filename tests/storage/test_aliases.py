"""The alias books: which number belongs to which device of an account, by the provider's newest word."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from app.caller import Reach
from app.model import Device, Mdn
from app.storage import aliases
from app.storage.database import Database
from app.storage.writer import AliasPair, Entry, Writer
from tests.support.reports import ACCOUNT, IMEI, MDN, located

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
OTHER_ACCOUNT = "0844559123-00002"
OTHER_IMEI = "990001123456790"
OTHER_MDN = "5085550102"


def device(identifier: str | None = None, mdn: str | None = None, kind: str = "imei") -> Device:
    return Device(id=identifier, kind=kind if identifier else None, mdn=Mdn(mdn) if mdn else None)  # type: ignore[arg-type]  # the tests' kinds are right


async def learn(session: AsyncSession, *pairs: tuple[str, str], account: str = ACCOUNT, hours: int = 0) -> None:
    devices = [device(identifier, mdn) for identifier, mdn in pairs]
    await aliases.learn(session, account, devices, NOON + timedelta(hours=hours))


async def known(
    session: AsyncSession, *devices: Device, account: str = ACCOUNT, reach: Reach | None = None
) -> Sequence[tuple[str | None, str | None]]:
    found = await aliases.completed(session, account, devices, reach or Reach())
    return [(one.id, one.mdn) for one in found]


async def test_a_pair_is_found_from_either_side(session: AsyncSession) -> None:
    await learn(session, (IMEI, MDN))

    assert await known(session, device(IMEI), device(mdn=MDN)) == [(IMEI, MDN), (IMEI, MDN)]


async def test_the_kind_of_an_identifier_is_kept(session: AsyncSession) -> None:
    await aliases.learn(session, ACCOUNT, [device("A1000049D2C3E4", MDN, "meid")], NOON)

    [found] = await aliases.completed(session, ACCOUNT, [device(mdn=MDN)])

    assert found.kind == "meid"


async def test_what_is_not_known_stays_as_it_is(session: AsyncSession) -> None:
    await learn(session, (IMEI, MDN))

    assert await known(session, device(OTHER_IMEI), device(), device(OTHER_IMEI, MDN)) == [
        (OTHER_IMEI, None),
        (None, None),
        (OTHER_IMEI, MDN),
    ]


async def test_each_account_has_a_book_of_its_own(session: AsyncSession) -> None:
    await learn(session, (IMEI, MDN))
    await learn(session, (IMEI, OTHER_MDN), account=OTHER_ACCOUNT, hours=1)

    assert await known(session, device(IMEI), device(mdn=OTHER_MDN)) == [(IMEI, MDN), (None, OTHER_MDN)]


async def test_the_newest_word_counts(session: AsyncSession) -> None:
    await learn(session, (IMEI, MDN))
    await learn(session, (IMEI, OTHER_MDN), hours=1)
    await learn(session, (IMEI, "5085550103"), hours=-1)

    assert await known(session, device(IMEI)) == [(IMEI, OTHER_MDN)]


async def test_a_number_that_moved_belongs_to_the_new_device_alone(session: AsyncSession) -> None:
    await learn(session, (IMEI, MDN))
    await learn(session, (OTHER_IMEI, MDN), hours=1)

    assert await known(session, device(mdn=MDN), device(IMEI)) == [(OTHER_IMEI, MDN), (IMEI, None)]


async def test_a_device_that_lost_a_number_has_the_one_before(session: AsyncSession) -> None:
    await learn(session, (IMEI, MDN))
    await learn(session, (IMEI, OTHER_MDN), hours=1)
    await learn(session, (OTHER_IMEI, OTHER_MDN), hours=2)

    assert await known(session, device(IMEI), device(OTHER_IMEI)) == [(IMEI, MDN), (OTHER_IMEI, OTHER_MDN)]


async def test_a_pair_said_again_is_the_newest(session: AsyncSession) -> None:
    await learn(session, (IMEI, MDN))
    await learn(session, (IMEI, OTHER_MDN), hours=1)
    await learn(session, (IMEI, MDN), hours=2)

    assert await known(session, device(IMEI)) == [(IMEI, MDN)]


async def test_half_a_pair_teaches_nothing(session: AsyncSession) -> None:
    await aliases.learn(session, ACCOUNT, [device(IMEI), device(mdn=MDN)], NOON)

    assert await known(session, device(IMEI), device(mdn=MDN)) == [(IMEI, None), (None, MDN)]


async def test_no_device_is_completed_beyond_a_keys_reach(session: AsyncSession) -> None:
    await learn(session, (IMEI, MDN))
    narrow = Reach(devices=(OTHER_IMEI, MDN))

    assert await known(session, device(mdn=MDN), reach=narrow) == [(None, MDN)]


async def test_a_pair_that_comes_back_after_another_is_written_again(database: Database) -> None:
    async with Writer(database.connect, pending=database.pending).running() as writer:
        for at, imei in ((0, IMEI), (1, OTHER_IMEI), (2, IMEI)):
            await writer.submit(Entry(reports=(located(NOON + timedelta(minutes=at), imei=imei),)))

    async with database.transaction() as session:
        assert await known(session, device(mdn=MDN)) == [(IMEI, MDN)]


async def test_a_refused_pair_is_forgotten_until_it_is_said_again(database: Database) -> None:
    async with Writer(database.connect, pending=database.pending).running() as writer:
        await writer.submit(Entry(reports=(located(),)))
        await writer.submit(Entry(refused=(AliasPair(ACCOUNT, IMEI, MDN),)))
        async with database.transaction() as session:
            forgotten = await known(session, device(IMEI))
        await writer.submit(Entry(reports=(located(NOON + timedelta(minutes=1)),)))

    async with database.transaction() as session:
        assert (forgotten, await known(session, device(IMEI))) == ([(IMEI, None)], [(IMEI, MDN)])


async def test_what_nobody_vouches_for_teaches_nothing(database: Database) -> None:
    async with Writer(database.connect, pending=database.pending).running() as writer:
        await writer.submit(Entry(reports=(located(is_vouched=False),)))

    async with database.transaction() as session:
        assert await known(session, device(IMEI)) == [(IMEI, None)]
