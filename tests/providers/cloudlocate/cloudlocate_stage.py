"""What the tests of CloudLocate share: vectors, short forms of queries, and a vendor that does as it is told."""

import base64
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec

from app.model import AccessPoint, CellTower, Deadline, Evidence, GnssEvidence, LocationQuery
from app.provider import Assessment
from app.providers.cloudlocate.client import CloudLocate
from app.providers.cloudlocate.settings import CloudLocateSettings

NOW = datetime(2026, 3, 14, 10, 0, tzinfo=UTC)

OFFICIAL = "tWIChjIAG/M7CcimDqBmvpr+A9pGYVEPdxhiyIqPToNAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAyAA=="
OFFICIAL_REPAIRED = "tWIChjIAG/M7CcimDqBmvpr+A9pGYVEPdxhiyIqPToNAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAACrtA=="
VECTORS = {
    "MEAS20": "tWIChBQAOZMrSy0rH6e9+4zOgOau+ZnY+yKnPg==",
    "MEAS50": "tWIChjIAWwLDWtF1QCl6N+kkiCpUoaByVdTe6yNF78Jm0txisDxBql1fwr9l3Kg6dR6mBQZIo5HSug==",
    "MEASC12": "tWICggwAg3M1TvE+oUQ5k8w57g0=",
    "MEASD12": "tWICgAwAzlJ2jzWM5TDcNQcJqgk=",
    "EMPTY": "tWIChgAAiJo=",
    "MEASX": (
        "tWICFIwAAQAAAADKWwcAAAAAAAAAAAAAAAAAAAAAEAAAAAAAAAAAAAQBAAAAAAAAAAAAASgBZAAAADj////0ASwBQOIBABQeAAAAAigBZAAAADj/"
        "///0ASwBQOIBABQeAAAAAygBZAAAADj////0ASwBQOIBABQeAAAABCgBZAAAADj////0ASwBQOIBABQeAADSlg=="
    ),
}

REPLY = {
    "Location": {"Lat": 48.137154, "Lon": 11.576124, "Unc68": 12.4},
    "DateTime": "2026-03-14T09:26:53",
    "LocationSource": "GNSS",
}
TWO_POINTS = (
    AccessPoint(mac="02a1b2c3d4e5", signal_dbm=-61, channel=6),
    AccessPoint(mac="02a1b2c3d4f6", signal_dbm=-74, channel=11),
)
SERVING = CellTower(
    radio="lte",
    mobile_country_code=262,
    mobile_network_code=1,
    area_code=4711,
    cell_id=26385408,
    physical_cell_id=117,
    channel=1300,
    signal_dbm=-95,
    serving=True,
)


def ubx(name: str) -> bytes:
    return base64.b64decode({"OFFICIAL": OFFICIAL, **VECTORS}[name])


def measured(**parts: Any) -> LocationQuery:
    return LocationQuery(evidence=Evidence(**parts))


def by_gnss(payload: bytes, observed_at: datetime | None = None) -> LocationQuery:
    return measured(gnss=GnssEvidence(payload=payload, observed_at=observed_at))


def by_wifi(*points: AccessPoint) -> LocationQuery:
    return measured(access_points=points or TWO_POINTS)


def by_cells(*towers: CellTower) -> LocationQuery:
    return measured(cell_towers=towers)


def soon() -> Deadline:
    return Deadline.after(5)


MakeLocator = Callable[..., CloudLocate]
Assess = Callable[..., Assessment]
Answer = Callable[[httpx.Request], httpx.Response] | httpx.Response | Exception


class Vendor:
    """Stands in for CloudLocate: answers with what it is told to, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if self.answers else httpx.Response(200, json=REPLY)
        if isinstance(answer, Exception):
            raise answer
        return answer(request) if callable(answer) else answer

    def will(self, *answers: Answer) -> None:
        self.answers.extend(answers)

    @property
    def asked(self) -> dict[str, Any]:
        return msgspec.json.decode(self.requests[-1].content)


def make_settings(**changes: Any) -> CloudLocateSettings:
    given = {"url": "https://cloudlocate.example/position", "username": "thing", "password": "secret", **changes}
    return CloudLocateSettings(_env_file=None, **given)
