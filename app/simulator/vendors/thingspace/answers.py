"""Answers in JSON."""

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.background import BackgroundTask
from starlette.responses import Response


def reply(
    content: Any,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    afterwards: BackgroundTask | None = None,
) -> Response:
    """Answer with JSON; `afterwards` begins when the answer has left."""
    return Response(msgspec.json.encode(content), status, headers, "application/json", afterwards)
