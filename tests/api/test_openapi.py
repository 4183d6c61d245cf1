"""The published document: what clients are generated from."""

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from fastapi import FastAPI

from app.errors import GatewayError
from app.main import create_app

Json = dict[str, Any]
OPERATIONS = {
    "create_key",
    "delete_listener",
    "erase_device",
    "get_callback",
    "get_device_location",
    "get_key",
    "get_periodic",
    "get_report",
    "healthz",
    "list_audit",
    "list_callbacks",
    "list_events",
    "list_keys",
    "list_listeners",
    "list_periodic",
    "list_periodic_devices",
    "list_periodic_reports",
    "list_positions",
    "list_providers",
    "list_reports",
    "locate",
    "locate_batch",
    "metrics",
    "put_listener",
    "readyz",
    "receive_callback",
    "replay_callback",
    "replay_callbacks",
    "reset_provider",
    "revoke_key",
    "rotate_key",
    "start_periodic",
    "stop_periodic",
    "stream_events",
    "test_listener",
}
"""Names of functions in clients that exist: one that is renamed breaks them."""


@pytest.fixture(scope="module")
def app() -> FastAPI:
    return create_app(providers=())


@pytest.fixture(scope="module")
def document(app: FastAPI) -> Json:
    return app.openapi()


def operations(document: Json) -> Iterator[tuple[str, Json]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def body_schemas(document: Json) -> list[Json]:
    """List the schemas of all objects that a body may hold."""
    waiting: list[Any] = [
        operation["requestBody"] for _, operation in operations(document) if "requestBody" in operation
    ]
    found: dict[str, Json] = {}
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            name = str(part.get("$ref", "")).rpartition("/")[2]
            if name and name not in found:
                found[name] = document["components"]["schemas"][name]
                waiting.append(found[name])
        waiting += part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    return list(found.values())


def test_null_is_absent_and_integers_are_bounded_in_every_body(document: Json) -> None:
    seen = 0
    for schema in body_schemas(document):
        for name, member in schema.get("properties", {}).items():
            seen += 1
            options = member.get("anyOf", [member])
            assert name in schema.get("required", ()) or {"type": "null"} in options, (schema["title"], name)
            assert not any("ge" in option for option in options), (schema["title"], name)

    assert seen > 40


def test_no_member_of_a_body_is_demanded_for_having_a_default(document: Json) -> None:
    members = {name: member for schema in body_schemas(document) for name, member in schema["properties"].items()}

    assert not [name for name, member in members.items() if "default" in member]
    assert members["startDelay"]["description"].endswith("; default: `0`")


def test_operations_are_named_after_their_routes(document: Json) -> None:
    ids = [operation["operationId"] for _, operation in operations(document)]

    assert len(set(ids)) == len(ids)
    assert set(ids) >= OPERATIONS


def test_links_lead_to_operations(document: Json) -> None:
    ids = {operation["operationId"] for _, operation in operations(document)}

    links = [
        link
        for _, operation in operations(document)
        for response in operation["responses"].values()
        for link in response.get("links", {}).values()
    ]

    assert links
    assert {link["operationId"] for link in links} <= ids


def test_every_operation_has_one_typed_answer(document: Json) -> None:
    without_json = {}
    for name, operation in operations(document):
        for status, response in operation["responses"].items():
            content = response.get("content", {})
            if status.startswith("2") and list(content) != ["application/json"]:
                without_json[name] = list(content)
            elif status.startswith("2"):
                assert "$ref" in content["application/json"]["schema"], name

    assert without_json == {
        "POST /callbacks/{provider}/{token}": [],
        "DELETE /listeners/{account}/{service}": [],
        "DELETE /subscriptions/{id}": [],
        "GET /metrics": ["text/plain"],
        "GET /events/stream": ["text/event-stream"],
    }


def test_other_media_types_are_named_in_words(document: Json) -> None:
    description = document["paths"]["/reports"]["get"]["responses"]["200"]["description"]

    for media_type in ("application/geo+json", "text/csv", "application/x-ndjson"):
        assert f"`{media_type}`" in description


def test_every_code_is_in_the_enumeration(document: Json) -> None:
    def kinds(kind: type[GatewayError]) -> Iterator[type[GatewayError]]:
        yield kind
        for one in kind.__subclasses__():
            yield from kinds(one)

    enumerated = document["components"]["schemas"]["ProblemAnswer"]["properties"]["code"]["enum"]

    assert enumerated == sorted(set(enumerated))
    assert {kind.code for kind in kinds(GatewayError) if kind.__module__ == GatewayError.__module__} == {*enumerated}


def test_every_example_obeys_its_schema(document: Json) -> None:
    checked = 0
    for name, operation in operations(document):
        for part in (operation.get("requestBody", {}), *operation["responses"].values()):
            for content in part.get("content", {}).values():
                examples = [one["value"] for one in content.get("examples", {}).values()]
                examples += [content["example"]] if "example" in content else []
                if not examples:
                    continue
                schema = content["schema"] | {"components": document["components"]}
                validator = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
                for example in examples:
                    checked += 1
                    assert [error.message for error in validator.iter_errors(example)] == [], name

    assert checked > 100


def test_every_tag_is_described(document: Json) -> None:
    used = {tag for _, operation in operations(document) for tag in operation["tags"]}

    assert used <= {tag["name"] for tag in document["tags"] if tag["description"]}


def test_parameters_cannot_be_null(document: Json) -> None:
    for name, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            assert "anyOf" not in parameter["schema"], (name, parameter["name"])


def test_headers_of_answers_are_documented(document: Json) -> None:
    for name, operation in operations(document):
        for status, response in operation["responses"].items():
            assert "X-Request-Id" in response["headers"], name
            assert ("Retry-After" in response["headers"]) >= (status in {"429", "503"}), name
            assert ("WWW-Authenticate" in response["headers"]) == (status == "401"), name
    assert "Location" in document["paths"]["/periodic"]["post"]["responses"]["202"]["headers"]
    assert "RateLimit" in document["paths"]["/locate"]["post"]["responses"]["200"]["headers"]


def test_what_needs_no_key_says_so(document: Json) -> None:
    open_ones = {name for name, operation in operations(document) if operation.get("security") == []}

    assert document["security"] == [{"apiKey": []}]
    assert document["components"]["securitySchemes"]["apiKey"]["scheme"] == "bearer"
    assert open_ones == {"GET /healthz", "GET /readyz", "POST /callbacks/{provider}/{token}"}


def test_the_document_is_the_same_however_often_it_is_asked_for(app: FastAPI, document: Json) -> None:
    assert app.openapi() == document
    assert document["servers"][0]["url"] == "/"
