"""Both vendors behind one `httpx.MockTransport`: tokens for whoever asks, positions as told, every call kept."""

import inspect
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

ACCOUNT = "0844559123-00001"
IMEI = "990001123456782"
MDN = "5085550101"
TOKEN = "token-that-nobody-guesses"
CALLBACK_PATH = f"/callbacks/thingspace/{TOKEN}"
DEVICE = {"imei": IMEI, "mdn": MDN}
WIFI = {
    "wifiAccessPoints": [
        {"macAddress": "3c:37:86:10:22:9a", "signalStrength": -58, "channel": 6},
        {"macAddress": "3c:37:86:10:22:b4", "signalStrength": -71, "channel": 11},
        {"macAddress": "3c:37:86:10:23:05", "signalStrength": -77, "channel": 1},
    ]
}
VARIABLES = {
    "CLOUDLOCATE_URL": "http://localhost/cloudlocate",
    "CLOUDLOCATE_USERNAME": "thing",
    "CLOUDLOCATE_PASSWORD": "thing-password",
    "CLOUDLOCATE_MAX_RETRIES": "0",
    "THINGSPACE_BASE_URL": "http://localhost/api",
    "THINGSPACE_KEY": "key",
    "THINGSPACE_SECRET": "client-secret",
    "THINGSPACE_USERNAME": "user",
    "THINGSPACE_PASSWORD": "user-password",
    "THINGSPACE_ACCOUNT": ACCOUNT,
    "THINGSPACE_RETRIES": "0",
    "THINGSPACE_CALLBACK_TOKEN": TOKEN,
}
"""Settings under which the gateway finds this stand-in; it repeats nothing, so that calls can be counted."""

Answer = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response | Awaitable[httpx.Response]]


def solved(**members: Any) -> httpx.Response:
    """CloudLocate's answer with a position."""
    reply = {
        "Location": {"Lat": 40.712961, "Lon": -74.006377, "Unc68": 27.0},
        "DateTime": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}",
        "LocationSource": "WiFi",
    }
    return httpx.Response(200, json=reply | members)


def unsolved() -> httpx.Response:
    """CloudLocate's answer without a position."""
    return httpx.Response(200, json={"DateTime": "2026-03-02T08:14:55"})


def seen(request: httpx.Request, *, age_s: float = 0) -> httpx.Response:
    """ThingSpace's answer with a position for every device asked about."""
    at = datetime.now(UTC) - timedelta(seconds=age_s)
    pd = {"time": f"{at:%Y%m%d%H%M%S}", "x": "42.09551", "y": "-71.26483", "radius": "1450", "qos": "false"}
    return httpx.Response(
        200, json=[{"msid": device["mdn"], "pd": pd, "error": {}} for device in asked(request)["deviceList"]]
    )


def message(number: int = 0, **members: Any) -> dict[str, Any]:
    """What ThingSpace posts about one device of a periodic session; its time follows from the number."""
    at = datetime(2026, 3, 2, 12, tzinfo=UTC) + timedelta(seconds=number)
    position = {"locationType": "1", "radius": "35", "time": f"{at:%Y%m%d%H%M%S}", "x": "42.09551", "y": "-71.26483"}
    device = {"id": IMEI, "kind": "IMEI", "mdn": MDN, "positionData": position}
    return {
        "accountName": ACCOUNT,
        "deviceList": [device],
        "reportType": "LOCATION_REPORT",
        "status": "SUCCESS",
        "transactionID": "t-1",
    } | members


def unseen(type_: str, info: str = "") -> Callable[[httpx.Request], httpx.Response]:
    """ThingSpace's answer with an error for every device asked about."""

    def answer(request: httpx.Request) -> httpx.Response:
        error = {"time": "20240517143006", "type": type_, "info": info}
        found = [{"msid": device["mdn"], "pd": {}, "error": error} for device in asked(request)["deviceList"]]
        return httpx.Response(200, json=found)

    return answer


def refused(code: str, message: str, status: int = 400) -> httpx.Response:
    """ThingSpace's refusal of a whole call."""
    return httpx.Response(status, json={"errorCode": code, "errorMessage": message})


def asked(request: httpx.Request) -> Any:
    """Read what the gateway asked."""
    return json.loads(request.content)


class Vendors:
    """Stands in for both vendors.

    Attributes:
        cloudlocate: What CloudLocate answers to every question.
        thingspace: What ThingSpace answers to every call of its location API.
        cloudlocate_calls: The questions to CloudLocate.
        thingspace_calls: The calls of ThingSpace's location API.
        listed: The devices of ThingSpace's device list, each as its identifiers by kind.
        list_calls: The calls of that list.
        logins: How often somebody logged in at ThingSpace.
    """

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """Answer with positions, and forget what was asked."""
        self.cloudlocate: Answer = lambda _: solved()
        self.thingspace: Answer = seen
        self.cloudlocate_calls: list[httpx.Request] = []
        self.thingspace_calls: list[httpx.Request] = []
        self.listed: list[dict[str, str]] = []
        self.list_calls: list[httpx.Request] = []
        self.logins = 0

    def transport(self) -> httpx.MockTransport:
        """Make the transport that leads here."""
        return httpx.MockTransport(self._answer)

    @property
    def cache_modes(self) -> list[str]:
        """How fresh a position ThingSpace was asked for, call by call."""
        return [asked(request)["cacheMode"] for request in self.thingspace_calls]

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        match request.url.path:
            case "/api/ts/v1/oauth2/token":
                return httpx.Response(200, json={"access_token": "bearer", "token_type": "Bearer", "expires_in": 3600})
            case "/api/m2m/v1/session/login":
                self.logins += 1
                return httpx.Response(200, json={"sessionToken": "session"})
            case "/api/m2m/v1/devices/actions/list":
                self.list_calls.append(request)
                return self._list(asked(request))
            case "/cloudlocate":
                self.cloudlocate_calls.append(request)
                return await _given(self.cloudlocate, request)
        assert request.url.path.startswith("/api/loc/v1/"), request.url.path
        self.thingspace_calls.append(request)
        return await _given(self.thingspace, request)

    def _list(self, question: Any) -> httpx.Response:
        wanted = question["deviceId"]
        found = [device for device in self.listed if device.get(wanted["kind"]) == wanted["id"]]
        devices = [
            {
                "accountName": question["accountName"],
                "deviceIds": [{"id": id_, "kind": kind} for kind, id_ in one.items()],
                "connected": True,
            }
            for one in found
        ]
        return httpx.Response(200, json={"hasMoreData": False, "devices": devices})


async def _given(answer: Answer, request: httpx.Request) -> httpx.Response:
    if isinstance(answer, Exception):
        raise answer
    found = answer(request) if callable(answer) else answer
    if inspect.isawaitable(found):
        return await found
    return httpx.Response(found.status_code, headers=found.headers, content=found.content)
