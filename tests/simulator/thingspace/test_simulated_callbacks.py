import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any

import pytest
from callback_receiver import Receiver
from thingspace_caller import ACCOUNT, START, Caller

from app.simulator.options import Options


def is_signed(report: Any, secret: str) -> bool:
    expected = hmac.new(secret.encode(), report.body, hashlib.sha256).hexdigest()
    return report.headers.get("x-callback-signature") == expected


async def report_with(listened: Caller, receiver: Receiver, fault: str, **details: Any) -> dict[str, Any]:
    listened.fault(fault, **details)
    await listened.start(numberOfFixes=1)
    await listened.drained()
    return receiver.received[-1].json


async def test_a_callback_can_come_before_the_answer_to_its_call(listened: Caller, receiver: Receiver) -> None:
    receiver.status = lambda _: 0
    listened.fault("callback_early")
    early = []

    def seen_before_the_answer(count: int) -> int:
        early.append(count)
        return 200

    receiver.status = seen_before_the_answer
    started = (await listened.start(numberOfFixes=1)).json()

    assert early == [1]
    assert receiver.received[0].json["transactionID"] == started["transactionID"]


async def test_a_stop_callback_can_come_before_the_answer_too(listened: Caller, receiver: Receiver) -> None:
    started = (await listened.start(startTime=60)).json()
    listened.fault("callback_early")
    stopped = (await listened.stop(started["transactionID"])).json()

    assert receiver.received[0].json["transactionID"] == stopped["transactionID"]


async def test_a_duplicate_is_the_same_to_the_byte(listened: Caller, receiver: Receiver) -> None:
    await report_with(listened, receiver, "callback_duplicated", value=2)

    bodies = [(one.body, one.headers["x-callback-signature"]) for one in receiver.received]

    assert len(bodies) == 3
    assert len(set(bodies)) == 1


async def test_a_reordered_callback_comes_after_the_next_one(listened: Caller, receiver: Receiver) -> None:
    listened.fault("callback_reordered")
    await listened.start(numberOfFixes=3, fixInterval=60)
    await listened.later(120)

    assert receiver.times() == ["20240517143100", "20240517143000", "20240517143200"]


async def test_a_callback_held_back_comes_in_the_end_though_none_follows(listened: Caller, receiver: Receiver) -> None:
    listened.fault("callback_reordered")
    await listened.start(numberOfFixes=1)
    await listened.drained()
    assert receiver.received == []

    await listened.later(3 * 3600)

    assert receiver.times() == ["20240517143000"]


async def test_several_can_be_held_back_at_once(listened: Caller, receiver: Receiver) -> None:
    listened.fault("callback_reordered", times=2)
    await listened.start(numberOfFixes=3, fixInterval=60)
    await listened.later(120)

    assert sorted(receiver.times()) == ["20240517143000", "20240517143100", "20240517143200"]
    assert receiver.times()[0] == "20240517143200"


async def test_a_late_callback_states_when_its_fix_was(listened: Caller, receiver: Receiver) -> None:
    listened.fault("callback_late", delay_seconds=7200)
    await listened.start(numberOfFixes=2, fixInterval=60)
    await listened.later(7199)
    assert receiver.times() == ["20240517143100"]

    await listened.later(1)

    assert receiver.times() == ["20240517143100", "20240517143000"]


async def test_a_lost_callback_never_comes_and_is_counted(listened: Caller, receiver: Receiver) -> None:
    listened.fault("callback_lost")
    await listened.start(numberOfFixes=2, fixInterval=60)

    figures = await listened.later(3600)

    assert receiver.times() == ["20240517143100"]
    assert figures["callbacks"]["lost"] == 1


async def test_an_unacknowledged_callback_is_sent_again_unchanged(listened: Caller, receiver: Receiver) -> None:
    receiver.status = lambda count: 503 if count < 3 else 204
    await listened.start(numberOfFixes=1)
    await listened.drained()
    assert len(receiver.received) == 1

    await listened.later(300)
    figures = await listened.later(300)

    assert len({one.body for one in receiver.received}) == 1
    assert figures["callbacks"] | {"due": 1, "sent": 3, "acknowledged": 1, "retried": 2} == figures["callbacks"]


@pytest.mark.parametrize("status", [302, 400, 500])
async def test_a_callback_is_given_up_after_four_tries(listened: Caller, receiver: Receiver, status: int) -> None:
    receiver.status = lambda _: status
    await listened.start(numberOfFixes=1)

    for _ in range(10):
        figures = await listened.later(300)

    assert len(receiver.received) == 4
    assert figures["callbacks"]["given_up"] == 1


async def test_an_address_of_nobody_is_tried_again(caller: Caller, receiver: Receiver, free_port: int) -> None:
    await caller.register(f"http://127.0.0.1:{free_port}/")
    await caller.start(numberOfFixes=1)
    assert (await caller.drained())["callbacks"]["retried"] == 1

    await caller.register(receiver.url)
    await caller.later(300)

    assert receiver.times() == ["20240517143000"]


