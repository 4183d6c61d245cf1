"""`app/operations/cluster.yaml` as it is: its scripts, and its PgBouncer, run on loopback with the packaged Postgres.

What the image does around them is played by a stand-in for its entrypoint.
"""

import asyncio
import re
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import yaml
from pydantic import SecretStr

from app.embedded_postgres.account import Account, account_for
from app.embedded_postgres.programs import find_programs
from app.main import create_app
from app.storage.migrate import upgrade
from tests.support.gateways import any_port, asking, settings
from tests.support.poolers import PROGRAM
from tests.support.vendors import CALLBACK_PATH, VARIABLES, Vendors, message

CLUSTER: dict[str, Any] = yaml.safe_load(files("app.operations").joinpath("cluster.yaml").read_text())
NAMES = ("postgres", "standby_1", "standby_2")
PASSWORD = "password-of-the-cluster"
ENTRYPOINT = """\
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  echo "$POSTGRES_PASSWORD" >"$PGDATA.password"
  initdb -D "$PGDATA" -U "$POSTGRES_USER" --pwfile="$PGDATA.password" --auth-local=trust --auth-host=scram-sha-256 -N
  echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
  pg_ctl -D "$PGDATA" -l "$PGDATA.log" -o "-c listen_addresses= -c unix_socket_directories=$PGDATA" start
  export PGHOST="$PGDATA"
  createdb -U "$POSTGRES_USER" "$POSTGRES_DB"
  . "$SCRIPTS/let-standbys-in.sh"
  pg_ctl -D "$PGDATA" stop
  unset PGPASSWORD
fi
exec "$@" -D "$PGDATA" -c port="$OWN_PORT" -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off
"""


@dataclass(kw_only=True)
class Servers:
    """The servers of the file, by name."""

    folder: Path
    account: Account
    programs: Path
    ports: dict[str, int] = field(default_factory=lambda: {name: any_port() for name in NAMES})
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def url(self, *names: str, user: str = "gateway") -> str:
        hosts = ",".join(f"127.0.0.1:{self.ports[name]}" for name in names)
        return f"postgresql://{user}:{PASSWORD}@{hosts}/gateway"

    def start(self, name: str) -> None:
        service = CLUSTER["services"][name.replace("_", "-")]
        environment = {
            **{key: re.sub(r"\$\{.*\}", PASSWORD, value) for key, value in service["environment"].items()},
            "HOSTS": ",".join(["127.0.0.1"] * len(self.ports)),
            "PORTS": ",".join(map(str, self.ports.values())),
            "PATH": f"{self.folder}:{self.programs}:/usr/bin:/bin",
            "PGDATA": f"{self.folder}/{name}",
            "OWN_PORT": str(self.ports[name]),
            "SCRIPTS": str(self.folder),
            "LC_ALL": "C",
        }
        with (self.folder / f"{name}.out").open("ab") as output:
            self.processes[name] = subprocess.Popen(  # noqa: S603 -- what is shipped
                ["/bin/bash", self.folder / "start-server.sh", *service["command"]],
                cwd=self.folder,
                stdout=output,
                stderr=output,
                **{**self.account.options(), "env": environment},
            )

    def start_pooler(self, name: str, program: str) -> str:
        """Start the PgBouncer before a server; return its address."""
        port = any_port()
        config = CLUSTER["configs"]["pgbouncer"]["content"].replace(
            "SERVER port=5432", f"127.0.0.1 port={self.ports[name]}"
        )
        for shipped, own in (
            ("listen_addr = *", "listen_addr = 127.0.0.1"),
            ("6432", str(port)),
            ("/etc/pgbouncer.users", "pgbouncer.users"),
        ):
            assert shipped in config
            config = config.replace(shipped, own)
        (self.folder / f"{name}.ini").write_text(config)
        self.processes[f"pgbouncer of {name}"] = subprocess.Popen(  # noqa: S603 -- what is shipped
            [program, "--quiet", f"{name}.ini"], cwd=self.folder, **self.account.options()
        )
        return f"127.0.0.1:{port}"

    def kill(self, name: str) -> None:
        self.processes[name].kill()
        self.processes[name].wait()

    def promote(self, name: str) -> None:
        place = self.folder / name
        self.account.run([self.programs / "pg_ctl", "promote", "-D", self.account.directory(place)], place)

    async def ask(self, name: str, question: str) -> str | None:
        """Ask one server; None while it does not answer."""
        try:
            connection = await asyncpg.connect(self.url(name), timeout=2)
        except (OSError, asyncpg.PostgresError):
            return None
        try:
            return str(await connection.fetchval(question))
        finally:
            await connection.close()

    async def answers(self, name: str, question: str, answer: str) -> None:
        """Wait for an answer.

        Raises:
            RuntimeError: It does not come; the message has what the server wrote.
        """
        try:
            async with asyncio.timeout(60):
                while await self.ask(name, question) != answer:  # noqa: ASYNC110 -- a server has no events
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise RuntimeError((self.folder / f"{name}.out").read_text()) from None


