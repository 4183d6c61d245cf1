"""`location-gateway migrate`: to any revision, in both directions, or as SQL."""

import json

import asyncpg
import pytest
from typer.testing import CliRunner, Result

from app.cli import app
from app.errors import IncompatibleState, InvalidArgument
from app.storage.migrate import current, upgrade
from app.storage.migrate import migrate as migrate_to
from app.storage.revisions import known_revisions
from app.storage.urls import to_dsn

FIRST, *_, BEFORE, HEAD = known_revisions()


@pytest.fixture
def url(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("GATEWAY_DATABASE_URL", empty_database_url)
    return empty_database_url


def migrate(*options: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["migrate", *options], catch_exceptions=False)


@pytest.mark.parametrize(
    ("options", "undone", "end"),
    [
        pytest.param([], [], HEAD, id="nothing to do"),
        pytest.param(["--to", FIRST], [*reversed(known_revisions()[1:])], FIRST, id="an older one"),
        pytest.param(["--to", "-1"], [HEAD], BEFORE, id="one step back"),
        pytest.param(["--to", "base"], [*reversed(known_revisions())], None, id="nothing at all"),
    ],
)
def test_from_the_head_it_goes_back_as_far_as_it_is_told(
    url: str, options: list[str], undone: list[str], end: str
) -> None:
    assert migrate().exit_code == 0

    done = json.loads(migrate(*options, "--json").stdout)

    assert done == {"revision": end, "from": HEAD, "applied": [], "undone": undone}


@pytest.mark.parametrize(("target", "end"), [(FIRST, FIRST), ("+1", FIRST), ("head", HEAD)])
def test_from_nothing_it_goes_forward_as_far_as_it_is_told(url: str, target: str, end: str) -> None:
    done = migrate("--to", target)

    assert done.exit_code == 0
    assert "Applying 0001" in done.stdout
    assert f"The database is at revision {end}." in done.stdout


def test_going_back_says_what_is_undone_and_asks_nothing(url: str) -> None:
    migrate()

    done = migrate("--to", "-2")

    assert done.exit_code == 0
    assert f"Undoing, with what they keep, {HEAD}, {BEFORE}" in done.stdout
    assert "Migrating: 2 of 2 revisions" in done.stderr


@pytest.mark.parametrize("options", [("--to", "9999"), ("--to", "nonsense"), ("--sql", "--from", "9999")])
def test_an_unknown_revision_is_refused_with_those_that_are_known(url: str, options: tuple[str, ...]) -> None:
    done = migrate(*options)

    assert done.exit_code == 2
    # The list is longer than a line of the frame that an error may stand in.
    assert ", ".join(known_revisions()) in " ".join(done.stderr.replace("│", " ").split())


def test_more_steps_than_there_are_are_refused(url: str) -> None:
    with pytest.raises(InvalidArgument, match=f"base, {FIRST}"):
        migrate("--to", "-1")


async def test_the_sql_makes_the_same_schema_as_the_migrations(empty_database_url: str, database_url: str) -> None:
    connection = await asyncpg.connect(to_dsn(empty_database_url))
    await connection.execute(migrate("--sql").stdout)
    made = await columns(connection)
    await connection.close()
    reference = await asyncpg.connect(to_dsn(database_url))

    assert made == await columns(reference)
    assert await current(empty_database_url) == HEAD
    await reference.close()


async def test_the_sql_of_the_way_back_takes_it_back(empty_database_url: str) -> None:
    await upgrade(empty_database_url)
    connection = await asyncpg.connect(to_dsn(empty_database_url))

    await connection.execute(migrate("--sql", "--from", HEAD, "--to", FIRST).stdout)
    await connection.close()

    assert await current(empty_database_url) == FIRST


async def columns(connection: "asyncpg.Connection[asyncpg.Record]") -> list[tuple[str, str, str]]:
    rows = await connection.fetch(
        "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'public'"
        " AND table_name NOT LIKE '%\\_p20%' ORDER BY 1, 2"
    )
    return [tuple(row.values()) for row in rows]


async def test_what_a_newer_release_made_is_left_alone(url: str) -> None:
    await upgrade(url)
    connection = await asyncpg.connect(to_dsn(url))
    await connection.execute("UPDATE alembic_version SET version_num = 'next'")
    await connection.close()

    with pytest.raises(IncompatibleState, match="newer release"):
        await migrate_to(url, FIRST)
    await migrate_to(url, "head")
