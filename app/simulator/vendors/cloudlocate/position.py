"""`POST` on the position path."""

import asyncio
import base64
from typing import Any

import msgspec
import orjson
from starlette.types import Receive, Scope, Send

from app.simulator.faults import Fault
from app.simulator.state import State
from app.simulator.vendors.cloudlocate import mischief, ubx
from app.simulator.vendors.cloudlocate.exchange import answer, header, read_body
from app.simulator.vendors.cloudlocate.refusal import CloudLocateRefused, to_body
from app.simulator.vendors.cloudlocate.solve import Solution, solve, to_time
from app.simulator.vendors.cloudlocate.tokens import Doorkeeper
from app.simulator.vendors.cloudlocate.wire import Gnss, SolveRequest, decoder

_SOURCES = {"gnss": "GNSS", "wifi": "WiFi", "cell": "Cellular"}
_OTHER_SOURCES = {
    "source_short": {"gnss": "GPS", "wifi": "Wi-Fi", "cell": "Cell"},
    "source_upper_case": {"gnss": "GNSS", "wifi": "WIFI", "cell": "CELLULAR"},
    "source_lower_case": {"gnss": "gnss", "wifi": "wlan", "cell": "cell_id"},
}
_HTML = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


class PositionEndpoint:
    """An ASGI application that solves measurements."""

    def __init__(self, state: State, doorkeeper: Doorkeeper) -> None:
        state.faults.describe(mischief.FAULTS)
        self._state = state
        self._doorkeeper = doorkeeper

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one position call."""
        body = await read_body(receive)
        try:
            self._doorkeeper.admit(header(scope, b"authorization"))
            request = _read(scope, body)
            fault = mischief.asked_for(self._state, request.request_id, request.device_id)
            if fault is not None:
                mischief.refuse(fault)
            content = self._solve(request, fault)
        except CloudLocateRefused as refused:
            content_type, words = to_body(refused, self._state.options.cloudlocate_errors)
            await answer(send, refused.status, words, content_type, *refused.headers)
            return
        if fault is None:
            await answer(send, 200, content)
        else:
            await _answer_oddly(fault, content, scope, receive, send)

    def _solve(self, request: SolveRequest, fault: Fault | None) -> bytes:
        solution = solve(request, self._state)
        self._state.counters.add(f"cloudlocate.{solution.kind if solution is not None else 'no_position'}")
        reply = self._to_reply(request, solution)
        if fault is not None:
            mischief.spoil(fault, reply)
        return orjson.dumps(reply)

    def _to_reply(self, request: SolveRequest, solution: Solution | None) -> dict[str, Any]:
        state = self._state
        alternatives = _alternatives(state, request.device_id)
        measured_at = request.gnss.date_time if request.gnss is not None else None
        reply: dict[str, Any] = {}
        if solution is not None:
            sources = next((_OTHER_SOURCES[name] for name in alternatives if name in _OTHER_SOURCES), _SOURCES)
            reply["Location"] = {
                "Lat": round(solution.position.latitude, 7),
                "Lon": round(solution.position.longitude, 7),
                "Unc68": solution.accuracy_m,
            }
            reply["LocationSource"] = sources[solution.kind]
        if measured_at is None or "time_of_answer" in alternatives:
            measured_at = f"{state.clock.now():%Y-%m-%dT%H:%M:%S}"
        reply["DateTime"] = measured_at
        if request.request_id is not None:
            reply["RequestId"] = request.request_id
        if request.device_id is not None:
            reply["DeviceId"] = request.device_id
        if request.cells is not None and request.cells.imei is not None and "imei_echoed" in alternatives:
            reply["IMEI"] = request.cells.imei
        return reply


def _alternatives(state: State, device: str | None) -> set[str]:
    names = (*_OTHER_SOURCES, "time_of_answer", "imei_echoed")
    return {name for name in names if state.spells(name, device=device)}


def _read(scope: Scope, body: bytes) -> SolveRequest:
    match header(scope, b"content-type").partition(b";")[0].strip().lower():
        case b"application/json":
            try:
                return decoder.decode(body)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise CloudLocateRefused(400, str(error)) from error
        case b"text/plain":
            return _read_text(body, header(scope, b"datetime").decode("latin-1"))
    raise CloudLocateRefused(415, "Content-Type must be application/json or text/plain")


def _read_text(body: bytes, date_time: str) -> SolveRequest:
    payload = base64.b64encode(ubx.decode_text(body)).decode()
    if date_time:
        to_time(date_time)
    return SolveRequest(gnss=Gnss(payload=payload, date_time=date_time or None))


async def _answer_oddly(fault: Fault, content: bytes, scope: Scope, receive: Receive, send: Send) -> None:
    match fault.name:
        case "sim-slow":
            await asyncio.sleep(fault.delay_s or 2.0)
        case "sim-drop":
            await scope["simulator.reset"](receive)
            return
        case "sim-badjson":
            content = content[: len(content) // 2]
        case "sim-html":
            await answer(send, 502, _HTML, b"text/html")
            return
        case "sim-404-url":
            await answer(send, 404, _HTML.replace(b"502 Bad Gateway", b"404 Not Found"), b"text/html")
            return
    await answer(send, 200, content)
