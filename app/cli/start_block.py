"""The block of text that `serve` prints when it starts."""

from collections.abc import Iterator
from typing import Any

Lines = Iterator[tuple[str, str]]


def start_block(summary: dict[str, Any]) -> Lines:
    """Write a summary as headings and texts; a line that goes on with the one before has no heading."""
    host = "" if summary["host"] in summary["address"] else f", listening on {summary['host']}"
    yield "Address", summary["address"] + host
    yield "Docs", summary["docs"]
    yield "Map", summary["map"]
    if summary["publicUrl"]:
        yield "Public URL", summary["publicUrl"]
    yield "Database", _database(summary["database"])
    if summary["database"]["revision"]:
        yield "Schema", f"revision {summary['database']['revision']}"
    yield "Access", _ACCESS[summary["auth"]]
    if summary["workers"] > 1:
        yield "Processes", str(summary["workers"])
    yield from _list("Providers", map(_provider, summary["providers"]))
    if summary["listeners"] is not None:
        yield from _list("Listeners", map(_listener, summary["listeners"] or [None]))


_ACCESS = {
    "off": "no key needed (GATEWAY_AUTH=off)",
    "keys": "API keys of the database",
    "bootstrap": "GATEWAY_API_KEY, and API keys of the database",
}


def _list(heading: str, texts: Iterator[str]) -> Lines:
    for place, text in enumerate(texts):
        yield "" if place else heading, text


def _database(database: dict[str, Any]) -> str:
    if database["problem"]:
        return f"not usable yet: {database['problem']}"
    where = f"Postgres {database['version']} at {database['address']}"
    return f"embedded {where}, in {database['dataDir']}" if database["dataDir"] else f"{where}, {database['name']}"


def _provider(provider: dict[str, Any]) -> str:
    notes = f": {'; '.join(provider['notes'])}" if provider["notes"] else ""
    return f"{provider['name']} {provider['state'].replace('_', ' ')}{notes}"


def _listener(listener: dict[str, Any] | None) -> str:
    if listener is None:
        return "none; register one with: location-gateway listener register ACCOUNT"
    state = f"registered {listener['registeredAt']}" if listener["registeredAt"] else "not registered by this gateway"
    problem = f"; {listener['problem']}" if listener["problem"] else ""
    return f"{listener['account']} {listener['service']}, {state}{problem}"
