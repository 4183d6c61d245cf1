"""Opens connections to Postgres: at the right one of several hosts, in the role that is wanted, through poolers too.

This is the one place that knows how a configured URL becomes a connection; engines and plain connections are made here.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import asyncpg
import structlog
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from app.storage.driver_errors import UNUSABLE_HOST
from app.storage.urls import Target, targets_of

log = structlog.get_logger()

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
"""A plain connection; the class is generic for type checkers alone."""

_CONNECT_TIMEOUT_S = 5.0
_CONNECT_TIMEOUT_OF_EACH_S = 2.0
"""How long to wait for each of several hosts, where the URL does not say."""
_SILENT_S = 30.0
"""For how long a host that did not answer in time is tried last."""
_SILENT_TIMEOUT_S = 0.5
"""How long to wait for such a host. In the middle of a failover all others refuse, and one of them soon will not."""

_TIMELINE = """
SELECT system_identifier, ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint AS timeline
FROM pg_control_system()
"""


class _PooledConnection(asyncpg.Connection):
    """A connection through a pooler that may ask another server with each message outside a transaction."""

    async def set_type_codec(self, *args: Any, **kwargs: Any) -> None:
        """Set a codec, for which the server is asked in several messages; SQLAlchemy does this on connecting."""
        async with self.transaction():
            await super().set_type_codec(*args, **kwargs)


class Connector:
    """Connects to the database of a URL.

    Args:
        url: Of libpq's forms, with one host or several.
        role: What the server must be where the URL does not say: `primary` or `standby`.
        is_pooled: A pooler is in between that gives every transaction another server connection, so that nothing may
            be kept on it: neither prepared statements nor settings.
    """

    def __init__(self, url: str, *, is_pooled: bool = False, role: str = "primary") -> None:
        targets = targets_of(url, role=role)
        self._attempts = list(_attempts(targets))
        self.has_several_hosts = len(targets) > 1
        self._timeout_s = _CONNECT_TIMEOUT_OF_EACH_S if self.has_several_hosts else _CONNECT_TIMEOUT_S
        self._timelines: dict[int, int] = {}
        self._addresses: WeakKeyDictionary[Connection, str] = WeakKeyDictionary()
        self._silent_until: dict[str, float] = {}
        self.is_pooled = is_pooled
        self.role = role

    async def connect(self, *_: object, **options: Any) -> Connection:
        """Open a plain connection to the first host that plays the role which the URL asks for.

        Args:
            options: As for `asyncpg.connect`.

        Raises:
            OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError: No host can be used.
            asyncpg.TargetServerAttributeNotMatched: None of them plays that role.
        """
        if self.is_pooled:
            options |= {"statement_cache_size": 0, "connection_class": _PooledConnection}
        error: Exception | None = None
        for target in sorted(self._attempts, key=self._is_silent):
            try:
                return await self._try(target, options)
            except UNUSABLE_HOST as cause:
                # The refusal of a host that is up explains more than one that is down.
                error = cause if error is None or isinstance(error, OSError) else error
        assert error is not None
        raise error

    def address_of(self, connection: Connection) -> str | None:
        """Return which host a connection opened here leads to."""
        return self._addresses.get(connection)

    def abandon(self, address: str) -> None:
        """End all connections to a host, whatever they wait for."""
        for connection, host in list(self._addresses.items()):
            if host == address and not connection.is_closed():
                connection.terminate()

    def _is_silent(self, target: Target) -> bool:
        return self.has_several_hosts and self._silent_until.get(target.address, 0.0) > time.monotonic()

    async def _try(self, target: Target, options: dict[str, Any]) -> Connection:
        timeout_s = target.connect_timeout_s or self._timeout_s
        if self._is_silent(target):
            timeout_s = min(timeout_s, _SILENT_TIMEOUT_S)
        elif target.address in self._silent_until:
            # It gets its full time again; all that connect meanwhile shall not wait as well.
            self._silent_until[target.address] = time.monotonic() + _SILENT_S
        try:
            async with asyncio.timeout(timeout_s):
                connection = await self._connect_to(target, options | {"timeout": timeout_s})
        except TimeoutError:
            self._silent_until.setdefault(target.address, time.monotonic() + _SILENT_S)
            raise
        self._silent_until.pop(target.address, None)
        self._addresses[connection] = target.address
        return connection

    async def _connect_to(self, target: Target, options: dict[str, Any]) -> Connection:
        connection: Connection = await asyncpg.connect(target.dsn, **options)
        try:
            await self._check_role(connection, target.role)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _check_role(self, connection: Connection, role: str) -> None:
        if role == "any":
            return
        # A pooler repeats what a server said when it connected to that, and one may stand at each of several hosts.
        said = None if self.is_pooled or self.has_several_hosts else is_standby(connection)
        is_in_recovery = await in_recovery(connection) if said is None else said
        if role == "primary" and self.has_several_hosts and not is_in_recovery:
            await self._refuse_former_primary(connection)
        if is_in_recovery != (role == "standby"):
            raise asyncpg.TargetServerAttributeNotMatched(f"the server is not {role}")

    async def _refuse_former_primary(self, connection: Connection) -> None:
        """Refuse a primary that is back after another one was promoted, which began a new timeline, and was seen here.

        Raises:
            asyncpg.TargetServerAttributeNotMatched: It is a former one.
        """
        try:
            async with connection.transaction():
                row = await connection.fetchrow(_TIMELINE)
        except asyncpg.PostgresError:
            # Some managed services keep that to themselves, and see to it on their own.
            return
        assert row is not None
        system, timeline = row["system_identifier"], row["timeline"]
        if timeline < self._timelines.get(system, 0):
            log.warning("a former primary is back, and not used; restart the gateway if it is the right one")
            raise asyncpg.TargetServerAttributeNotMatched("another server was promoted in its place")
        self._timelines = {system: timeline}

    def create_engine(self, *, command_timeout_s: float | None = None, **options: Any) -> AsyncEngine:
        """Make an engine whose connections are opened here; `options` as for `create_async_engine`."""
        engine = create_async_engine(
            "postgresql+asyncpg://",
            connect_args={
                "async_creator_fn": self._creator(command_timeout_s),
                "prepared_statement_cache_size": 0 if self.is_pooled else 100,
                "prepared_statement_name_func": _unnamed if self.is_pooled else None,
            },
            **options,
        )
        if self.role == "primary":
            event.listen(engine.sync_engine, "checkout", _refuse_standby)
        return engine

    def _creator(self, command_timeout_s: float | None) -> Callable[..., Any]:
        async def create(*_: object, **__: object) -> Connection:
            return await self.connect(command_timeout=command_timeout_s)

        return create


def is_standby(connection: "Connection | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]") -> bool | None:
    """Return whether a server is in recovery, as it reports by itself since version 14; None where it is not known."""
    reported = getattr(connection.get_settings(), "in_hot_standby", None)
    return None if reported is None else reported == "on"


async def in_recovery(connection: Connection) -> bool:
    """Ask a server whether it is a standby; behind a pooler, it may be another server each time."""
    # A transaction, since a pooler could ask one server for the plan and another one for the answer.
    async with connection.transaction():
        return bool(await connection.fetchval("SELECT pg_is_in_recovery()"))


def _attempts(targets: Sequence[Target]) -> Iterator[Target]:
    for target in targets:
        yield replace(target, role="standby") if target.role == "prefer-standby" else target
    yield from (replace(target, role="any") for target in targets if target.role == "prefer-standby")


def _unnamed() -> str:
    return ""


def _refuse_standby(dbapi_connection: Any, _record: object, _proxy: object) -> None:
    """Let the pool replace a connection whose server has become a standby since."""
    if is_standby(dbapi_connection.driver_connection):
        raise DisconnectionError("the server is in recovery")
