"""Reading request bodies: bounded, of a media type we know, validated in one pass."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import jiter
import pydantic
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from app.api.gateway import gateway_of, request_id_of
from app.api.problems import problem_response, to_request_error
from app.content import decoded
from app.errors import BodyTooLarge, GatewayError, MalformedJson, UnsupportedMediaType

T = TypeVar("T")


async def read_body(request: Request, limit: int) -> bytes:
    """Read a body of at most `limit` bytes.

    Raises:
        BodyTooLarge: It is larger, by its own account or in fact.
        ClientDisconnect: The client closed the connection before its body was complete.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size, is_complete = 0, False
    # The message loop itself: a generator around it would cost each small body more than reading it.
    while not is_complete:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > limit:
            raise _too_large(limit)
        is_complete = not message.get("more_body")
    return b"".join(chunks)


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"Send at most {limit} bytes.")


def validated(adapter: pydantic.TypeAdapter[T], body: bytes) -> T:
    """Decode and validate a JSON body.

    Raises:
        MalformedJson, InvalidArgument: See `to_request_error`.
    """
    try:
        return adapter.validate_python(_parsed(body))
    except pydantic.ValidationError as error:
        raise to_request_error(error) from None


def _parsed(body: bytes) -> Any:
    # The validator's own parser takes NaN for a number, and the last one of two members with the same name.
    try:
        return jiter.from_json(body, allow_inf_nan=False, catch_duplicate_keys=True, cache_mode="keys")
    except ValueError as error:
        what, _, place = str(error).rpartition(" at ")
        if what.startswith("Detected duplicate key"):  # its name is the caller's, and not repeated
            what = "an object has two members of the same name"
        raise MalformedJson(f"The body is not valid JSON: {what} at {place}.") from None


def is_json(content_type: str) -> bool:
    """Return whether a media type is JSON; a missing one is taken for it."""
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type in ("", "application/json") or media_type.endswith("+json")


class JsonRoute(APIRoute):
    """A route whose first parameter is a JSON body.

    FastAPI documents it; the body is read and validated here instead, in one step, so that every failure becomes a
    problem with a pointer and the busiest routes skip the dependency machinery they do not use. A schema with
    `read_as` is documented as it stands and read as that other one; `body_is_optional` takes no body for `{}`.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Make the handler: read, validate, call `endpoint(body, request, **path parameters)`."""
        endpoint = self.endpoint
        documented: Any = self.dependant.body_params[0].field_info.annotation
        adapter: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(getattr(documented, "read_as", documented))
        is_optional = getattr(documented, "body_is_optional", False)

        async def handle(request: Request) -> Response:
            try:
                content_type = request.headers.get("content-type", "")
                if not is_json(content_type):
                    raise UnsupportedMediaType("Send JSON, with the header Content-Type: application/json.")
                limit = gateway_of(request).settings.max_body_bytes
                body = decoded(await read_body(request, limit), request.scope["headers"], limit)
                if not body and is_optional:
                    body = b"{}"
                response: Response = await endpoint(validated(adapter, body), request, **request.path_params)
            except ClientDisconnect:
                return Response(status_code=499)
            except GatewayError as error:
                return problem_response(error, request_id_of(request))
            return response

        return handle
