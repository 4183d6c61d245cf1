"""Alias books and transactions get their accounts, while gateways of the release before go on beside the new tables."""

from collections.abc import AsyncIterator

import pytest

from app.storage.connections import Connector
from app.storage.database import Connection
from app.storage.migrate import downgrade, upgrade

BEFORE, ALIASES, TRANSACTIONS = "0006", "0007", "0009"
ACCOUNT, OTHER = "0844559123-00001", "0844559123-00002"
SESSION, OTHER_SESSION = "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"
ALIAS = "INSERT INTO aliases (device, mdn, device_kind, learned_at) VALUES ($1, $2, 'imei', now())"
REPORT = """
INSERT INTO reports (at, id, provider, type, status, account, device, device_kind, mdn, callback_id, flags, received_at)
VALUES (now(), gen_random_uuid(), 'thingspace', 'location', 'located', $1, $2, 'imei', $3, $4, $5, now())
"""
SESSIONS = """
INSERT INTO sessions (id, provider, account, state, interval_s, start_delay_s, max_age_s, devices_total, created_at)
VALUES ($1, 'thingspace', $2, 'active', 60, 0, 120, 1, now())
"""
LINK = "INSERT INTO session_transactions (transaction_id, session_id, kind) VALUES ($1, $2, 'start')"
TEACH = """
INSERT INTO aliases (device, mdn, device_kind, learned_at) VALUES ('imei-9', '5085550109', 'imei', now())
ON CONFLICT (device, mdn) DO UPDATE SET learned_at = excluded.learned_at
WHERE aliases.learned_at < excluded.learned_at
"""
"""As the release before teaches its alias book."""


@pytest.fixture
async def before(empty_database_url: str) -> AsyncIterator[Connection]:
    await upgrade(empty_database_url, BEFORE)
    connection = await Connector(empty_database_url).connect()
    yield connection
    await connection.close()


async def test_only_pairs_that_a_callback_has_confirmed_are_kept(empty_database_url: str, before: Connection) -> None:
    callback = "00000000-0000-0000-0000-000000000009"
    for number in range(1, 5):
        await before.execute(ALIAS, f"imei-{number}", f"508555010{number}")
    await before.execute(REPORT, ACCOUNT, "imei-1", "5085550101", callback, None)
    await before.execute(REPORT, OTHER, "imei-2", "5085550102", callback, ["account_mismatch"])
    await before.execute(REPORT, ACCOUNT, "imei-3", "5085550103", None, None)

    await upgrade(empty_database_url, ALIASES)

    kept = await before.fetch("SELECT account, device, mdn FROM account_aliases")
    assert [tuple(row) for row in kept] == [(ACCOUNT, "imei-1", "5085550101")]


async def test_what_the_release_before_teaches_is_taken_and_not_kept(
    empty_database_url: str, before: Connection
) -> None:
    await upgrade(empty_database_url, ALIASES)

    await before.execute(TEACH)

    assert await before.fetchval("SELECT count(*) FROM aliases") == 0


async def test_pairs_come_back_when_the_migration_is_undone(empty_database_url: str, before: Connection) -> None:
    await upgrade(empty_database_url, ALIASES)
    for account in (ACCOUNT, OTHER):
        await before.execute("INSERT INTO account_aliases VALUES ('imei-1', '5085550101', $1, 'imei', now())", account)

    await downgrade(empty_database_url, BEFORE)

    assert [tuple(row) for row in await before.fetch("SELECT device, mdn FROM aliases")] == [("imei-1", "5085550101")]


async def test_transactions_get_the_account_of_their_session(empty_database_url: str, before: Connection) -> None:
    await before.execute(SESSIONS, SESSION, ACCOUNT)
    await before.execute(LINK, "t-1", SESSION)

    await upgrade(empty_database_url, TRANSACTIONS)

    assert await before.fetchval("SELECT account FROM session_transactions") == ACCOUNT


async def test_what_the_release_before_links_gets_the_account_of_its_session(
    empty_database_url: str, before: Connection
) -> None:
    await upgrade(empty_database_url, TRANSACTIONS)
    for session, account in ((SESSION, ACCOUNT), (OTHER_SESSION, OTHER)):
        await before.execute(SESSIONS, session, account)

        await before.execute(LINK, "t-1", session)

    linked = await before.fetch("SELECT account FROM session_transactions ORDER BY account")
    assert [row["account"] for row in linked] == [ACCOUNT, OTHER]
    await downgrade(empty_database_url, "0008")
    assert await before.fetchval("SELECT count(*) FROM session_transactions") == 1
