"""The faults of the position call, asked for on the board or by the beginning of a RequestId."""

from typing import Any

from app.simulator.faults import Fault
from app.simulator.state import State
from app.simulator.vendors.cloudlocate.refusal import CloudLocateRefused

FAULTS = {
    "sim-400": "CloudLocate position: 400",
    "sim-400-token": "CloudLocate position: 400 that blames the token, as the older sister services do",
    "sim-401": "CloudLocate position: 401",
    "sim-402": "CloudLocate position: 402",
    "sim-403": "CloudLocate position: 403, the Thing is not active",
    "sim-404": "CloudLocate position: 404 that speaks of the position",
    "sim-404-url": "CloudLocate position: 404 with HTML, as for a wrong address",
    "sim-413": "CloudLocate position: 413",
    "sim-415": "CloudLocate position: 415",
    "sim-422": "CloudLocate position: 422",
    "sim-429": "CloudLocate position: 429; Retry-After is `value`, 1 by default",
    "sim-500": "CloudLocate position: 500",
    "sim-502": "CloudLocate position: 502",
    "sim-503": "CloudLocate position: 503",
    "sim-504": "CloudLocate position: 504",
    "sim-slow": "CloudLocate position: the answer comes after `delaySeconds` (real seconds, 2 by default)",
    "sim-drop": "CloudLocate position: the connection is reset instead of an answer",
    "sim-badjson": "CloudLocate position: 200 with broken JSON",
    "sim-html": "CloudLocate position: 502 with an HTML body",
    "sim-empty": "CloudLocate position: 200 without Location",
    "sim-emptylocation": "CloudLocate position: 200 with an empty Location",
    "sim-zero": "CloudLocate position: 200 with Lat and Lon exactly 0",
    "sim-range": "CloudLocate position: 200 with a latitude beyond the pole",
    "sim-text": "CloudLocate position: 200 whose Lat and Lon are strings",
    "sim-null": "CloudLocate position: 200 whose Lat and Lon are null",
    "sim-nounc": "CloudLocate position: 200 without Unc68",
    "sim-alt": "CloudLocate position: 200 with an altitude",
    "sim-flat": "CloudLocate position: 200 with Lat, Lon and Acc outside of any Location",
    "sim-noecho": "CloudLocate position: 200 without RequestId and DeviceId",
    "sim-wrongecho": "CloudLocate position: 200 with somebody else's RequestId and DeviceId",
    "sim-zone": "CloudLocate position: 200 whose DateTime has a fraction and a Z",
    "sim-nosource": "CloudLocate position: 200 without LocationSource",
    "sim-oddsource": "CloudLocate position: 200 with a LocationSource of no known name",
}

_NAMES = tuple(sorted(FAULTS, key=len, reverse=True))

_REFUSALS = {
    "sim-400": (400, "The request is not valid"),
    "sim-400-token": (400, "Missing or invalid token"),
    "sim-402": (402, "Payment required"),
    "sim-403": (403, "The Thing is not active"),
    "sim-404": (404, "Position not found"),
    "sim-413": (413, "Request too large"),
    "sim-415": (415, "Unsupported media type"),
    "sim-422": (422, "The measurements cannot be used"),
    "sim-500": (500, "Internal error"),
    "sim-502": (502, "Bad gateway"),
    "sim-503": (503, "Service unavailable"),
    "sim-504": (504, "Gateway timeout"),
}


def asked_for(state: State, request_id: str | None, device_id: str | None) -> Fault | None:
    """Return the fault that this call shall meet, if any."""
    if request_id is not None and request_id.startswith("sim-"):
        name = next((name for name in _NAMES if request_id.startswith(name)), None)
        if name is not None:
            return Fault(name=name)
    return state.faults.take(*_NAMES, device=device_id)


def refuse(fault: Fault) -> None:
    """Raise the refusal that the fault stands for; do nothing if it is of another sort."""
    if fault.name == "sim-429":
        retry_after = str(1 if fault.value is None else fault.value).encode()
        raise CloudLocateRefused(429, "Too many requests", (b"retry-after", retry_after))
    if fault.name == "sim-401":
        raise CloudLocateRefused(401, "Unauthorized", (b"www-authenticate", b'Basic realm="CloudLocate simulator"'))
    if fault.name in _REFUSALS:
        raise CloudLocateRefused(*_REFUSALS[fault.name])


def spoil(fault: Fault, answer: dict[str, Any]) -> None:
    """Change an answer as the fault demands."""
    _spoil_location(fault.name, answer.get("Location", {}))
    match fault.name:
        case "sim-empty":
            answer.pop("Location", None)
        case "sim-emptylocation":
            answer["Location"] = {}
        case "sim-flat":
            location = answer.pop("Location", {})
            answer.update({"Acc" if name == "Unc68" else name: value for name, value in location.items()})
        case "sim-noecho":
            answer.pop("RequestId", None)
            answer.pop("DeviceId", None)
        case "sim-wrongecho":
            answer.update(RequestId="of-another-request", DeviceId="another-device")
        case "sim-zone":
            answer["DateTime"] += ".250Z"
        case "sim-nosource":
            answer.pop("LocationSource", None)
        case "sim-oddsource":
            answer["LocationSource"] = "Barometer"


def _spoil_location(name: str, location: dict[str, Any]) -> None:
    match name:
        case "sim-zero":
            location.update(Lat=0, Lon=0)
        case "sim-range":
            location["Lat"] = 140.7
        case "sim-text":
            location.update(Lat=str(location.get("Lat")), Lon=str(location.get("Lon")))
        case "sim-null":
            location.update(Lat=None, Lon=None)
        case "sim-nounc":
            location.pop("Unc68", None)
        case "sim-alt":
            location["Alt"] = 12.5
