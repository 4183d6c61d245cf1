"""URLs of Postgres databases, in every form that libpq reads, as `asyncpg` takes them: one address per host."""

import os
import re
from dataclasses import dataclass, field

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
_ROLES = {
    "any": "any",
    "primary": "primary",
    "read-write": "primary",
    "standby": "standby",
    "read-only": "standby",
    "prefer-standby": "prefer-standby",
}
_SEVERAL_HOSTS = re.compile(r"(?P<start>[^/?#]+://(?:[^/?#@]*@)?)(?P<hosts>[^/?#@]*,[^/?#@]*)(?P<rest>.*)", re.DOTALL)
_HOST_AND_PORT = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>\d*))?")
_EXPECTED = "expected postgresql://user:password@host:5432/name"
_SSL_WORDS = {"true": "require", "1": "require", "on": "require", "false": "disable", "0": "disable", "off": "disable"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One host of a database.

    Attributes:
        role: What the server must be: `primary`, `standby`, `prefer-standby` or `any`.
        connect_timeout_s: How long to wait for a connection; None where the URL does not say.
        dsn: As `asyncpg.connect` takes it, password included.
    """

    host: str
    port: int
    name: str
    role: str
    connect_timeout_s: float | None
    dsn: str = field(repr=False)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"Postgres at {self.address}"


def targets_of(url: str, *, role: str = "primary") -> list[Target]:
    """Read a Postgres URL: one target for each host that it names, in their order.

    Accepts `postgres://` and `postgresql://`, with or without a driver's name, several hosts as libpq writes them
    (`//h1:5432,h2:5433/db` or `?host=h1,h2&port=5432,5433`), and its options (`sslmode`, `target_session_attrs`, …).

    Args:
        role: What is meant where the URL has no `target_session_attrs`.

    Raises:
        ValueError: It is no Postgres URL; the message does not repeat it.
    """
    address, options = _read(url)
    wanted = _ROLES.get(options.pop("target_session_attrs", role))
    if wanted is None:
        raise ValueError(f"The database URL's target_session_attrs must be one of: {', '.join(_ROLES)}")
    timeout_s = _connect_timeout_s(options.pop("connect_timeout", None) or os.environ.get("PGCONNECT_TIMEOUT"))
    query = {name: value for name, value in options.items() if name not in {*_ENGINE_ONLY, "host", "port"}}
    user = address.username or os.environ.get("PGUSER") or "postgres"
    # Where a password holds an unescaped @, its rest is taken for the beginning of the host.
    return [
        Target(
            host=(host or os.environ.get("PGHOST") or "localhost").rpartition("@")[2],
            port=port or int(os.environ.get("PGPORT") or 5432),
            name=address.database or os.environ.get("PGDATABASE") or user,
            role=wanted,
            connect_timeout_s=timeout_s,
            dsn=_to_dsn(address, host, port, query),
        )
        for host, port in _hosts(address, options)
    ]


def target_of(url: str) -> Target:
    """Read off a Postgres URL the first database that it names.

    Raises:
        ValueError: It is no Postgres URL; the message does not repeat it.
    """
    return targets_of(url)[0]


def to_dsn(url: str) -> str:
    """Write a Postgres URL with its first host as `asyncpg.connect` takes it, password included.

    Raises:
        ValueError: It is no Postgres URL; the message does not repeat it.
    """
    return targets_of(url)[0].dsn


def _connect_timeout_s(seconds: str | None) -> float | None:
    """Read libpq's `connect_timeout`; what would be no limit there is none of the URL's own here."""
    try:
        return float(value) if seconds and (value := int(seconds)) > 0 else None
    except ValueError:
        raise ValueError("The database URL's connect_timeout must be a whole number of seconds") from None


def _to_dsn(address: URL, host: str | None, port: int | None, query: dict[str, str]) -> str:
    if host is not None and host.startswith("/"):
        # A folder with a socket does not fit where a URL names its host.
        query, host, port = query | {"host": host, "port": str(port or 5432)}, None, None
    address = address.set(drivername="postgresql", host=host, port=port, query=query)
    return address.render_as_string(hide_password=False)


def _hosts(address: URL, options: dict[str, str]) -> list[tuple[str | None, int | None]]:
    """Pair hosts and ports as libpq does: one port stands for all hosts, a missing one for the default."""
    hosts = [host or None for host in options["host"].split(",")] if "host" in options else [address.host]
    ports = options["port"].split(",") if "port" in options else [str(address.port or "")]
    if len(ports) == 1:
        ports *= len(hosts)
    if len(ports) != len(hosts) or not all(port == "" or port.isdecimal() for port in ports):
        raise ValueError(f"The database URL's hosts and ports do not match; {_EXPECTED}")
    return [(host, int(port) if port else None) for host, port in zip(hosts, ports, strict=True)]


def _split_hosts(url: str) -> tuple[str, dict[str, str]]:
    """Move several hosts before the path into options, because SQLAlchemy reads only one there."""
    found = _SEVERAL_HOSTS.fullmatch(url)
    if found is None:
        return url, {}
    pairs = [_HOST_AND_PORT.fullmatch(part) for part in found["hosts"].split(",")]
    hosts = [pair["host"].strip("[]") for pair in pairs if pair is not None]
    if len(hosts) != len(pairs):
        raise ValueError(f"The database URL's hosts cannot be read; {_EXPECTED}")
    ports = [pair["port"] or "" for pair in pairs if pair is not None]
    return f"{found['start']}{found['rest']}", {"host": ",".join(hosts), "port": ",".join(ports)}


def _read(url: str) -> tuple[URL, dict[str, str]]:
    single, several = _split_hosts(url.strip())
    try:
        address = make_url(single)
    except (ArgumentError, ValueError):
        # The cause quotes the URL, and with it the password.
        raise ValueError(f"The database URL cannot be read; {_EXPECTED}") from None
    if address.drivername not in _DRIVERS:
        raise ValueError(f"The database URL is not for Postgres; {_EXPECTED}")
    options = several | {
        name: value if isinstance(value, str) else ",".join(value)
        for name, value in address.query.items()
        if value and name not in _LIBPQ_ONLY
    }
    if ssl := options.pop("ssl", None):
        options.setdefault("sslmode", _SSL_WORDS.get(ssl.lower(), ssl))
    return address, options
