"""When the copy of the keys in memory counts, and when the database is asked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.access import Actor, Authenticator, KeyPlan, KeyStore
from app.access.authentication import digest_of
from app.caller import BOOTSTRAP
from app.errors import Unavailable
from app.storage.database import Database
from tests.support.waiting import until

BY = Actor(key_id="test", request_id="r")
PLAN = KeyPlan(name="n", scopes=("locate",))


async def learned(ring: Authenticator) -> None:
    await until(lambda: ring._known is not None)


@asynccontextmanager
async def following(ring: Authenticator) -> AsyncIterator[None]:
    task = asyncio.create_task(ring.follow())
    await learned(ring)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_keys_are_known_without_the_database_while_changes_are_told(database: Database) -> None:
    made = await KeyStore(database).create(PLAN, BY)
    ring = Authenticator(database, None)
    async with following(ring):
        ring._database = Database("postgresql://nobody@127.0.0.1:1/none")

        holder = await ring.holder(made.key)

    assert holder is not None
    assert holder.scopes == {"locate"}


async def test_an_unknown_key_costs_one_query_at_most(database: Database) -> None:
    ring = Authenticator(database, None)
    async with following(ring):
        first = await ring.holder("lg_00000000_x")
        ring._database = Database("postgresql://nobody@127.0.0.1:1/none")
        second = await ring.holder("lg_00000000_x")

    assert (first, second) == (None, None)


async def test_a_key_made_elsewhere_is_known_before_it_is_told_of(database: Database) -> None:
    ring = Authenticator(database, None)
    async with following(ring):
        stale = ring._known
        made = await KeyStore(database).create(PLAN, BY)
        ring._known = stale

        assert await ring.holder(made.key) is not None


async def test_the_copy_does_not_count_once_nobody_tells_of_changes(database: Database) -> None:
    keeping = KeyStore(database)
    made = await keeping.create(PLAN, BY)
    ring = Authenticator(database, None)
    async with following(ring):
        pass
    await keeping.revoke(made.record.id, BY)

    assert ring._known is None
    assert await ring.holder(made.key) is None


async def test_a_silent_connection_is_not_trusted_for_long(database: Database) -> None:
    keeping = KeyStore(database)
    made = await keeping.create(PLAN, BY)
    ring = Authenticator(database, None)
    async with following(ring):
        stale = ring._known
    await keeping.revoke(made.record.id, BY)
    ring._known, ring._trusted_until = stale, 0.0

    assert await ring.holder(made.key) is None


async def test_without_database_and_copy_a_key_cannot_be_judged() -> None:
    ring = Authenticator(Database("postgresql://nobody@127.0.0.1:1/none"), None)

    with pytest.raises(Unavailable):
        await ring.holder("lg_00000000_abc")


async def test_the_bootstrap_key_needs_no_database() -> None:
    ring = Authenticator(Database("postgresql://nobody@127.0.0.1:1/none"), "bootstrap-key")

    assert await ring.holder("bootstrap-key") is BOOTSTRAP
    assert await ring.holder("another") is None


async def test_following_ends_when_the_database_goes_away(database: Database) -> None:
    ring = Authenticator(database, None)
    task = asyncio.create_task(ring.follow())
    await learned(ring)
    connection = await database.connect()
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid()"
    )
    await connection.close()

    async with asyncio.timeout(10):
        await task

    assert ring._known is None


def test_keys_are_kept_as_hashes() -> None:
    assert digest_of("lg_x") != b"lg_x"
    assert len(digest_of("lg_x")) == 32
