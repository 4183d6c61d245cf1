"""Fixtures for everybody: a clean environment, databases, and ports."""

import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.pool import NullPool

from app.embedded_postgres import EmbeddedPostgres
from app.storage.connections import Connector
from app.storage.database import Database
from tests.support.postgres import DatabaseServer, copy_cluster, migrated_database, running_server

pytest_plugins = ["tests.support.shared_gateway"]
SETTINGS = ("GATEWAY_", "THINGSPACE_", "CLOUDLOCATE_", "OTEL_")


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_the_developer() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(SETTINGS)]:
            patch.delenv(name)
        yield


@pytest.fixture(autouse=True)
def _no_env_file_of_the_developer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def database_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    """The server of this test run."""
    with running_server(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="session")
def template_url(database_server: DatabaseServer) -> Iterator[str]:
    """A migrated database to copy; never connect to it."""
    with migrated_database(database_server) as url:
        yield url


@pytest.fixture
def empty_database_url(database_server: DatabaseServer) -> Iterator[str]:
    """A database of the test's own, before its first migration."""
    url = database_server.create()
    yield url
    database_server.drop(url)


@pytest.fixture
def database_url(database_server: DatabaseServer, template_url: str) -> Iterator[str]:
    """A migrated database of the test's own, for tests that commit."""
    url = database_server.create(template_url)
    yield url
    database_server.drop(url)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Sessions and connections on the test's own database."""
    database = Database(database_url)
    yield database
    await database.aclose()


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """An engine on the test's own database."""
    engine = Connector(database_url).create_engine()
    yield engine
    await engine.dispose()


@pytest.fixture(scope="session")
def shared_database_url(database_server: DatabaseServer, template_url: str) -> Iterator[str]:
    """A migrated database in which nobody commits."""
    url = database_server.create(template_url)
    yield url
    database_server.drop(url)


@pytest.fixture
async def session(shared_database_url: str) -> AsyncIterator[AsyncSession]:
    """A session whose every change is taken back at the end, its commits included."""
    engine = Connector(shared_database_url).create_engine(poolclass=NullPool)
    async with engine.connect() as connection, connection.begin() as transaction:
        async with AsyncSession(
            connection, expire_on_commit=False, join_transaction_mode="create_savepoint"
        ) as session:
            yield session
        await transaction.rollback()
    await engine.dispose()


@pytest.fixture(scope="session")
def new_cluster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a server that has never been used; copying them is faster than making them."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("cluster"), fsync=False, die_with_parent=True)
    server.start()
    server.stop()
    return server.data_dir / "postgres"


@pytest.fixture
def durable_postgres(
    tmp_path_factory: pytest.TempPathFactory, new_cluster: Path
) -> Iterator[Callable[..., EmbeddedPostgres]]:
    """Start servers that keep what they acknowledged, for tests that kill them; options as `EmbeddedPostgres`."""
    servers = []

    def start(data_dir: Path | None = None, **options: Any) -> EmbeddedPostgres:
        place = data_dir or tmp_path_factory.mktemp("data")
        if not place.exists() or not any(place.iterdir()):
            copy_cluster(new_cluster, place / "postgres")
        server = EmbeddedPostgres(place, die_with_parent=True, **options)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in reversed(servers):
        server.stop()


@pytest.fixture
def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
