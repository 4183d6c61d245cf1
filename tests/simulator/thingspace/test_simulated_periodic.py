import hashlib
import hmac
import uuid
from typing import Any

import httpx
import pytest
from callback_receiver import Receiver
from thingspace_caller import ACCOUNT, OTHER_ACCOUNT, Caller

from app.simulator.options import Options


def message(answer: httpx.Response) -> str:
    assert answer.status_code == 400
    return answer.json()["errorMessage"]


async def test_starting_answers_with_a_transaction(caller: Caller) -> None:
    answer = (await caller.start()).json()

    assert answer["status"] == "QUEUED"
    assert uuid.UUID(answer["transactionID"])


async def test_every_fix_arrives_as_a_report_of_one_device(listened: Caller, receiver: Receiver) -> None:
    device = listened.device()
    started = (await listened.start(device, numberOfFixes="1", fixInterval="60")).json()
    await listened.drained()

    (report,) = receiver.received

    truth = listened.state.world.position_now(device)
    position = report.device["positionData"]
    assert report.json == {
        "accountName": ACCOUNT,
        "deviceList": [{"id": device.imei, "kind": "IMEI", "mdn": device.mdn, "positionData": position}],
        "reportType": "LOCATION_REPORT",
        "status": "SUCCESS",
        "transactionID": started["transactionID"],
    }
    assert position["time"] == "20240517143000"
    assert position["locationType"] == "1"
    assert float(position["x"]) == pytest.approx(truth.latitude, abs=1e-6)
    assert float(position["y"]) == pytest.approx(truth.longitude, abs=1e-6)


async def test_reports_are_signed_over_their_raw_bytes(caller: Caller, receiver: Receiver) -> None:
    secret = (await caller.register(receiver.url)).headers["X-Callback-Secret"]
    await caller.start(numberOfFixes=1)
    await caller.drained()

    (report,) = receiver.received

    expected = hmac.new(secret.encode(), report.body, hashlib.sha256).hexdigest()
    assert report.headers["x-callback-signature"] == expected


async def test_fixes_come_at_every_interval_until_all_are_there(listened: Caller, receiver: Receiver) -> None:
    await listened.start(numberOfFixes=3, fixInterval=60)
    for _ in range(5):
        await listened.drained()
        await listened.clock.advance(60)

    assert receiver.times() == ["20240517143000", "20240517143100", "20240517143200"]


async def test_a_delayed_start_is_delayed(listened: Caller, receiver: Receiver) -> None:
    await listened.start(numberOfFixes=1, startTime="25")
    assert (await listened.later(24))["callbacks"]["due"] == 0

    await listened.later(1)

    assert receiver.times() == ["20240517143025"]


async def test_hours_pass_in_one_step(listened: Caller, receiver: Receiver) -> None:
    await listened.start(numberOfFixes=10, fixInterval=3600)

    await listened.later(12 * 3600)

    assert len(receiver.received) == 10


@pytest.mark.parametrize("fixes", [0, "0"])
async def test_no_number_of_fixes_means_until_stopped(listened: Caller, receiver: Receiver, fixes: Any) -> None:
    started = (await listened.start(numberOfFixes=fixes, fixInterval=1)).json()
    await listened.later(40)
    assert len(receiver.received) == 41

    await listened.stop(started["transactionID"])
    figures = await listened.later(40)

    assert len(receiver.reports()) == 41
    assert (figures["periodic"]["running"], figures["planned"]) == (0, 0)


async def test_without_a_number_there_are_twelve_fixes_an_hour_apart(listened: Caller, receiver: Receiver) -> None:
    await listened.start()

    await listened.later(20 * 3600)

    assert len(receiver.received) == 12
    assert receiver.times()[-1] == "20240518013000"


async def test_without_a_number_fixes_can_come_until_stopped(listened: Caller, receiver: Receiver) -> None:
    listened.fault("fixes_unlimited_by_default")
    await listened.start(fixInterval=60)

    await listened.later(20 * 60)

    assert len(receiver.received) == 21