@pytest.mark.parametrize(
    ("fault", "is_valid"),
    [("signature_wrong", False), ("signature_missing", False), ("signature_garbage", False), ("body_cut", True)],
)
async def test_signatures_can_be_wrong(caller: Caller, receiver: Receiver, fault: str, *, is_valid: bool) -> None:
    secret = (await caller.register(receiver.url)).headers["X-Callback-Secret"]
    caller.fault(fault)
    await caller.start(numberOfFixes=2, fixInterval=60)
    await caller.later(60)

    assert [is_signed(report, secret) for report in receiver.received] == [is_valid, True]


async def test_an_altered_body_is_json_that_nobody_signed(caller: Caller, receiver: Receiver) -> None:
    secret = (await caller.register(receiver.url)).headers["X-Callback-Secret"]
    caller.fault("body_altered")
    await caller.start(numberOfFixes=1)
    await caller.drained()

    (altered,) = receiver.received

    assert altered.json["accountName"] != ACCOUNT
    assert not is_signed(altered, secret)


async def test_a_cut_body_is_no_json(listened: Caller, receiver: Receiver) -> None:
    listened.fault("body_cut")
    await listened.start(numberOfFixes=1)
    await listened.drained()

    with pytest.raises(json.JSONDecodeError):
        assert receiver.received[0].json


async def test_a_transaction_can_be_unknown_or_absent(listened: Caller, receiver: Receiver) -> None:
    listened.fault("transaction_unknown")
    listened.fault("transaction_absent", after=1)
    started = (await listened.start(numberOfFixes=3, fixInterval=60)).json()["transactionID"]
    await listened.later(120)

    unknown, absent, right = [report.json for report in receiver.received]

    assert unknown["transactionID"] != started
    assert "transactionID" not in absent
    assert right["transactionID"] == started


async def test_account_device_and_kind_of_report_can_be_unknown(listened: Caller, receiver: Receiver) -> None:
    account = await report_with(listened, receiver, "callback_account_unknown")
    device = await report_with(listened, receiver, "callback_device_unknown")
    kind = await report_with(listened, receiver, "report_type_unknown")

    assert account["accountName"] == "9999999999-99999"
    assert device["deviceList"][0]["mdn"] == "9995550199"
    assert kind["reportType"] == "NEW_KIND_OF_REPORT"


async def test_a_callback_can_have_the_old_style(listened: Caller, receiver: Receiver) -> None:
    report = await report_with(listened, receiver, "callback_old_style")

    assert set(report["deviceList"][0]) == {"msid", "pd", "error"}


async def test_positions_in_callbacks_can_be_wrong(listened: Caller, receiver: Receiver) -> None:
    report = await report_with(listened, receiver, "utcoffset", value="+0200")

    assert report["deviceList"][0]["positionData"]["time"] == "20240517163000"


@pytest.mark.parametrize(
    ("spelling", "present", "absent"),
    [
        ("no_mdn", {"kind": "IMEI"}, {"mdn"}),
        ("kind_lower_case", {"kind": "imei"}, set()),
        ("location_type_beside", {"locationType": "1"}, set()),
        ("empty_as_object", {"error": {}}, set()),
        ("empty_as_null", {"error": None}, set()),
        ("kind_lower_case", {}, {"error"}),
    ],
)
async def test_devices_in_callbacks_can_be_spelt_otherwise(
    listened: Caller, receiver: Receiver, spelling: str, present: dict[str, Any], absent: set[str]
) -> None:
    report = await report_with(listened, receiver, spelling)

    (device,) = report["deviceList"]
    assert device | present == device
    assert not absent & device.keys()


async def test_the_location_type_is_not_inside_when_it_is_beside(listened: Caller, receiver: Receiver) -> None:
    report = await report_with(listened, receiver, "location_type_beside")

    assert "locationType" not in report["deviceList"][0]["positionData"]


async def test_a_failure_can_have_an_empty_position(listened: Caller, receiver: Receiver) -> None:
    listened.fault("device_offline")

    report = await report_with(listened, receiver, "empty_as_object")

    assert report["deviceList"][0]["positionData"] == {}


@pytest.mark.parametrize(("outcome", "status"), [("cache_empty", "FAILED"), ("device_offline", "SUCCESS")])
async def test_the_status_can_contradict_the_device(
    listened: Caller, receiver: Receiver, outcome: str, status: str
) -> None:
    listened.fault(outcome)

    assert (await report_with(listened, receiver, "status_contradicts"))["status"] == status


async def test_several_devices_can_share_a_message(listened: Caller, receiver: Receiver) -> None:
    devices = [listened.device(index) for index in range(8)]
    listened.fault("devices_together")
    await listened.start(*devices, numberOfFixes=2, fixInterval=60)
    await listened.later(60)

    assert [len(report.json["deviceList"]) for report in receiver.received] == [5, 3, *[1] * 8]


