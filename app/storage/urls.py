"""Addresses of Postgres databases, translated for the two ways of connecting: an SQLAlchemy engine, and asyncpg."""

import os
from dataclasses import dataclass
from urllib.parse import urlencode

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

_DRIVERS = frozenset(
    {"postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg", "postgresql+psycopg2", "postgres+asyncpg"}
)
# libpq knows these and asyncpg does not: it would hand them to the server, which refuses settings it has not heard of.
_LIBPQ_ONLY = frozenset(
    {
        "channel_binding",
        "client_encoding",
        "connect_timeout",
        "fallback_application_name",
        "gssencmode",
        "hostaddr",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "load_balance_hosts",
        "replication",
        "sslcompression",
        "sslsni",
        "tcp_user_timeout",
    }
)
_ENGINE_ONLY = frozenset({"prepared_statement_cache_size"})
_SSL_WORDS = {"true": "require", "1": "require", "on": "require", "false": "disable", "0": "disable", "off": "disable"}


def to_async_url(url: str) -> str:
    """Write a Postgres URL as SQLAlchemy's asyncpg dialect takes it, password included.

    Accepts `postgres://` and `postgresql://`, with or without a driver's name, and the query of libpq (`sslmode`,
    `sslrootcert`, `host`, `application_name`, …).

    Raises:
        ValueError: It is no Postgres URL; the message does not repeat it.
    """
    address, options = _read(url)
    query = {name: options.pop(name) for name in ("host", "port", *_ENGINE_ONLY) if name in options}
    if "sslmode" in options:
        query["ssl"] = options.pop("sslmode")
    if options:
        # asyncpg reads the rest from a connection string only, and SQLAlchemy hands on a `dsn`.
        query["dsn"] = f"postgresql://?{urlencode(options)}"
    return address.set(drivername="postgresql+asyncpg", query=query).render_as_string(hide_password=False)


def to_dsn(url: str) -> str:
    """Write a Postgres URL as `asyncpg.connect` takes it, password included.

    Raises:
        ValueError: It is no Postgres URL; the message does not repeat it.
    """
    address, options = _read(url)
    query = {name: value for name, value in options.items() if name not in _ENGINE_ONLY}
    return address.set(drivername="postgresql", query=query).render_as_string(hide_password=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Which database a URL names, without the user and the password."""

    host: str
    port: int
    name: str

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"Postgres at {self.address}"


def target_of(url: str) -> Target:
    """Read off a Postgres URL which database it names; libpq's variables hold where it does not say.

    Raises:
        ValueError: It is no Postgres URL; the message does not repeat it.
    """
    address, options = _read(url)
    host = address.host or options.get("host") or os.environ.get("PGHOST") or "localhost"
    port = address.port or options.get("port") or os.environ.get("PGPORT") or 5432
    user = address.username or os.environ.get("PGUSER") or "postgres"
    name = address.database or os.environ.get("PGDATABASE") or user
    # Where a password holds an unescaped @, its rest is taken for the beginning of the host.
    return Target(host=host.rpartition("@")[2], port=int(port), name=name)


def _read(url: str) -> tuple[URL, dict[str, str]]:
    try:
        address = make_url(url.strip())
    except (ArgumentError, ValueError):
        # The cause quotes the URL, and with it the password.
        raise ValueError(
            "The database URL cannot be read; expected postgresql://user:password@host:5432/name"
        ) from None
    if address.drivername not in _DRIVERS:
        raise ValueError("The database URL is not for Postgres; expected postgresql://user:password@host:5432/name")
    options = {
        name: value if isinstance(value, str) else ",".join(value)
        for name, value in address.query.items()
        if value and name not in _LIBPQ_ONLY
    }
    if ssl := options.pop("ssl", None):
        options.setdefault("sslmode", _SSL_WORDS.get(ssl.lower(), ssl))
    return address, options
