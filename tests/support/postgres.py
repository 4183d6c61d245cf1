"""One Postgres server for a test run, and databases on it that cost a few milliseconds each."""

import asyncio
import os
import secrets
import shutil
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy.engine import make_url

from app.embedded_postgres import EmbeddedPostgres
from app.storage.migrate import upgrade
from app.storage.urls import to_dsn

EXTERNAL = "TEST_DATABASE_URL"


class DatabaseServer:
    """Makes and drops databases on one server; their names begin with a mark of this run."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._mark = f"gateway_test_{os.getpid()}_{secrets.token_hex(3)}"
        self._made = 0

    def create(self, template: str | None = None) -> str:
        """Create a database, empty or as a copy of the one at the URL `template`; return its URL."""
        self._made += 1
        name = f"{self._mark}_{self._made}"
        origin = f"TEMPLATE {make_url(template).database} STRATEGY wal_log" if template else "TEMPLATE template0"
        try:
            in_thread(self._execute(f"CREATE DATABASE {name} {origin}"))
        except asyncpg.InsufficientPrivilegeError as error:
            raise RuntimeError(f"The role of {EXTERNAL} must be allowed to create databases (CREATEDB)") from error
        return make_url(self._url).set(database=name).render_as_string(hide_password=False)

    def drop(self, url: str) -> None:
        """Drop a database, with whatever is still connected to it."""
        in_thread(self._execute(f"DROP DATABASE {make_url(url).database} WITH (FORCE)"))

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(to_dsn(self._url))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@contextmanager
def running_server(folder: Path) -> Iterator[DatabaseServer]:
    """Use the server that TEST_DATABASE_URL names, else start one that is fast and forgets."""
    if url := os.environ.get(EXTERNAL):
        yield DatabaseServer(url)
        return
    # An autovacuum worker belongs to the superuser and would keep a database from being dropped.
    server = EmbeddedPostgres(folder, fsync=False, die_with_parent=True, settings={"autovacuum": "off"})
    server.start()
    try:
        yield DatabaseServer(server.url)
    finally:
        server.stop()


@contextmanager
def migrated_database(server: DatabaseServer) -> Iterator[str]:
    """Create a database with the present schema that others are copied from; nobody may stay connected to it."""
    url = server.create()
    try:
        in_thread(upgrade(url))
        yield url
    finally:
        server.drop(url)


def in_thread(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end away from the test's own event loop, whether there is one or not."""
    with ThreadPoolExecutor(1) as executor:
        executor.submit(asyncio.run, work).result()


def copy_cluster(origin: Path, target: Path) -> None:
    """Copy a cluster with its owners, which Postgres is particular about."""
    shutil.copytree(origin, target, ignore=shutil.ignore_patterns(".s.PGSQL.*"))
    owner = origin.stat()
    for path in (target, *target.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)