@pytest.fixture
def servers() -> Iterator[Servers]:
    """Nobody's folder, where the system lets the server's user in; nothing is started yet."""
    with tempfile.TemporaryDirectory(prefix="cluster-") as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o777)
        account = account_for(folder)
        made = Servers(folder=folder, account=account, programs=find_programs(None, account).postgres.parent)
        for script in ("start-server", "let-standbys-in"):
            (folder / f"{script}.sh").write_text(CLUSTER["configs"][script]["content"].replace("$$", "$"))
        users = CLUSTER["configs"]["pgbouncer-users"]["content"]
        (folder / "pgbouncer.users").write_text(re.sub(r"\$\{.*\}", PASSWORD, users))
        entrypoint = folder / "docker-entrypoint.sh"
        entrypoint.write_text(f"#!/bin/bash\n{ENTRYPOINT}")
        entrypoint.chmod(0o755)
        stack.callback(lambda: [made.kill(each) for each in made.processes])
        yield made


IS_STANDBY = "SELECT pg_is_in_recovery()"
FOLLOWERS = "SELECT count(DISTINCT application_name) FROM pg_stat_replication"


async def statuses_until_good(ask: Callable[[], Awaitable[httpx.Response]]) -> list[int]:
    """Ask until the answer is 200; return the statuses."""
    statuses: list[int] = []
    async with asyncio.timeout(60):
        while not statuses or statuses[-1] != 200:
            statuses.append((await ask()).status_code)
            await asyncio.sleep(0.05)
    return statuses


async def test_a_standby_is_promoted_and_the_others_follow_it(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    for name in NAMES:
        servers.start(name)
    for name in NAMES[1:]:
        await servers.answers(name, IS_STANDBY, "True")
    async with asyncio.timeout(30):
        await upgrade(servers.url(*NAMES))
    poolers = [servers.start_pooler(name, PROGRAM) for name in NAMES] if PROGRAM else []
    own = settings(
        f"postgresql://gateway:{PASSWORD}@{','.join(poolers)}/gateway" if poolers else servers.url(*NAMES),
        database_direct_url=SecretStr(servers.url(*NAMES)) if poolers else None,
        database_read_url=SecretStr(servers.url(*reversed(NAMES))),
    )

    async with asking(create_app(own, Vendors().transport())) as client:
        first = await client.post(CALLBACK_PATH, json=message(1, transactionID="t-1"))
        servers.kill("postgres")
        servers.promote("standby_1")
        statuses = await statuses_until_good(lambda: client.post(CALLBACK_PATH, json=message(2, transactionID="t-2")))
        servers.start("postgres")
        await servers.answers("postgres", IS_STANDBY, "True")
        await servers.answers("standby_1", FOLLOWERS, "2")
        statuses += await statuses_until_good(lambda: client.get("/reports"))
        page = await client.get("/reports")

    assert first.status_code == 200
    assert {report["transactionId"] for report in page.json()["reports"]} == {"t-1", "t-2"}
    assert set(statuses) <= {200, 503}
    assert list(servers.folder.glob("postgres.former.*"))
