import socket
import time

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.pool import NullPool

from app.storage.connections import Connector
from app.storage.urls import targets_of, to_dsn


@pytest.mark.parametrize(
    "scheme", ["postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg", "postgresql+psycopg2"]
)
def test_every_spelling_of_the_scheme_is_understood(scheme: str) -> None:
    assert to_dsn(f"{scheme}://user:p%40ss@db.example:5433/fleet") == "postgresql://user:p%40ss@db.example:5433/fleet"


@pytest.mark.parametrize(
    ("query", "understood"),
    [
        pytest.param("sslmode=require", "sslmode=require", id="as libpq says it"),
        pytest.param("ssl=verify-full", "sslmode=verify-full", id="as asyncpg says it"),
        pytest.param("ssl=true", "sslmode=require", id="as hosters say it"),
        pytest.param("sslmode=disable&connect_timeout=5", "sslmode=disable", id="libpq's own options"),
    ],
)
def test_encryption_is_asked_for_in_the_words_of_the_driver(query: str, understood: str) -> None:
    assert to_dsn(f"postgresql://u:p@h/d?{query}") == f"postgresql://u:p@h/d?{understood}"


@pytest.mark.parametrize(
    ("url", "addresses"),
    [
        pytest.param("postgresql://u@h1:5433,h2:5434/db", ["h1:5433", "h2:5434"], id="with ports"),
        pytest.param("postgresql://u:p%2Cw@h1,h2:5434/db?sslmode=require", ["h1:5432", "h2:5434"], id="one port"),
        pytest.param("postgresql://u@/db?host=h1,h2&port=5433,5434", ["h1:5433", "h2:5434"], id="as options"),
        pytest.param("postgresql://u@/db?host=h1,h2&port=5433", ["h1:5433", "h2:5433"], id="one port for all"),
        pytest.param("postgresql://u@[::1]:5433,[::2]/db", ["::1:5433", "::2:5432"], id="IPv6"),
    ],
)
def test_several_hosts_are_read_as_libpq_reads_them(url: str, addresses: list[str]) -> None:
    assert [target.address for target in targets_of(url)] == addresses


@pytest.mark.parametrize(
    ("query", "role"),
    [
        ("", "primary"),
        ("?target_session_attrs=primary", "primary"),
        ("?target_session_attrs=read-write", "primary"),
        ("?target_session_attrs=standby", "standby"),
        ("?target_session_attrs=any", "any"),
    ],
)
def test_the_primary_is_meant_unless_the_url_asks_for_another_role(query: str, role: str) -> None:
    assert {target.role for target in targets_of(f"postgresql://u@h1,h2/db{query}")} == {role}


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:secret@h/d",
        "sqlite:///secret.db",
        "secret",
        "",
        "postgresql://u:secret@h:port/d",
        "postgresql://u:secret@h1:x,h2/d",
    ],
)
def test_what_is_no_postgres_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match="expected postgresql://") as caught:
        to_dsn(url)

    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    "query",
    ["application_name=fleet", "application_name=fleet&connect_timeout=3&sslmode=prefer&channel_binding=prefer"],
)
async def test_options_reach_the_server_either_way(database_url: str, query: str) -> None:
    url = f"{database_url}?{query}"
    engine = Connector(url).create_engine(poolclass=NullPool)

    async with engine.connect() as connection:
        seen_by_engine = await connection.scalar(text("SHOW application_name"))
    await engine.dispose()
    connection = await asyncpg.connect(to_dsn(url))
    seen_by_asyncpg = await connection.fetchval("SHOW application_name")
    await connection.close()

    assert (seen_by_engine, seen_by_asyncpg) == ("fleet", "fleet")


@pytest.mark.parametrize(
    ("query", "timeout_s"), [("", None), ("?connect_timeout=3", 3.0), ("?connect_timeout=0", None)]
)
def test_the_time_for_connecting_is_read_as_libpq_writes_it(query: str, timeout_s: float | None) -> None:
    assert {target.connect_timeout_s for target in targets_of(f"postgresql://u@h1,h2/db{query}")} == {timeout_s}


def test_a_time_for_connecting_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="connect_timeout must be a whole number"):
        targets_of("postgresql://u@h1,h2/db?connect_timeout=soon")


async def test_a_host_that_does_not_answer_is_waited_for_once(database_url: str) -> None:
    target = targets_of(database_url)[0]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        pair = f"127.0.0.1:{silent.getsockname()[1]},{target.address}"
        connector = Connector(f"{database_url.replace(target.address, pair)}?connect_timeout=1")
        durations_s = []
        for _ in range(2):
            started = time.monotonic()
            connection = await connector.connect()
            durations_s.append(time.monotonic() - started)
            await connection.close()

    assert durations_s[0] >= 1
    assert durations_s[1] < 0.5
