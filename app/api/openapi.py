"""The published document: FastAPI's, completed so that clients can be generated from it.

FastAPI leaves nulls out of examples, and repeats what holds for all operations nowhere; both are put right here.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from functools import cache
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

Json = dict[str, Any]

SERVERS = [
    {"url": "/", "description": "the gateway that serves this document"},
    {"url": "http://127.0.0.1:8080", "description": "a gateway on this machine, as `demo` and `serve` start it"},
]
CONTACT = {"name": "The operator of this gateway"}
LICENCE = {"name": "MIT", "identifier": "MIT"}
TAGS = [
    {"name": "locate", "description": "Where is this device? One question, answered at once."},
    {"name": "periodic", "description": "Locating devices again and again: sessions, their devices and their reports."},
    {"name": "reports", "description": "What providers reported, and where devices were last seen."},
    {"name": "events", "description": "What happens, as it happens: to poll, or to follow as a stream."},
    {"name": "callbacks", "description": "What providers sent, byte for byte, and decoding it again."},
    {"name": "listeners", "description": "Our registrations at the providers, which callbacks come to."},
    {"name": "subscriptions", "description": "Events delivered by POST, and what has become of the deliveries."},
    {"name": "operations", "description": "Health, metrics and the state of the providers."},
    {"name": "devices", "description": "What concerns all that is kept of a device."},
    {"name": "keys", "description": "API keys and what they may do."},
    {"name": "audit", "description": "Who located whom, when, and what the answer was."},
]
OPEN_PATHS = ("/healthz", "/readyz")
"""Documented paths that need no API key."""

_JSON = "application/json"
_PROBLEM = "application/problem+json"
_SECURITY = {
    "apiKey": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key of this gateway, without the word Bearer: `GATEWAY_API_KEY`, or the one that `demo`"
        " printed.",
    }
}
_HEADERS: Json = {
    "X-Request-Id": {
        "description": "the id of this request: yours, or a new one",
        "schema": {"type": "string", "maxLength": 60},
    },
    "Retry-After": {
        "description": "when to try again, in seconds; only where that can help",
        "schema": {"type": "integer", "minimum": 1},
    },
    "RateLimit": {
        "description": "for keys with a limit: requests that are left (`r`), and seconds until there are more (`t`)",
        "schema": {"type": "string"},
        "example": '"minute";r=59;t=1',
    },
    "RateLimit-Policy": {
        "description": "for keys with a limit: how many requests (`q`) may be sent in how many seconds (`w`)",
        "schema": {"type": "string"},
        "example": '"minute";q=60;w=60',
    },
    "WWW-Authenticate": {
        "description": "how to authenticate",
        "schema": {"type": "string"},
        "example": 'Bearer realm="location-gateway"',
    },
}
_UNDESCRIBED = "Successful Response"  # FastAPI's words
_RETRIED = ("409", "429", "502", "503", "504")


def add_document(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Publish the completed document of an application; `routes` are those that it documents."""
    plain: Callable[[], Json] = app.openapi

    @cache
    def document() -> Json:
        return _completed(deepcopy(plain()), routes)

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's documented way of extending the document


def _completed(document: Json, routes: Sequence[BaseRoute]) -> Json:
    components = document.setdefault("components", {})
    components["securitySchemes"] = _SECURITY
    components["headers"] = _HEADERS
    document["security"] = [{"apiKey": []}]
    for route in routes:
        if isinstance(route, APIRoute) and route.include_in_schema:
            for method in route.methods or ():
                _complete(document["paths"][route.path_format][method.lower()], route, components["schemas"])
    for schema in _body_schemas(document):
        _describe_defaults(schema)
    return document


def _complete(operation: Json, route: APIRoute, schemas: Json) -> None:
    if route.path in OPEN_PATHS:
        operation["security"] = []
    for parameter in operation.get("parameters", ()):
        parameter["schema"] = _without_null(parameter["schema"])
    _restore_examples(operation, route)
    for status, response in operation["responses"].items():
        _add_headers(response, status, is_open=operation.get("security") == [])
        _describe_answer(response, schemas)
        _keep_json(response)


def _without_null(schema: Json) -> Json:
    """Drop the null of an optional parameter, which cannot be sent: an absent one is not there at all."""
    options: list[Json] = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    if len(options) != 1:
        return schema
    return {name: value for name, value in schema.items() if name != "anyOf"} | options[0]


def _restore_examples(operation: Json, route: APIRoute) -> None:
    """Write the examples as the routes return them, with their nulls."""
    for status, given in (*route.responses.items(), (None, (route.openapi_extra or {}).get("requestBody", {}))):
        written = operation["requestBody"] if status is None and given else operation["responses"].get(str(status), {})
        for media_type, content in given.get("content", {}).items():
            for member in ("example", "examples"):
                if member in content:
                    written["content"][media_type][member] = content[member]


def _add_headers(response: Json, status: str, *, is_open: bool) -> None:
    names = ["X-Request-Id"]
    if status in _RETRIED:
        names.append("Retry-After")
    if not is_open and (status.startswith("2") or status == str(HTTPStatus.TOO_MANY_REQUESTS)):
        names += ["RateLimit", "RateLimit-Policy"]
    if status == str(HTTPStatus.UNAUTHORIZED):
        names.append("WWW-Authenticate")
    references = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    response["headers"] = references | response.get("headers", {})


def _describe_answer(response: Json, schemas: Json) -> None:
    """Describe an answer by its schema, where the route does not describe it."""
    reference = response.get("content", {}).get(_JSON, {}).get("schema", {}).get("$ref", "")
    if response["description"] == _UNDESCRIBED and reference:
        schema = schemas[reference.rpartition("/")[2]]
        response["description"] = schema["description"].partition("\n")[0].rstrip(".")


def _keep_json(response: Json) -> None:
    """Leave JSON as the one type of an answer; describe the others, which generators would mix with it."""
    content = response.get("content", {})
    if _JSON not in content or len(content) == 1:
        return
    others = ", ".join(f"`{name}`" for name in content if name != _JSON)
    response["content"] = {_JSON: content[_JSON]}
    response["description"] += f". Also as {others}, where `Accept` asks for it"


def _body_schemas(document: Json) -> Iterator[Json]:
    """Find the schemas of all objects that a body may hold."""
    schemas: Json = document.get("components", {}).get("schemas", {})
    waiting: list[Any] = [
        operation["requestBody"]
        for item in document["paths"].values()
        for operation in item.values()
        if "requestBody" in operation
    ]
    seen: set[str] = set()
    while waiting:
        for name in _references(waiting.pop()):
            if name not in seen:
                seen.add(name)
                waiting.append(schemas[name])
                yield schemas[name]


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, list):
        for one in part:
            yield from _references(one)
    elif isinstance(part, dict):
        if isinstance(reference := part.get("$ref"), str):
            yield reference.rpartition("/")[2]
        for one in part.values():
            yield from _references(one)


def _describe_defaults(schema: Json) -> None:
    """Write defaults into descriptions: some generators require members with a default."""
    for member in schema.get("properties", {}).values():
        if (default := member.pop("default", None)) is not None:
            written = json.dumps(default).strip('"')
            member["description"] = "; ".join(filter(None, (member.get("description"), f"default: `{written}`")))
