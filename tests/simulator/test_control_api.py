from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from app.simulator import create_simulator
from app.simulator.options import SPELLINGS, Options
from app.simulator.state import State
from app.simulator.world.clock import ManualClock

SAMPLE = {"GNSSMeasurements": {"Payload": "tWIChBQAOZMrSy0rH6e9+4zOgOau+ZnY+yKnPg=="}}


async def test_the_page_lists_every_fault(control: httpx.AsyncClient, state: State) -> None:
    page = (await control.get("/")).text

    assert all(f">{name}</button>" in page for name in state.faults.catalogue)


async def test_the_page_shows_pending_faults_calls_and_devices(
    control: httpx.AsyncClient, thing: httpx.AsyncClient, state: State
) -> None:
    state.faults.put("slow", path="/<b>", times=None)
    await thing.post("/cloudlocate/v1/position", json=SAMPLE)

    page = (await control.get("/")).text

    assert "<td>slow</td><td>any</td><td>any</td><td>/&lt;b&gt;</td><td>no end</td>" in page
    assert "<td>POST /cloudlocate/v1/position</td><td>200</td><td>1</td>" in page
    assert "<td>990001123456782</td><td>5085550101</td>" in page


async def test_the_page_needs_nothing_from_elsewhere(control: httpx.AsyncClient) -> None:
    page = (await control.get("/")).text

    assert "http://" not in page
    assert "https://" not in page


async def test_it_is_healthy(control: httpx.AsyncClient) -> None:
    assert (await control.get("/healthz")).json() == {"status": "ok"}


async def test_faults_are_put_listed_and_cleared(control: httpx.AsyncClient, state: State) -> None:
    put = await control.post(
        "/control/faults",
        json=[{"name": "sim-500", "times": None}, {"name": "slow", "path": "/api", "delaySeconds": 0.5}],
    )
    listed = (await control.get("/control/faults")).json()
    cleared = await control.delete("/control/faults", params={"name": "slow"})

    assert put.status_code == 201
    assert [(fault["name"], fault["delaySeconds"]) for fault in listed["pending"]] == [("sim-500", 0.0), ("slow", 0.5)]
    assert listed["catalogue"]["sim-500"]
    assert cleared.json() == {"cleared": 1}
    assert [fault.name for fault in state.faults.pending()] == ["sim-500"]


async def test_one_fault_is_cleared_by_its_id(control: httpx.AsyncClient, state: State) -> None:
    put = (await control.post("/control/faults", json={"name": "hang"})).json()["pending"][0]
    state.faults.put("hang")

    await control.delete("/control/faults", params={"id": put["id"]})

    assert [fault.id for fault in state.faults.pending()] == [put["id"] + 1]


@pytest.mark.parametrize(
    "body",
    [
        b'{"name": "earthquake"}',
        b'{"name": "slow", "often": 3}',
        b"{",
        b'{"times": 1}',
        b'[{"name": 5}]',
        b'{"name": "\xff"}',
    ],
)
async def test_a_fault_that_makes_no_sense_is_refused(control: httpx.AsyncClient, state: State, body: bytes) -> None:
    refused = await control.post("/control/faults", content=body)

    assert refused.status_code == 422
    assert refused.json()["message"]
    assert state.faults.pending() == []


async def test_every_alternative_spelling_is_a_fault_too(control: httpx.AsyncClient) -> None:
    catalogue = (await control.get("/control/faults")).json()["catalogue"]

    assert catalogue.keys() >= SPELLINGS.keys()


async def test_spellings_are_switched(control: httpx.AsyncClient, state: State) -> None:
    answer = await control.put("/control/spellings", json={"on": ["source_short", "no_mdn"]})

    assert answer.json()["on"] == ["no_mdn", "source_short"]
    assert state.spells("no_mdn")
    assert not state.spells("stop_by_id")


async def test_an_unknown_spelling_is_refused(control: httpx.AsyncClient) -> None:
    assert (await control.put("/control/spellings", json={"on": ["klingon"]})).status_code == 422


