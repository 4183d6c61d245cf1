import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from app.storage.urls import to_async_url, to_dsn


@pytest.mark.parametrize(
    "scheme", ["postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg", "postgresql+psycopg2"]
)
def test_every_spelling_of_the_scheme_is_understood(scheme: str) -> None:
    url = f"{scheme}://user:p%40ss@db.example:5433/fleet"

    assert to_async_url(url) == "postgresql+asyncpg://user:p%40ss@db.example:5433/fleet"
    assert to_dsn(url) == "postgresql://user:p%40ss@db.example:5433/fleet"


@pytest.mark.parametrize(
    ("query", "for_engine", "for_asyncpg"),
    [
        pytest.param("sslmode=require", "ssl=require", "sslmode=require", id="as libpq says it"),
        pytest.param("ssl=verify-full", "ssl=verify-full", "sslmode=verify-full", id="as asyncpg says it"),
        pytest.param("ssl=true", "ssl=require", "sslmode=require", id="as hosters say it"),
        pytest.param("sslmode=disable&connect_timeout=5", "ssl=disable", "sslmode=disable", id="libpq's own options"),
    ],
)
def test_encryption_is_asked_for_in_the_words_of_each(query: str, for_engine: str, for_asyncpg: str) -> None:
    url = f"postgresql://u:p@h/d?{query}"

    assert to_async_url(url) == f"postgresql+asyncpg://u:p@h/d?{for_engine}"
    assert to_dsn(url) == f"postgresql://u:p@h/d?{for_asyncpg}"


@pytest.mark.parametrize(
    "url", ["mysql://u:secret@h/d", "sqlite:///secret.db", "secret", "", "postgresql://u:secret@h:port/d"]
)
def test_what_is_no_postgres_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match="expected postgresql://") as caught:
        to_async_url(url)

    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    "query",
    ["application_name=fleet", "application_name=fleet&connect_timeout=3&sslmode=prefer&channel_binding=prefer"],
)
async def test_options_reach_the_server_either_way(database_url: str, query: str) -> None:
    url = f"{database_url}?{query}"
    engine = create_async_engine(to_async_url(url), poolclass=NullPool)

    async with engine.connect() as connection:
        seen_by_engine = await connection.scalar(text("SHOW application_name"))
    await engine.dispose()
    connection = await asyncpg.connect(to_dsn(url))
    seen_by_asyncpg = await connection.fetchval("SHOW application_name")
    await connection.close()

    assert (seen_by_engine, seen_by_asyncpg) == ("fleet", "fleet")
