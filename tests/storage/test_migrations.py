import asyncio
import shutil
from pathlib import Path

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import NullPool

from app.storage.connections import Connector
from app.storage.migrate import MIGRATIONS, current, downgrade, is_current, migrate, partitions, revision, upgrade
from app.storage.rows import NewSimpleFix
from app.storage.tables import Base
from app.storage.urls import to_dsn
from app.storage.writer import arguments
from tests.support.servers import running

REVISIONS = [script.revision for script in reversed(list(ScriptDirectory(str(MIGRATIONS)).walk_revisions()))]


def differences(connection: Connection) -> list[object]:
    left_alone = partitions(connection)
    context = MigrationContext.configure(
        connection,
        opts={
            "compare_type": True,
            "compare_server_default": True,
            "include_object": lambda _item, name, kind, *_: not (kind == "table" and name in left_alone),
        },
    )
    return list(compare_metadata(context, Base.metadata))


PARTS = """
SELECT table_name, column_name || ' ' || data_type FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT udt_name, attribute_name || ' ' || data_type FROM information_schema.attributes
"""


async def tables(url: str) -> dict[str, set[str]]:
    engine = Connector(url).create_engine(poolclass=NullPool)
    found: dict[str, set[str]] = {}
    async with engine.connect() as connection:
        for table, part in await connection.execute(text(PARTS)):
            found.setdefault(table, set()).add(part)
    await engine.dispose()
    return found


def changes_tables(revision: str) -> bool:
    """Tell whether a migration does more than change rows."""
    script = ScriptDirectory(str(MIGRATIONS)).get_revision(revision)
    return bool(getattr(script.module, "CHANGES_TABLES", True))


async def is_ready(url: str) -> bool:
    engine = Connector(url).create_engine(poolclass=NullPool)
    async with engine.connect() as connection:
        ready = await is_current(connection)
    await engine.dispose()
    return ready


async def test_the_migrations_make_the_tables_of_the_code(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        found = await connection.run_sync(differences)

    assert found == []


@pytest.mark.parametrize(
    ("name", "members"),
    [
        (arguments.REPORT_TYPE, (*arguments.INSTANTS.values(), *arguments.REPORT_MEMBERS)),
        (arguments.CALLBACK_TYPE, ("received_us", "body", *arguments.CALLBACK_MEMBERS)),
        (arguments.SIMPLE_FIX_TYPE, NewSimpleFix.__struct_fields__),
    ],
)
async def test_the_migrations_make_the_rows_of_the_writer(
    engine: AsyncEngine, name: str, members: tuple[str, ...]
) -> None:
    named = text(
        "SELECT attribute_name FROM information_schema.attributes WHERE udt_name = :name ORDER BY ordinal_position"
    )
    async with engine.connect() as connection:
        found = await connection.scalars(named, {"name": name})

    assert tuple(found) == members


async def test_partitions_made_at_run_time_are_no_difference(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        await connection.execute(
            text("CREATE TABLE reports_20260302 PARTITION OF reports FOR VALUES FROM ('2026-03-02') TO ('2026-03-03')")
        )
        found = await connection.run_sync(differences)

    assert found == []


@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_migration_can_be_undone_and_done_again(empty_database_url: str, revision: str) -> None:
    await upgrade(empty_database_url, revision)
    done = await tables(empty_database_url)

    await downgrade(empty_database_url, "-1")
    undone = await tables(empty_database_url)
    await upgrade(empty_database_url, revision)

    assert (undone != done) is changes_tables(revision)
    assert await tables(empty_database_url) == done


async def test_nothing_is_left_when_all_is_undone(empty_database_url: str) -> None:
    await upgrade(empty_database_url)

    await downgrade(empty_database_url, "base")

    assert set(await tables(empty_database_url)) == {"alembic_version"}


async def test_migrating_twice_changes_nothing(database_url: str) -> None:
    before = await current(database_url)

    await upgrade(database_url)

    assert await current(database_url) == before == REVISIONS[-1]


async def test_an_empty_database_is_not_current(empty_database_url: str) -> None:
    assert await current(empty_database_url) is None
    assert not await is_ready(empty_database_url)


async def test_a_migrated_database_is_current(database_url: str) -> None:
    assert await is_ready(database_url)


async def test_a_database_migrated_by_a_newer_release_is_current(database_url: str) -> None:
    engine = Connector(database_url).create_engine()
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = 'of next year'"))
    await engine.dispose()

    assert await is_ready(database_url)


async def test_a_new_migration_is_written_from_what_has_changed(empty_database_url: str, tmp_path: Path) -> None:
    await asyncio.to_thread(shutil.copytree, MIGRATIONS, tmp_path / "migrations")
    await upgrade(empty_database_url)
    engine = Connector(empty_database_url).create_engine()
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE positions DROP COLUMN mdn"))
    await engine.dispose()

    await revision(empty_database_url, "Positions have an MDN", tmp_path / "migrations")

    (written,) = (tmp_path / "migrations" / "versions").glob("*positions_have_an_mdn.py")
    assert "op.add_column('positions'" in written.read_text()


async def test_many_tasks_may_migrate_at_once(empty_database_url: str) -> None:
    await asyncio.gather(*(upgrade(empty_database_url) for _ in range(4)))

    assert await current(empty_database_url) == REVISIONS[-1]


async def test_two_processes_may_migrate_at_once(empty_database_url: str, tmp_path: Path) -> None:
    script = "import asyncio, sys; from app.storage.migrate import upgrade; asyncio.run(upgrade(sys.argv[1]))"

    with running(["-c", script, empty_database_url]) as one, running(["-c", script, empty_database_url]) as other:
        codes = [await asyncio.to_thread(program.process.wait, 60) for program in (one, other)]

    assert codes == [0, 0]
    assert await current(empty_database_url) == REVISIONS[-1]


async def test_a_migration_lets_others_pass_while_a_long_transaction_uses_its_table(empty_database_url: str) -> None:
    await upgrade(empty_database_url, "0011")
    reader, writer = [await asyncpg.connect(to_dsn(empty_database_url)) for _ in range(2)]
    await reader.execute("BEGIN; LOCK TABLE reports IN ACCESS SHARE MODE")

    migrating = asyncio.create_task(migrate(empty_database_url, "0012", lock_wait_s=0.1))
    await asyncio.sleep(0.3)
    async with asyncio.timeout(1):
        await writer.execute("BEGIN; LOCK TABLE reports IN ROW EXCLUSIVE MODE; COMMIT")
    assert not migrating.done()
    await reader.execute("COMMIT")

    assert (await migrating).end == "0012"
    assert await current(empty_database_url) == "0012"
    for connection in (reader, writer):
        await connection.close()
