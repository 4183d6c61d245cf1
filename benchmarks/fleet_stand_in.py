"""A gateway of which only the map's part is there: as many devices as wanted, which all move all the time."""

import asyncio
import itertools
import math
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import orjson
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from app.api.routes.map import add_map

DEVICES = 10_000
INTERVAL_S = 5.0
_PAGE = 1000
_TICK_S = 0.1
_SOURCES = ("gnss", "wifi", "cell", "network")
_REACH_M = {"gnss": 8.0, "wifi": 40.0, "cell": 900.0, "network": 250.0}


class MovingFleet:
    """Answers `/positions` and `/events/stream`; each device reports every `interval_s` seconds."""

    def __init__(self, devices: int, interval_s: float) -> None:
        self._devices = devices
        self._interval_s = interval_s
        self._cursor = itertools.count(1)

    def app(self) -> FastAPI:
        """Make the application: the real page, in front of made-up devices."""
        app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
        add_map(app, None)
        app.add_route("/positions", self._positions)
        app.add_route("/events", self._events)
        app.add_route("/events/stream", self._stream)
        app.add_route("/devices", self._silent)
        app.add_route("/readyz", self._ready)
        return app

    async def _positions(self, request: Request) -> Response:
        first = int(request.query_params.get("cursor", 0))
        end = min(first + _PAGE, self._devices)
        positions = [self._report(index, time.time() - self._age_s(index)) for index in range(first, end)]
        following = str(end) if end < self._devices else None
        return Response(
            orjson.dumps({"positions": positions, "next": following}), headers={"Content-Type": "application/json"}
        )

    async def _events(self, _: Request) -> Response:
        return JSONResponse({"events": [], "next": "0"})

    async def _ready(self, _: Request) -> Response:
        return JSONResponse({"status": "ready"})

    async def _silent(self, _: Request) -> Response:
        quiet = [{"device": {"imei": _imei(index)}} for index in range(self._devices) if _is_silent(index)]
        return JSONResponse({"devices": quiet, "next": None})

    async def _stream(self, _: Request) -> Response:
        return StreamingResponse(self._moves(), media_type="text/event-stream")

    async def _moves(self) -> AsyncIterator[bytes]:
        """Let a share of the fleet report on each tick, in turn."""
        share = max(1, round(self._devices * _TICK_S / self._interval_s))
        for turn in itertools.count():
            indices = [(turn * share + place) % self._devices for place in range(min(share, self._devices))]
            yield b"".join(self._event(index) for index in indices if not _is_silent(index)) or b": nothing\n\n"
            await asyncio.sleep(_TICK_S)

    def _event(self, index: int) -> bytes:
        report = self._report(index, time.time())
        event = {"type": "location.report.located", "time": report["receivedAt"], "data": report}
        return b"id: %d\nevent: location.report.located\ndata: %b\n\n" % (next(self._cursor), orjson.dumps(event))

    def _report(self, index: int, at: float) -> dict[str, Any]:
        source = _SOURCES[index * 7 % 4]
        latitude, longitude = _place(index, at)
        moment = datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
        return {
            "id": f"{index}-{at}",
            "transactionId": None,
            "sessionId": None,
            "account": "0844559123-00001",
            "device": {"imei": _imei(index), "mdn": str(5085550101 + index)},
            "type": "location",
            "status": "located",
            "location": {
                "latitude": latitude,
                "longitude": longitude,
                "accuracy": round(_REACH_M[source] * (0.5 + index * 37 % 100 / 100), 1),
                "confidence": None,
                "timestamp": moment,
                "source": source,
                "provider": "thingspace",
                "cached": False,
            },
            "error": None,
            "provider": "thingspace",
            "flags": [],
            "receivedAt": moment,
        }

    def _age_s(self, index: int) -> float:
        return float(index * 13 % 5400) if _is_silent(index) else 0.0


def _is_silent(index: int) -> bool:
    return index % 29 == 11


def _imei(index: int) -> str:
    return f"{99000112345678 + index}0"


def _place(index: int, at: float) -> tuple[float, float]:
    """Drive round in circles, around a place of each device's own in a country-sized cloud."""
    share = math.sqrt(index * 0.7548776662 % 1)
    angle = math.tau * (index * 0.5698402910 % 1)
    latitude, longitude = 40.7 + 2.2 * share * math.sin(angle), -75.2 + 3.1 * share * math.cos(angle)
    lap = at / 120 + index
    return latitude + 0.02 * math.sin(lap), longitude + 0.027 * math.cos(lap)


app = MovingFleet(DEVICES, INTERVAL_S).app()