async def test_vendor_calls_are_counted_and_others_are_not(
    control: httpx.AsyncClient, thing: httpx.AsyncClient
) -> None:
    await thing.post("/cloudlocate/v1/position", json=SAMPLE)
    await thing.post("/cloudlocate/v1/position", json={})
    await control.get("/control/devices")

    counted = (await control.get("/control/counters")).json()

    assert counted == {
        "total": 2,
        "calls": {"POST /cloudlocate/v1/position": {"200": 1, "400": 1}},
        "counts": {"cloudlocate.gnss": 1},
    }


async def test_counters_start_again(control: httpx.AsyncClient, thing: httpx.AsyncClient, state: State) -> None:
    await thing.post("/cloudlocate/v1/position", json=SAMPLE)

    cleared = await control.delete("/control/counters")

    assert cleared.status_code == 204
    assert state.counters.calls() == 0
    assert state.counters.count("cloudlocate.gnss") == 0


async def test_counters_can_be_asked_about_one_route_and_status(thing: httpx.AsyncClient, state: State) -> None:
    await thing.post("/cloudlocate/v1/position", json=SAMPLE)
    await thing.get("/nowhere")

    assert state.counters.calls("/position") == 1
    assert state.counters.calls("/position", status=404) == 0
    assert state.counters.calls(status=404) == 1


async def test_devices_are_listed_with_their_places(control: httpx.AsyncClient) -> None:
    listed = (await control.get("/control/devices", params={"offset": 9, "limit": 2})).json()

    assert listed["total"] == 20_000
    assert [device["account"] for device in listed["devices"]] == ["0844559123-00002", "0844559123-00001"]
    assert listed["devices"][0]["position"].keys() == {"latitude", "longitude"}


async def test_a_broken_page_of_devices_is_refused(control: httpx.AsyncClient) -> None:
    assert (await control.get("/control/devices", params={"limit": "-1"})).status_code == 422


async def test_a_device_scans_where_it_is(control: httpx.AsyncClient) -> None:
    scanned = (await control.get("/control/devices/990001123456782/scan")).json()

    measurements = scanned["measurements"]
    assert scanned["device"]["mdn"] == "5085550101"
    assert measurements["observedAt"] == "2026-03-02T08:15:00Z"
    assert len(measurements["wifiAccessPoints"]) == 25
    assert [tower.get("serving", False) for tower in measurements["cellTowers"]] == [True, False, False, False]
    assert measurements["gnss"]["payload"].startswith("tWIC")


async def test_a_scan_can_be_of_some_kinds_only(control: httpx.AsyncClient) -> None:
    scanned = (await control.get("/control/devices/5085550101/scan", params={"kinds": "wifi"})).json()

    assert scanned["measurements"].keys() == {"observedAt", "wifiAccessPoints"}


async def test_a_stranger_cannot_scan(control: httpx.AsyncClient) -> None:
    assert (await control.get("/control/devices/123/scan")).status_code == 404


async def test_a_manual_clock_is_advanced(control: httpx.AsyncClient, clock: ManualClock) -> None:
    before = clock.now()

    answer = await control.post("/control/clock", json={"advanceSeconds": 3600})

    assert answer.json()["manual"] is True
    assert clock.now() - before == timedelta(hours=1)


async def test_a_real_clock_cannot_be_advanced() -> None:
    transport = httpx.ASGITransport(create_simulator())
    async with httpx.AsyncClient(transport=transport, base_url="http://simulator") as client:
        refused = await client.post("/control/clock", json={"advanceSeconds": 1})
        shown = (await client.get("/control/clock")).json()

    assert refused.status_code == 409
    assert (shown["manual"], shown["speed"]) == (False, 1.0)


async def test_the_credentials_are_told(control: httpx.AsyncClient) -> None:
    told = (await control.get("/control/credentials")).json()

    options = Options()
    assert told["account"] == options.account
    assert told["thingspace"]["key"] == options.thingspace_key
    assert told["cloudlocate"]["password"] == options.cloudlocate_password


def test_every_spelling_on_offer_is_heeded() -> None:
    modules = Path(create_simulator.__code__.co_filename).parent.rglob("*.py")

    code = "".join(module.read_text() for module in modules if module.name != "options.py")

    assert [name for name in SPELLINGS if f'"{name}"' not in code] == []
