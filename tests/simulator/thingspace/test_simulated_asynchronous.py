from typing import Any

import httpx
import pytest
from callback_receiver import Receiver
from thingspace_caller import ACCOUNT, OTHER_ACCOUNT, Caller, listed

from app.simulator.options import Options
from app.simulator.world.world import SimulatedDevice


async def order(caller: Caller, *devices: SimulatedDevice, **body: Any) -> httpx.Response:
    given = {"accountName": ACCOUNT, "deviceList": listed(*(devices or [caller.device()])), "cacheMode": "2"} | body
    return await caller.call("POST", "devicelocations", json=given)


async def cancel(caller: Caller, transaction: str, query: str = f"accountname={ACCOUNT}") -> httpx.Response:
    return await caller.call("DELETE", f"devicelocations/{transaction}?{query}")


async def test_every_device_is_answered_by_one_callback_in_some_order(listened: Caller, receiver: Receiver) -> None:
    devices = [listened.device(index) for index in range(9)]
    queued = (await order(listened, *devices)).json()
    await listened.later(2)

    assert queued["status"] == "QUEUED"
    assert sorted(report.device["mdn"] for report in receiver.received) == [device.mdn for device in devices]
    assert [report.device["mdn"] for report in receiver.received] != [device.mdn for device in devices]
    assert {report.json["transactionID"] for report in receiver.received} == {queued["txid"]}


async def test_the_cache_alone_is_complete_at_once(listened: Caller, receiver: Receiver) -> None:
    await listened.locate(listened.device(), cacheMode="2")

    completed = (await order(listened, listened.device(0), listened.device(1), cacheMode="0")).json()
    await listened.later(2)

    kinds = {report.device["mdn"]: report.json["status"] for report in receiver.received}
    assert completed["status"] == "COMPLETED"
    assert kinds == {"5085550101": "SUCCESS", "5085550102": "FAILED"}


@pytest.mark.parametrize(("age", "location_type"), [("60", "0"), ("5", "1")])
async def test_a_cached_fix_counts_if_it_is_young_enough(
    listened: Caller, receiver: Receiver, age: str, location_type: str
) -> None:
    await listened.locate(listened.device(), cacheMode="2")
    await listened.clock.advance(30)

    await order(listened, cacheMode="1", maxLocAge=age)
    await listened.later(2)

    assert receiver.received[0].device["positionData"]["locationType"] == location_type


async def test_precise_fixes_have_a_smaller_radius(listened: Caller, receiver: Receiver) -> None:
    await order(listened, accuracyMode="1")
    await listened.later(2)

    assert int(receiver.received[0].device["positionData"]["radius"]) <= 60


async def test_missing_consent_is_told_by_callback(listened: Caller, receiver: Receiver) -> None:
    listened.fault("no_consent")

    answer = await order(listened)
    await listened.later(2)

    assert answer.status_code == 200
    assert receiver.received[0].device["error"]["info"] == "Consent check failed"


async def test_callbacks_can_come_before_the_answer(listened: Caller, receiver: Receiver) -> None:
    listened.fault("callback_early")

    transaction = (await order(listened)).json()["txid"]

    assert receiver.received[0].json["transactionID"] == transaction


@pytest.mark.parametrize("query", [f"accountname={ACCOUNT}", f"accountName={ACCOUNT}"])
async def test_what_is_queued_can_be_cancelled(listened: Caller, receiver: Receiver, query: str) -> None:
    transaction = (await order(listened)).json()["txid"]

    cancelled = await cancel(listened, transaction, query)
    await listened.later(10)

    assert cancelled.json() == {"txid": transaction}
    assert receiver.received == []


async def test_what_is_done_or_somebody_elses_cannot_be_cancelled(listened: Caller) -> None:
    transaction = (await order(listened)).json()["txid"]
    assert "Unable to Cancel" in (await cancel(listened, transaction, f"accountName={OTHER_ACCOUNT}")).text
    await listened.later(2)

    assert "Unable to Cancel" in (await cancel(listened, transaction)).text


class TestFullSpeed:
    @pytest.fixture
    def options(self) -> Options:
        return Options(fleet=400, full_speed=True, consent="both")

    async def test_delays_are_not_waited_for(self, listened: Caller, receiver: Receiver) -> None:
        devices = [listened.device(index) for index in range(400) if listened.device(index).account == ACCOUNT]
        await order(listened, *devices)
        await listened.drained()

        assert len(receiver.received) == len(devices)
