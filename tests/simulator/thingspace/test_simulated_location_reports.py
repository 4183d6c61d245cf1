from typing import Any

import httpx
import pytest
from callback_receiver import Receiver
from thingspace_caller import ACCOUNT, OTHER_ACCOUNT, Caller, listed

from app.simulator.options import Options
from app.simulator.world.world import SimulatedDevice


@pytest.fixture
def options() -> Options:
    return Options(fleet=1200)


def owned(caller: Caller, count: int) -> list[SimulatedDevice]:
    devices = (caller.device(index) for index in range(1200))
    return [device for device in devices if device.account == ACCOUNT][:count]


async def create(caller: Caller, *devices: SimulatedDevice, **body: Any) -> dict[str, Any]:
    given = {"accountName": ACCOUNT, "deviceList": listed(*(devices or [caller.device()])), "cacheMode": "2"} | body
    return (await caller.call("POST", "locationreports", json=given)).json()


async def ask(caller: Caller, transaction: str, what: str, account: str = ACCOUNT) -> httpx.Response:
    return await caller.call("GET", f"locationreports/{account}/report/{transaction}/{what}")


async def test_a_report_goes_from_queued_to_completed(caller: Caller) -> None:
    created = await create(caller, *owned(caller, 100))
    statuses = [created["status"]]
    for seconds in (9, 1, 5):
        await caller.clock.advance(seconds)
        statuses.append((await ask(caller, created["txid"], "status")).json()["status"])

    assert statuses == ["QUEUED", "QUEUED", "INPROGRESS", "COMPLETED"]
    assert created["estimatedDuration"] == "1"


async def test_results_come_in_pages_in_the_order_of_the_request(caller: Caller) -> None:
    devices = owned(caller, 1005)
    created = await create(caller, *devices)
    await caller.clock.advance(100)

    first, last = [(await ask(caller, created["txid"], f"index/{start}")).json() for start in (0, 1000)]

    assert (first["totalCount"], first["hasMoreData"], first["startIndex"]) == (1005, True, "0")
    assert (len(first["devLocationList"]), len(last["devLocationList"]), last["hasMoreData"]) == (1000, 5, False)
    assert [one["msid"] for one in last["devLocationList"]] == [device.mdn for device in devices[1000:]]
    assert first["devLocationList"][0]["pd"]["qos"] is False


async def test_the_count_can_be_a_string(caller: Caller) -> None:
    created = await create(caller, cacheMode="0")
    caller.fault("numbers_as_strings")

    assert (await ask(caller, created["txid"], "index/0")).json()["totalCount"] == "1"


async def test_a_report_from_the_cache_is_complete_and_not_announced(caller: Caller, receiver: Receiver) -> None:
    await caller.register(receiver.url, "Location")

    created = await create(caller, cacheMode="0")
    await caller.later(100)
    page = (await ask(caller, created["txid"], "index/0")).json()

    assert created["status"] == "COMPLETED"
    assert page["devLocationList"][0]["error"]["type"] == "CACHE_UNAVAILABLE"
    assert receiver.received == []


async def test_completion_is_announced_to_the_other_service(caller: Caller, receiver: Receiver) -> None:
    await caller.register(receiver.url, "Location")

    created = await create(caller)
    await caller.later(100)

    (notice,) = receiver.received
    assert notice.json == {"accountName": ACCOUNT, "status": "COMPLETED", "txid": created["txid"]}


async def test_only_queued_reports_can_be_cancelled(caller: Caller, receiver: Receiver) -> None:
    await caller.register(receiver.url, "Location")
    queued, begun = await create(caller), await create(caller)
    path = f"locationreports/{ACCOUNT}/report"

    cancelled = await caller.call("DELETE", f"{path}/{queued['txid']}")
    await caller.clock.advance(10)
    refused = await caller.call("DELETE", f"{path}/{begun['txid']}")
    await caller.later(100)

    assert cancelled.json() == {"txid": queued["txid"]}
    assert "Unable to Cancel" in refused.text
    assert len(receiver.received) == 1
    assert (await ask(caller, queued["txid"], "status")).status_code == 400


async def test_unfinished_foreign_and_outdated_reports_cannot_be_read(caller: Caller) -> None:
    created = await create(caller)

    unfinished = await ask(caller, created["txid"], "index/0")
    foreign = await ask(caller, created["txid"], "status", OTHER_ACCOUNT)
    wrong = await ask(caller, created["txid"], "index/first")
    await caller.clock.advance(31 * 86_400)
    await caller.enter()
    outdated = await ask(caller, created["txid"], "index/0")

    assert [one.status_code for one in (unfinished, foreign, wrong, outdated)] == [400] * 4
