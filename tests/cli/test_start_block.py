"""The block that `serve` prints, from a summary."""

from typing import Any

import pytest

from app.cli.serve import start_block

SUMMARY: dict[str, Any] = {
    "version": "1",
    "address": "http://127.0.0.1:8080",
    "host": "127.0.0.1",
    "docs": "http://127.0.0.1:8080/docs",
    "map": "http://127.0.0.1:8080/map",
    "publicUrl": None,
    "database": {
        "address": "db.example:5432",
        "name": "gateway",
        "version": "18.6",
        "revision": "0001",
        "dataDir": None,
        "problem": None,
    },
    "auth": "bootstrap",
    "workers": 1,
    "providers": [{"name": "cloudlocate", "state": "ready", "notes": []}],
    "listeners": [],
}


@pytest.mark.parametrize(
    ("changes", "heading", "text"),
    [
        ({}, "Address", "http://127.0.0.1:8080"),
        ({"host": "0.0.0.0"}, "Address", "http://127.0.0.1:8080, listening on 0.0.0.0"),  # noqa: S104 -- printed
        ({"publicUrl": "https://x.example"}, "Public URL", "https://x.example"),
        ({}, "Database", "Postgres 18.6 at db.example:5432, gateway"),
        ({"auth": "off"}, "Access", "no key needed (GATEWAY_AUTH=off)"),
        ({"auth": "keys"}, "Access", "API keys of the database"),
        ({"workers": 4}, "Processes", "4"),
        ({}, "Listeners", "none; register one with: location-gateway listener register ACCOUNT"),
        (
            {
                "listeners": [
                    {"account": "a", "service": "s", "registeredAt": "2026-03-02T00:00:00Z", "problem": "gone"}
                ]
            },
            "Listeners",
            "a s, registered 2026-03-02T00:00:00Z; gone",
        ),
    ],
)
def test_a_line_for_everything_that_matters(changes: dict[str, Any], heading: str, text: str) -> None:
    assert (heading, text) in list(start_block(SUMMARY | changes))
