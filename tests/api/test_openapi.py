"""The published document: what clients are generated from."""

import json
from typing import Any

from app.main import create_app

Json = dict[str, Any]


def test_the_document_says_that_null_is_absent_and_what_an_integer_is() -> None:
    document = create_app(providers=()).openapi()
    seen = 0
    for schema in _body_schemas(document):
        for name, member in schema.get("properties", {}).items():
            seen += 1
            options = member.get("anyOf", [member])
            if name not in schema.get("required", ()):
                assert {"type": "null"} in options, (schema["title"], name)
            for option in options:
                assert "ge" not in option, (schema["title"], name)

    assert seen > 40


def _body_schemas(document: Json) -> list[Json]:
    """List the schemas of all objects that a body may hold."""
    waiting = [
        operation["requestBody"]["content"]["application/json"]["schema"]
        for path in document["paths"].values()
        for operation in path.values()
        if "requestBody" in operation
    ]
    found: dict[str, Json] = {}
    while waiting:
        text = json.dumps(waiting.pop())
        for name in {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]} - found.keys():
            found[name] = document["components"]["schemas"][name]
            waiting.append(found[name])
    return list(found.values())
