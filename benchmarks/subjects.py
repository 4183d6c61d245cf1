"""What the gateway is compared with, and the vendor that it asks: applications for uvicorn."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI, Request
from pydantic import BaseModel

_POSITION = json.dumps(
    {
        "Location": {"Lat": 47.28521, "Lon": 8.56531, "Alt": 447.0, "Unc68": 27.0},
        "DateTime": "2026-03-02T08:14:55Z",
        "LocationSource": "WiFi",
        "Comment": "stands in for the rest of an answer of the usual size",
    }
).encode()
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_POSITION))]


class Vendor:
    """A vendor that answers with the same position as fast as it can, or after a delay.

    `POST /delay` with a number of seconds as its body sets the delay.
    """

    def __init__(self) -> None:
        self._delay_s = 0.0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        body = bytearray()
        while (message := await receive()).get("more_body") or message.get("body"):
            body += message["body"]
            if not message.get("more_body"):
                break
        if scope["path"] == "/delay":
            self._delay_s = float(body)
        elif self._delay_s:
            await asyncio.sleep(self._delay_s)
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await send({"type": "http.response.body", "body": _POSITION})


vendor = Vendor()


class AccessPoint(BaseModel):
    """As in a request to the gateway."""

    macAddress: str  # noqa: N815 - the wire's name
    signalStrength: int | None = None  # noqa: N815 - the wire's name


class Measurements(BaseModel):
    """As in a request to the gateway."""

    wifiAccessPoints: list[AccessPoint]  # noqa: N815 - the wire's name


class Question(BaseModel):
    """As in a request to the gateway."""

    measurements: Measurements


hello = FastAPI()


@hello.post("/locate")
async def say_hello(question: Question) -> dict[str, Any]:
    """Read the question and answer nothing of it."""
    return {"accessPoints": len(question.measurements.wifiAccessPoints)}


@asynccontextmanager
async def _with_client(app: FastAPI) -> AsyncIterator[None]:
    async with httpx.AsyncClient() as app.state.http:
        yield


obvious = FastAPI(lifespan=_with_client)
"""Written as one would write it first: FastAPI, pydantic, and httpx as it comes."""


@obvious.post("/locate")
async def ask_the_vendor(question: Question, request: Request) -> dict[str, Any]:
    """Pass the question on and put the answer into other words."""
    http: httpx.AsyncClient = request.app.state.http
    answer = await http.post(
        str(request.headers["x-vendor"]),
        json={"WiFiMeasurements": [point.model_dump() for point in question.measurements.wifiAccessPoints]},
        auth=("user", "password"),
    )
    answer.raise_for_status()
    location = answer.json()["Location"]
    return {"location": {"latitude": location["Lat"], "longitude": location["Lon"], "accuracy": location["Unc68"]}}