async def test_many_devices_share_a_transaction_and_come_in_some_order(listened: Caller, receiver: Receiver) -> None:
    devices = [listened.device(index) for index in range(200) if listened.device(index).account == ACCOUNT]
    await listened.start(*devices, numberOfFixes=2, fixInterval=10)
    await listened.later(10)

    reported = [report.device["id"] for report in receiver.received]

    assert sorted(reported) == sorted(2 * [device.imei for device in devices])
    assert reported[: len(devices)] != [device.imei for device in devices]
    assert len({report.json["transactionID"] for report in receiver.received}) == 1


async def test_reports_travel_over_few_connections(listened: Caller, receiver: Receiver) -> None:
    devices = [listened.device(index) for index in range(200) if listened.device(index).account == ACCOUNT]
    await listened.start(*devices, numberOfFixes=3, fixInterval=1)
    await listened.later(2)

    assert len(receiver.received) == 3 * len(devices)
    assert len({report.connection for report in receiver.received}) <= listened.options.callback_concurrency


async def test_a_young_precise_fix_of_somebody_else_is_used_again_once(listened: Caller, receiver: Receiver) -> None:
    await listened.start(numberOfFixes=1, startTime=0)
    await listened.later(0)
    await listened.start(numberOfFixes=2, fixInterval=60, startTime=30, maxLocAge=120)
    await listened.later(90)

    _, first, second = [report.device["positionData"] for report in receiver.received]

    assert (first["time"], first["locationType"]) == ("20240517143000", "0")
    assert (second["time"], second["locationType"]) == ("20240517143130", "1")


@pytest.mark.parametrize("name", ["maxLocAge", "maxLocationAge"])
async def test_an_age_of_nothing_wants_current_fixes(listened: Caller, receiver: Receiver, name: str) -> None:
    await listened.locate(listened.device(), cacheMode="2")
    await listened.start(numberOfFixes=1, startTime=1, **{name: 0})
    await listened.later(1)

    assert receiver.times() == ["20240517143001"]


@pytest.mark.parametrize(
    "change",
    [
        {"numberOfFixes": 1001},
        {"numberOfFixes": -1},
        {"numberOfFixes": "many"},
        {"numberOfFixes": True},
        {"numberOfFixes": "2.5"},
        {"numberOfFixes": []},
        {"fixInterval": 0},
        {"fixInterval": "1036801"},
        {"startTime": 86_401},
        {"maxLocAge": 3601},
        {"maxLocationAge": "3601"},
        {"deviceList": []},
        {"deviceList": [{"id": "A0", "kind": "meid", "mdn": "5085550101"}]},
        {"accountName": OTHER_ACCOUNT},
    ],
)
async def test_what_is_out_of_range_is_refused_and_nothing_starts(caller: Caller, change: dict[str, Any]) -> None:
    answer = await caller.start(**change)

    assert answer.json()["errorCode"] == "INVALID_PARAMETER"
    assert (await caller.drained())["periodic"]["sessions"] == 0


async def test_whole_numbers_are_read_however_they_are_written(caller: Caller) -> None:
    answer = await caller.start(numberOfFixes="4.0", fixInterval=60.0, startTime="025")

    assert answer.status_code == 200


async def test_a_device_without_consent_gets_one_error_and_no_more(listened: Caller, receiver: Receiver) -> None:
    listened.fault("no_consent")
    await listened.start(numberOfFixes=3, fixInterval=10)
    await listened.later(30)

    (refused,) = receiver.received

    assert refused.json["status"] == "FAILED"
    assert refused.device["error"]["info"] == "Consent check failed"
    assert "positionData" not in refused.device


async def test_a_device_that_is_offline_once_is_found_the_next_time(listened: Caller, receiver: Receiver) -> None:
    listened.fault("device_offline")
    await listened.start(numberOfFixes=2, fixInterval=10)
    await listened.later(10)

    assert [report.json["status"] for report in receiver.received] == ["FAILED", "SUCCESS"]


