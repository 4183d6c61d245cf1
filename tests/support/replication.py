"""Streaming replication on loopback: standbys of an embedded server, made by `pg_basebackup`, which can be promoted."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import psutil
from sqlalchemy.engine import make_url

from app.embedded_postgres import EmbeddedPostgres
from app.embedded_postgres.account import account_for
from app.embedded_postgres.programs import find_programs
from app.storage.migrate import upgrade
from app.storage.urls import targets_of
from tests.support.postgres import copy_cluster, in_thread

_SUPERUSER = "host all,replication postgres 127.0.0.1/32 trust\n"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A primary and its hot standby."""

    primary: EmbeddedPostgres
    standby: EmbeddedPostgres

    @property
    def url(self) -> str:
        """The URL that names both."""
        return url_of(self.primary, self.standby)


@contextmanager
def running_pair(cluster: Path, folder: Path, *, synchronous: bool = False, **standby: str) -> Iterator[Pair]:
    """Run a primary made from an unused cluster, migrated, and a standby of it with more settings.

    Args:
        synchronous: Whether each commit waits for the standby.
    """
    copy_cluster(cluster, folder / "primary" / "postgres")
    names = {"synchronous_standby_names": "standby"} if synchronous else {}
    primary = EmbeddedPostgres(folder / "primary", fsync=False, die_with_parent=True, settings=names)
    with ExitStack() as stack:
        primary.start()
        stack.callback(primary.stop)
        copy = start_standby(primary, folder / "standby", **standby)
        stack.callback(copy.stop)
        in_thread(upgrade(primary.url))
        yield Pair(primary=primary, standby=copy)


@contextmanager
def frozen(server: EmbeddedPostgres) -> Iterator[None]:
    """Stop all processes of a server while the block lasts; the system goes on taking connections for it."""
    processes = [psutil.Process(server.pid), *psutil.Process(server.pid).children()]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.resume()


def let_superuser_in(server: EmbeddedPostgres) -> None:
    """Let the superuser in over loopback, who replicates, promotes and holds replay up."""
    access = server.data_dir / "postgres" / "pg_hba.conf"
    if _SUPERUSER not in access.read_text():
        access.write_text(_SUPERUSER + access.read_text())
        os.kill(server.pid, signal.SIGHUP)


def superuser_url(server: EmbeddedPostgres) -> str:
    """Give the address of a server for its superuser."""
    address = make_url(server.url).set(username="postgres", password=None)
    return address.render_as_string()


def start_standby(primary: EmbeddedPostgres, folder: Path, name: str = "standby", **settings: str) -> EmbeddedPostgres:
    """Copy a running primary, and start a hot standby of it."""
    let_superuser_in(primary)
    cluster = folder / "postgres"
    cluster.mkdir(mode=0o700, parents=True)
    account = account_for(primary.data_dir / "postgres")
    account.own(cluster)
    port = targets_of(primary.url)[0].port
    source = f"host=127.0.0.1 port={port} user=postgres application_name={name}"
    backup = find_programs(None, account).postgres.with_name("pg_basebackup")
    options = ["--checkpoint=fast", "--no-sync", "--write-recovery-conf", "--no-password"]
    account.run([backup, "-D", account.directory(cluster), "-d", source, *options], cluster)
    settings = {"primary_conninfo": source, "wal_receiver_status_interval": "1s", **settings}
    standby = EmbeddedPostgres(folder, fsync=False, die_with_parent=True, settings=settings)
    standby.start()
    return standby


def promote(standby: EmbeddedPostgres) -> None:
    """Make a standby the primary; return when it takes changes."""
    in_thread(_execute(superuser_url(standby), "SELECT pg_promote(wait => true, wait_seconds => 30)"))


def set_options(server: EmbeddedPostgres, **settings: str) -> None:
    """Change settings of a running server."""
    for name, value in settings.items():
        in_thread(_execute(superuser_url(server), f"ALTER SYSTEM SET {name} = '{value}'"))
    in_thread(_execute(superuser_url(server), "SELECT pg_reload_conf()"))


def hold_replay(standby: EmbeddedPostgres) -> None:
    """Let a standby receive the log, and replay none of it."""
    in_thread(_execute(superuser_url(standby), "SELECT pg_wal_replay_pause()"))


def resume_replay(standby: EmbeddedPostgres) -> None:
    """Let it replay the log again."""
    in_thread(_execute(superuser_url(standby), "SELECT pg_wal_replay_resume()"))


def kill(server: EmbeddedPostgres) -> None:
    """End a server as a crash would; return when nothing of it runs any more."""
    os.kill(server.pid, signal.SIGKILL)
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            in_thread(_execute(server.url, "SELECT 1"))
        except (OSError, asyncpg.PostgresError):
            return
        time.sleep(0.02)


def url_of(*servers: EmbeddedPostgres, query: str = "") -> str:
    """Write the URL of several servers that are copies of one."""
    hosts = ",".join(targets_of(server.url)[0].address for server in servers)
    return servers[0].url.replace(targets_of(servers[0].url)[0].address, hosts) + query


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
