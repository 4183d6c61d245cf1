"""Plans of what is read: which indexes and partitions they open."""

import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import pytest

from app.storage.database import Database

IGNORED = ("account_aliases",)
"""How small tables are read does not matter; days to come are empty, too, but plans may be kept until they are full."""

FAMILIES = """
SELECT child.relname, parent.relname
FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid JOIN pg_class AS parent ON parent.oid = inhparent
"""

FOR_THESE = ""
FOR_ANY = ", GENERIC_PLAN"
_FIRST_WITH_GENERIC_PLANS = 160_000

Query = Callable[[Database], Awaitable[object]]


class Explained(Database):
    """Collects the plans of what it is asked to read: those made for the arguments, and the one for any."""

    def __init__(self, url: str, kinds: Sequence[str]) -> None:
        super().__init__(url)
        self.plans: list[dict[str, Any]] = []
        self._kinds = kinds

    async def fetch(self, statement: str, *arguments: object) -> list[Any]:
        for kind in self._kinds:
            explained = await super().fetch(f"EXPLAIN (FORMAT JSON{kind}) {statement}", *arguments)
            self.plans.append(json.loads(explained[0][0])[0]["Plan"])
        return await super().fetch(statement, *arguments)


async def plans(url: str, query: Query, *, kinds: Sequence[str] = (FOR_THESE, FOR_ANY)) -> list[dict[str, Any]]:
    """List the nodes of all plans of a query that read reports or positions; indexes go by the name of the whole."""
    database = Explained(url, kinds)
    [version] = await Database.fetch(database, "SELECT current_setting('server_version_num')::int")
    if version[0] < _FIRST_WITH_GENERIC_PLANS:
        await database.aclose()
        pytest.skip("EXPLAIN shows generic plans from Postgres 16 on")
    await query(database)
    families = {row[0]: row[1] for row in await Database.fetch(database, FAMILIES)}
    await database.aclose()
    nodes = [node for plan in database.plans for node in _nodes(plan)]
    for node in nodes:
        node["Index"] = families.get(node.get("Index Name", ""), node.get("Index Name"))
    return [node for node in nodes if node.get("Relation Name", "") not in IGNORED]


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)


def indexes(nodes: list[dict[str, Any]]) -> set[str]:
    return {node["Index"] for node in nodes if node["Index"] and "aliases" not in node["Index"]}


def tables(nodes: list[dict[str, Any]]) -> set[str]:
    return {node["Relation Name"] for node in nodes if "Relation Name" in node}


def read_without_index(nodes: list[dict[str, Any]]) -> set[str]:
    return {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"}