async def test_a_stop_is_answered_at_once_and_announced_per_device(listened: Caller, receiver: Receiver) -> None:
    devices = [listened.device(0), listened.device(1)]
    started = (await listened.start(*devices, startTime=60)).json()

    stopped = await listened.stop(started["transactionID"], *devices)
    await listened.drained()

    assert stopped.json()["status"] == "COMPLETED"
    assert [one.json for one in receiver.received] == [
        {
            "accountName": ACCOUNT,
            "deviceList": [{"id": device.imei, "mdn": device.mdn}],
            "reportType": "STOP_PERIODIC_LOCATION_RESPONSE",
            "status": "SUCCESS",
            "transactionID": stopped.json()["transactionID"],
        }
        for device in devices
    ]
    assert stopped.json()["transactionID"] != started["transactionID"]


async def test_only_the_named_devices_stop(listened: Caller, receiver: Receiver) -> None:
    started = (await listened.start(listened.device(0), listened.device(1), numberOfFixes=2, fixInterval=10)).json()
    await listened.stop(started["transactionID"], listened.device(0))

    await listened.later(10)

    assert [
        report.device["mdn"] for report in receiver.reports() if report.device["positionData"]["time"][-2:] == "10"
    ] == ["5085550102"]


@pytest.mark.parametrize(
    "query",
    [
        "accountName={account}&mdn={one}&mdn={two}",
        "accountname={account}&mdn={one},{two}",
        "{account}&mdn[]={one}&mdn[]={two}",
        "{account}",
        "ACCOUNTNAME={account}&mdn={one}%2C%20{two}",
    ],
)
@pytest.mark.parametrize("in_path", [True, False])
async def test_every_form_of_the_stop_address_is_understood(
    listened: Caller, receiver: Receiver, query: str, *, in_path: bool
) -> None:
    devices = [listened.device(0), listened.device(1)]
    transaction = (await listened.start(*devices, startTime=60)).json()["transactionID"]
    path = "devicelocations/action/periodic" + (f"/{transaction}" if in_path else "")
    query = query.format(account=ACCOUNT, one=devices[0].mdn, two=devices[1].mdn)

    answer = await listened.call("DELETE", f"{path}?{query}" + ("" if in_path else f"&transactionID={transaction}"))
    await listened.drained()

    assert answer.status_code == 200
    assert len(receiver.reports("STOP_PERIODIC_LOCATION_RESPONSE")) == 2


async def test_a_second_stop_comes_too_late(caller: Caller) -> None:
    started = (await caller.start()).json()
    await caller.stop(started["transactionID"])

    assert message(await caller.stop(started["transactionID"])) == "Unable to Cancel"


async def test_a_finished_session_cannot_be_stopped(listened: Caller) -> None:
    started = (await listened.start(numberOfFixes=1)).json()
    await listened.drained()

    assert message(await listened.stop(started["transactionID"])) == "Unable to Cancel"


async def test_unknown_transactions_and_strangers_cannot_stop(caller: Caller) -> None:
    started = (await caller.start()).json()["transactionID"]

    assert message(await caller.stop("unknown")) == "Unable to Cancel"
    path = f"devicelocations/action/periodic/{started}?accountName={OTHER_ACCOUNT}"
    assert message(await caller.call("DELETE", path)) == "Ownership or MDN validation failed"


async def test_a_hundred_mdns_can_be_stopped_in_one_call_and_no_more(caller: Caller) -> None:
    devices = [caller.device(index) for index in range(120) if caller.device(index).account == ACCOUNT][:101]
    started = (await caller.start(*devices)).json()["transactionID"]

    assert "more than 100" in message(await caller.stop(started, *devices))
    assert (await caller.stop(started, *devices[:100])).status_code == 200