async def test_faults_for_one_device_leave_the_others_alone(listened: Caller, receiver: Receiver) -> None:
    one, other = listened.device(0), listened.device(1)
    listened.fault("axes_swapped", device=one.mdn, times=None)
    await listened.start(one, other, numberOfFixes=2, fixInterval=60)
    await listened.later(60)

    swapped = {report.device["mdn"] for report in receiver.received if report.device["positionData"]["x"][0] == "-"}

    assert swapped == {one.mdn}


async def test_draining_gives_up_at_its_limit(listened: Caller, receiver: Receiver) -> None:
    receiver.status = lambda _: 0
    await listened.start(numberOfFixes=1)

    answer = await listened.http.post("/control/thingspace/drain", json={"timeoutSeconds": 0.05})

    assert answer.status_code == 504
    assert answer.json()["underWay"] == 1


@pytest.mark.parametrize("path", ["drain", "speed", "listeners", "device-fixes"])
async def test_control_calls_with_bad_bodies_are_refused(stranger: Caller, path: str) -> None:
    answer = await stranger.http.post(f"/control/thingspace/{path}", content=b'{"timeoutSeconds": "long"}')

    assert answer.status_code == 422


async def test_no_fix_can_be_had_of_an_unknown_device(stranger: Caller) -> None:
    answer = await stranger.http.post("/control/thingspace/device-fixes", json={"imei": "1"})

    assert answer.status_code == 404


async def test_listeners_can_be_registered_without_tokens(stranger: Caller, receiver: Receiver) -> None:
    given = {"account": ACCOUNT, "service": "DeviceLocation", "url": receiver.url}
    answer = (await stranger.http.post("/control/thingspace/listeners", json=given)).json()
    await stranger.http.post("/control/thingspace/device-fixes", json={"imei": stranger.device().imei})
    await stranger.drained()

    assert is_signed(receiver.received[0], answer["secret"])


class TestImpatience:
    @pytest.fixture
    def options(self) -> Options:
        return Options(fleet=20, callback_timeout_s=0.05, consent="both")

    async def test_a_receiver_that_does_not_answer_is_tried_again(self, listened: Caller, receiver: Receiver) -> None:
        receiver.status = lambda count: 0 if count == 1 else 200
        await listened.start(numberOfFixes=1)
        await listened.drained()

        figures = await listened.later(300)

        assert figures["callbacks"]["acknowledged"] == 1
        assert len(receiver.received) == 2


class TestFullSpeed:
    @pytest.fixture
    def options(self) -> Options:
        return Options(fleet=400, full_speed=True, callback_retry_interval_s=300, consent="both")

    async def test_a_week_passes_as_fast_as_the_receiver_takes_it(self, listened: Caller, receiver: Receiver) -> None:
        devices = [listened.device(index) for index in range(400) if listened.device(index).account == ACCOUNT]
        await listened.start(*devices, numberOfFixes="7", fixInterval="86400")

        figures = await listened.drained()

        assert figures["callbacks"]["acknowledged"] == 7 * len(devices)
        assert {time[:8] for time in receiver.times()} == {f"202405{day}" for day in range(17, 24)}

    async def test_rounds_do_not_overtake_each_other(self, listened: Caller, receiver: Receiver) -> None:
        devices = [listened.device(index) for index in range(9)]
        await listened.start(*devices, numberOfFixes=5, fixInterval=60)
        await listened.drained()

        assert receiver.times() == sorted(receiver.times())

    async def test_the_clock_of_the_tokens_stands_still(self, listened: Caller) -> None:
        await listened.start(numberOfFixes=5, fixInterval=86_400)
        figures = await listened.drained()

        assert figures["now"] == (START + timedelta(days=4)).isoformat()
        assert (await listened.locate(listened.device(), cacheMode="2")).status_code == 200

    async def test_retries_and_late_callbacks_are_not_waited_for(self, listened: Caller, receiver: Receiver) -> None:
        receiver.status = lambda count: 500 if count == 1 else 200
        listened.fault("callback_late", after=1)
        await listened.start(numberOfFixes=2, fixInterval=60)

        figures = await listened.drained()

        assert figures["callbacks"]["acknowledged"] == 2

    async def test_an_endless_session_of_lost_callbacks_leaves_others_their_turn(self, listened: Caller) -> None:
        listened.fault("callback_lost", times=None)
        await listened.start(numberOfFixes=0, fixInterval=1)

        answer = await listened.http.post("/control/thingspace/drain", json={"timeoutSeconds": 0.05})

        assert answer.status_code == 504

    async def test_it_can_be_switched_on_and_off(self, listened: Caller, receiver: Receiver) -> None:
        await listened.http.post("/control/thingspace/speed", json={"fullSpeed": False})
        await listened.start(numberOfFixes=3, fixInterval=60)
        await listened.drained()
        assert len(receiver.received) == 1

        await listened.http.post("/control/thingspace/speed", json={"fullSpeed": True})
        await listened.drained()

        assert len(receiver.received) == 3
