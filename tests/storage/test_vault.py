"""The vault: sealed, shared by all replicas, one holder at a time."""

import asyncio

import pytest
from sqlalchemy import text

from app.errors import ProviderMisconfigured, Unavailable
from app.model import ProviderName
from app.storage.database import Database
from app.storage.seal import Seal
from app.storage.vault import DatabaseVault

PROVIDER = ProviderName("thingspace")
MATERIAL = b"the provider's credentials"


@pytest.fixture
def vault(database: Database) -> DatabaseVault:
    return DatabaseVault(database, Seal())


async def test_an_empty_place_holds_nothing(vault: DatabaseVault) -> None:
    assert await vault.read(PROVIDER, "bearer", sealed_with=MATERIAL) is None
    async with vault.locked(PROVIDER, "bearer", sealed_with=MATERIAL) as slot:
        assert slot.value is None


async def test_what_was_put_is_there_for_everybody(vault: DatabaseVault, database: Database) -> None:
    async with vault.locked(PROVIDER, "bearer", sealed_with=MATERIAL) as slot:
        await slot.put(b"token")
        assert slot.value == b"token"

    replica = DatabaseVault(database, Seal())
    assert await replica.read(PROVIDER, "bearer", sealed_with=MATERIAL) == b"token"
    async with replica.locked(PROVIDER, "bearer", sealed_with=MATERIAL) as slot:
        assert slot.value == b"token"


async def test_what_was_taken_out_is_gone(vault: DatabaseVault) -> None:
    async with vault.locked(PROVIDER, "bearer", sealed_with=MATERIAL) as slot:
        await slot.put(b"token")
    async with vault.locked(PROVIDER, "bearer", sealed_with=MATERIAL) as slot:
        await slot.put(None)

    assert await vault.read(PROVIDER, "bearer", sealed_with=MATERIAL) is None


async def test_other_credentials_open_nothing_and_may_begin_anew(vault: DatabaseVault) -> None:
    async with vault.locked(PROVIDER, "bearer", sealed_with=MATERIAL) as slot:
        await slot.put(b"token")

    assert await vault.read(PROVIDER, "bearer", sealed_with=b"others") is None
    async with vault.locked(PROVIDER, "bearer", sealed_with=b"others") as slot:
        assert slot.value is None
        await slot.put(b"new")
    assert await vault.read(PROVIDER, "bearer", sealed_with=b"others") == b"new"


async def test_the_database_sees_no_secret(vault: DatabaseVault, database: Database) -> None:
    async with vault.locked(PROVIDER, "bearer", sealed_with=MATERIAL) as slot:
        await slot.put(b"very secret token")

    async with database.transaction() as session:
        sealed = await session.scalar(text("SELECT sealed FROM provider_secrets"))
    assert b"secret" not in bytes(sealed)


async def test_one_replica_at_a_time_holds_a_place(vault: DatabaseVault, database: Database) -> None:
    replicas = [vault, DatabaseVault(database, Seal())]

    async def add(replica: DatabaseVault) -> None:
        async with replica.locked(PROVIDER, "counter", sealed_with=MATERIAL) as slot:
            before = int(slot.value or b"0")
            await asyncio.sleep(0.001)
            await slot.put(str(before + 1).encode())

    await asyncio.gather(*(add(replicas[n % 2]) for n in range(8)))

    assert await vault.read(PROVIDER, "counter", sealed_with=MATERIAL) == b"8"


async def test_other_places_are_not_locked(vault: DatabaseVault) -> None:
    async with (
        asyncio.timeout(5),
        vault.locked(PROVIDER, "bearer", sealed_with=MATERIAL),
        vault.locked(PROVIDER, "session", sealed_with=MATERIAL) as slot,
    ):
        await slot.put(b"other")

    assert await vault.read(PROVIDER, "session", sealed_with=MATERIAL) == b"other"


async def test_what_was_put_before_a_failure_outlasts_it(vault: DatabaseVault) -> None:
    async def log_in() -> None:
        async with vault.locked(PROVIDER, "login", sealed_with=MATERIAL) as slot:
            await slot.put(b"rejected once")
            raise ProviderMisconfigured

    with pytest.raises(ProviderMisconfigured):
        await log_in()

    assert await vault.read(PROVIDER, "login", sealed_with=MATERIAL) == b"rejected once"


async def test_a_holder_that_is_cancelled_lets_go(vault: DatabaseVault) -> None:
    holding = asyncio.Event()

    async def hold() -> None:
        async with vault.locked(PROVIDER, "bearer", sealed_with=MATERIAL):
            holding.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    await holding.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async with asyncio.timeout(5), vault.locked(PROVIDER, "bearer", sealed_with=MATERIAL) as slot:
        assert slot.value is None


async def test_without_a_database_it_says_so(free_port: int) -> None:
    database = Database(f"postgresql://nobody:nothing@127.0.0.1:{free_port}/nowhere")
    vault = DatabaseVault(database, Seal())

    with pytest.raises(Unavailable):
        await vault.read(PROVIDER, "bearer", sealed_with=MATERIAL)
    with pytest.raises(Unavailable):
        async with vault.locked(PROVIDER, "bearer", sealed_with=MATERIAL):
            pass
    await database.aclose()


async def test_when_all_connections_are_in_use_it_says_so(database_url: str) -> None:
    database = Database(database_url, pool_size=1, pool_timeout_s=0.05)
    async with database.transaction() as session:
        await session.execute(text("SELECT 1"))
        with pytest.raises(Unavailable) as refused:
            async with database.transaction() as second:
                await second.execute(text("SELECT 1"))
    await database.aclose()

    assert refused.value.retry_after_s == 1


def test_keys_of_our_own_go_before_the_providers() -> None:
    sealed = Seal("first").encrypt(b"secret", sealed_with=MATERIAL)

    assert Seal("first").decrypt(sealed, sealed_with=b"other") == b"secret"
    assert Seal().decrypt(sealed, sealed_with=MATERIAL) is None


def test_keys_can_be_rotated() -> None:
    sealed = Seal("old").encrypt(b"secret", sealed_with=MATERIAL)
    rotated = Seal("new, old")

    assert rotated.decrypt(sealed, sealed_with=MATERIAL) == b"secret"
    assert Seal("new").decrypt(rotated.encrypt(b"secret", sealed_with=MATERIAL), sealed_with=MATERIAL) == b"secret"


def test_damaged_secrets_are_no_secrets() -> None:
    sealed = Seal().encrypt(b"secret", sealed_with=MATERIAL)

    assert Seal().decrypt(sealed[:-4] + b"AAAA", sealed_with=MATERIAL) is None
    assert Seal().decrypt(b"", sealed_with=MATERIAL) is None