async def test_stop_callbacks_can_carry_the_transaction_of_the_start(listened: Caller, receiver: Receiver) -> None:
    listened.fault("stop_with_start_id")
    started = (await listened.start(startTime=60)).json()["transactionID"]
    await listened.stop(started)
    await listened.drained()

    assert receiver.received[0].json["transactionID"] == started


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [("stop_by_id", {"kind": "IMEI", "id": "990001123456782"}), ("stop_by_mdn", {"mdn": "5085550101"})],
)
async def test_stop_callbacks_can_name_the_device_in_other_ways(
    listened: Caller, receiver: Receiver, spelling: str, expected: dict[str, Any]
) -> None:
    listened.fault(spelling)
    await listened.stop((await listened.start(startTime=60)).json()["transactionID"])
    await listened.drained()

    assert receiver.received[0].device == expected


async def test_fixes_can_keep_coming_after_a_stop(listened: Caller, receiver: Receiver) -> None:
    listened.fault("fixes_after_stop", value=2)
    started = (await listened.start(numberOfFixes=0, fixInterval=10)).json()["transactionID"]
    await listened.drained()
    await listened.stop(started)

    await listened.later(100)

    kinds = [one.json["reportType"] for one in receiver.received]
    assert kinds == ["LOCATION_REPORT", "STOP_PERIODIC_LOCATION_RESPONSE", "LOCATION_REPORT", "LOCATION_REPORT"]
    assert message(await listened.stop(started)) == "Unable to Cancel"


async def test_callbacks_keep_coming_after_logout(listened: Caller, receiver: Receiver) -> None:
    await listened.start(numberOfFixes=2, fixInterval=10)
    await listened.http.post("/api/m2m/v1/session/logout", headers=listened.headers)

    await listened.later(10)

    assert len(receiver.received) == 2


async def test_padded_transactions_are_echoed_and_understood(listened: Caller, receiver: Receiver) -> None:
    listened.fault("transaction_id_padded", times=2)
    started = (await listened.start(numberOfFixes=0)).json()["transactionID"]
    await listened.drained()

    assert started.startswith("2024-05-17T")
    assert started.endswith(" ")
    assert receiver.received[0].json["transactionID"] == started
    assert (await listened.stop(started.strip())).status_code == 200


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("txid_everywhere", "txid"),
        ("transaction_id_lower_d", "transactionId"),
        ("transaction_id_upper_d", "transactionID"),
    ],
)
async def test_transactions_can_go_by_other_names(
    listened: Caller, receiver: Receiver, spelling: str, name: str
) -> None:
    listened.state.spellings.add(spelling)
    started = (await listened.start(numberOfFixes=1)).json()
    await listened.drained()

    assert receiver.received[0].json[name] == started[name]


async def test_without_a_listener_nothing_is_sent(caller: Caller) -> None:
    await caller.start(numberOfFixes=1)

    figures = await caller.drained()

    assert figures["callbacks"] == {
        "due": 1, "sent": 0, "acknowledged": 0, "retried": 0, "given_up": 0, "lost": 0, "unaddressed": 1,
    }  # fmt: skip


async def test_a_device_can_report_itself_without_a_transaction(listened: Caller, receiver: Receiver) -> None:
    asked = {"imei": listened.device().imei, "count": 2}
    await listened.http.post("/control/thingspace/device-fixes", json=asked)
    await listened.drained()

    assert ["transactionID" in report.json for report in receiver.received] == [False, False]


class TestStrict:
    @pytest.fixture
    def options(self) -> Options:
        return Options(fleet=20, strict=True, consent="both")

    async def test_fractions_are_refused_even_if_whole(self, caller: Caller) -> None:
        assert (await caller.start(numberOfFixes="4.0")).status_code == 400

    async def test_the_nested_device_list_is_refused(self, caller: Caller) -> None:
        nested = [{"deviceIds": [{"id": caller.device().imei, "kind": "imei"}]}]

        assert (await caller.start(deviceList=nested)).status_code == 400

    async def test_a_stop_without_mdns_is_refused(self, caller: Caller) -> None:
        started = (await caller.start()).json()["transactionID"]

        path = f"devicelocations/action/periodic/{started}?accountName={ACCOUNT}"

        assert "missing" in message(await caller.call("DELETE", path))
