"""Vendors are known to their own packages and to what starts the program; elsewhere only texts name them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import app

VENDOR = re.compile(r"thing_?space|verizon|cloud_?locate|u_?-?blox", re.IGNORECASE)
KNOWING = ("providers/", "simulator/", "cli/", "startup/", "registry.py", "demo/")
"""Where vendors are known by name: their packages, and what sets the program up for those who run it."""

EXAMPLES = ("api/examples.py", "api/schemas/")
"""Where the OpenAPI document's examples stand, which show answers as vendors bring them about."""

ROOT = Path(app.__file__).parent


def outside() -> Iterator[tuple[str, ast.AST]]:
    """Walk over the code that must not depend on any vendor."""
    for file in ROOT.rglob("*.py"):
        name = file.relative_to(ROOT).as_posix()
        if not name.startswith(KNOWING):
            yield from ((name, node) for node in ast.walk(ast.parse(file.read_text())))


def names_in(node: ast.AST) -> Iterator[str]:
    """List the names that a node gives, uses or imports."""
    for member in ("id", "attr", "name", "asname", "arg", "module"):
        if isinstance(found := getattr(node, member, None), str):
            yield found


def is_text(value: str) -> bool:
    """Return whether people read a constant: it has several words, or quotes what they type."""
    return " " in value or value.startswith("`")


def test_no_name_in_the_code_is_a_vendors() -> None:
    assert {f"{name}: {found}" for name, node in outside() for found in names_in(node) if VENDOR.search(found)} == set()


def test_no_constant_that_the_code_compares_or_calls_is_a_vendors() -> None:
    constants = {
        f"{name}: {node.value}"
        for name, node in outside()
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and not name.startswith(EXAMPLES)
        if VENDOR.search(node.value) and not is_text(node.value)
    }

    assert constants == set()
