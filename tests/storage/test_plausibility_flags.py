"""The flags that storing adds to a report: stale, zero accuracy, implausible speed; both ways of callbacks alike."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.support.vendors import CALLBACK_PATH, IMEI, MDN, message

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]
_numbers = itertools.count(11_000)
WAYS = [pytest.param({}, id="fast path"), pytest.param({"unknownMember": "x"}, id="full path")]


@pytest.fixture
def device() -> Json:
    """A device that no other test reports on."""
    number = next(_numbers)
    return {"id": str(int(IMEI) + number), "kind": "IMEI", "mdn": str(int(MDN) + number)}


def fix(device: Json, at: datetime, latitude: float = 42.0, longitude: float = -71.0, **members: str) -> Json:
    position = {
        "locationType": "1",
        "radius": "35",
        "time": f"{at:%Y%m%d%H%M%S}",
        "x": str(latitude),
        "y": str(longitude),
    }
    return message(deviceList=[device | {"positionData": position | members}], transactionID=f"flags-{device['id']}")


async def flags_of(gateway: httpx.AsyncClient, device: Json) -> list[list[str]]:
    """Read the flags of a device's reports, oldest fix first."""
    found = await gateway.get("/reports", params={"imei": device["id"], "order": "asc"})
    return [[flag for flag in report.get("flags", []) if flag != "late"] for report in found.json()["reports"]]


async def send(gateway: httpx.AsyncClient, *callbacks: Json) -> None:
    for callback in callbacks:
        assert (await gateway.post(CALLBACK_PATH, json=callback)).status_code == 200


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@pytest.mark.parametrize("more", WAYS)
async def test_a_fix_older_than_a_day_is_stale(gateway: httpx.AsyncClient, device: Json, more: Json) -> None:
    await send(
        gateway,
        fix(device, now() - timedelta(days=1, minutes=1)) | more,
        fix(device, now() - timedelta(hours=23)) | more,
    )

    assert await flags_of(gateway, device) == [["stale"], []]


@pytest.mark.parametrize("more", WAYS)
async def test_a_circle_of_no_size_is_flagged(gateway: httpx.AsyncClient, device: Json, more: Json) -> None:
    await send(gateway, fix(device, now(), radius="0") | more)

    assert await flags_of(gateway, device) == [["zero_accuracy"]]


@pytest.mark.parametrize("more", WAYS)
async def test_what_nothing_can_travel_is_flagged_and_kept(
    gateway: httpx.AsyncClient, device: Json, more: Json
) -> None:
    # One degree of latitude is 111.2 km: 340 m/s takes 327 seconds for it.
    start = now() - timedelta(seconds=320)
    await send(gateway, fix(device, start) | more, fix(device, now(), latitude=43.0) | more)

    assert await flags_of(gateway, device) == [[], ["implausible_speed"]]
    latest = (await gateway.get(f"/devices/{device['id']}/location")).json()
    assert latest["location"]["latitude"] == 43.0


@pytest.mark.parametrize(
    "there",
    [
        pytest.param({"latitude": 43.0, "radius": "3000"}, id="within the circles"),
        pytest.param({"latitude": 42.9}, id="fast, not too fast"),
        pytest.param({"longitude": -70.0}, id="along a parallel"),
    ],
)
async def test_what_can_be_travelled_is_not_flagged(gateway: httpx.AsyncClient, device: Json, there: Json) -> None:
    await send(gateway, fix(device, now() - timedelta(seconds=320)), fix(device, now(), **there))

    assert await flags_of(gateway, device) == [[], []]


async def test_the_date_line_is_not_far_away(gateway: httpx.AsyncClient, device: Json) -> None:
    await send(
        gateway,
        fix(device, now() - timedelta(seconds=60), longitude=179.99),
        fix(device, now(), longitude=-179.99),
    )

    assert await flags_of(gateway, device) == [[], []]


async def test_an_earlier_fix_that_comes_later_is_held_against_the_latest(
    gateway: httpx.AsyncClient, device: Json
) -> None:
    await send(gateway, fix(device, now(), latitude=50.0), fix(device, now() - timedelta(seconds=60)))

    assert await flags_of(gateway, device) == [["implausible_speed"], []]
