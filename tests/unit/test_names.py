"""One name stands for one thing: classes are nouns, and no public class name stands twice in the code."""

import ast
from collections import defaultdict
from pathlib import Path

import app

NOUNS = {"Sighting", "UnsupportedCoding"}
"""Nouns that only look like gerunds."""


def public_classes() -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    root = Path(app.__file__).parent
    for file in root.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(file.relative_to(root).as_posix())
    return found


def test_no_public_class_name_stands_twice() -> None:
    assert {name: files for name, files in public_classes().items() if len(files) > 1} == {}


def test_no_class_is_named_by_a_gerund() -> None:
    assert {name for name in public_classes() if name.endswith("ing")} - NOUNS == set()
