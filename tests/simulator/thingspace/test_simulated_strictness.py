"""What the vendor is strict about, and a kind simulator would hide: consent levels, billing, MDNs, alarms."""

from typing import Any

import pytest
from callback_receiver import Receiver
from thingspace_caller import ACCOUNT, OTHER_ACCOUNT, Caller

from app.simulator.options import Options


@pytest.fixture
def options() -> Options:
    return Options(fleet=200)


async def usage(caller: Caller, **body: Any) -> Any:
    given = {"accountName": ACCOUNT, "startDate": "05-17-2024", "endDate": "05-17-2024"} | body
    return (await caller.call("POST", "usage", json=given)).json()


async def consent(caller: Caller, level: int) -> None:
    given = {"accountName": ACCOUNT, "allDeviceConsent": level}
    (await caller.call("PUT", "devicelocations/action/consents", json=given)).raise_for_status()


async def test_by_default_devices_may_be_located_coarsely_alone(listened: Caller, receiver: Receiver) -> None:
    coarse = (await listened.locate(listened.device(), cacheMode="2")).json()
    await listened.start(numberOfFixes=3, fixInterval=60)
    await listened.later(300)

    assert coarse[0]["pd"]["x"]
    assert [report.device["error"]["info"] for report in receiver.reports()] == ["Consent check failed"]


async def test_precise_consent_alone_forbids_coarse_fixes(caller: Caller) -> None:
    await consent(caller, 2)

    answer = await caller.locate(caller.device(), cacheMode="2")

    assert answer.json()["errorMessage"] == "Consent check failed"


async def test_no_coarse_fix_stands_in_a_precise_session(listened: Caller, receiver: Receiver) -> None:
    await consent(listened, 3)
    await listened.locate(listened.device(), cacheMode="2")
    await listened.start(numberOfFixes=1, maxLocAge=3600)
    await listened.later(1)

    (report,) = receiver.reports()
    assert int(report.device["positionData"]["radius"]) <= 60


async def test_a_device_that_is_not_of_the_iot_gets_one_error_and_no_more(listened: Caller, receiver: Receiver) -> None:
    await consent(listened, 3)
    listened.fault("not_iot")
    await listened.start(numberOfFixes=3, fixInterval=60)
    await listened.later(300)

    assert [report.device["error"]["type"] for report in receiver.reports()] == ["TS DEVICE TYPE CHECK FAILED"]


async def test_usage_is_counted_by_account_and_day(caller: Caller) -> None:
    await caller.locate(caller.device(0), caller.device(1), cacheMode="2")
    await caller.locate(caller.device(0), cacheMode="0")

    assert (await usage(caller))["totalTransactionCount"] == "2"
    assert (await usage(caller, accountName=OTHER_ACCOUNT))["totalTransactionCount"] == "0"
    assert (await usage(caller, startDate="05-16-2024", endDate="05-16-2024"))["totalTransactionCount"] == "0"


async def test_periodic_fixes_are_billed_whether_or_not_anybody_takes_them(caller: Caller) -> None:
    await consent(caller, 3)
    await caller.start(numberOfFixes=2, fixInterval=60)
    await caller.later(300)

    assert (await usage(caller))["totalTransactionCount"] == "2"


async def test_a_report_is_billed_when_it_is_complete_not_when_it_is_read(caller: Caller) -> None:
    given = {"accountName": ACCOUNT, "deviceList": [{"id": caller.device().imei, "kind": "imei"}], "cacheMode": "2"}
    created = (await caller.call("POST", "locationreports", json=given)).json()
    before = await usage(caller)
    await caller.later(60)
    after = await usage(caller)
    for _ in range(2):
        await caller.call("GET", f"locationreports/{ACCOUNT}/report/{created['txid']}/index/0")

    assert (before["totalTransactionCount"], after["totalTransactionCount"]) == ("0", "1")
    assert (await usage(caller))["totalTransactionCount"] == "1"


async def test_the_synchronous_call_needs_the_mdn(caller: Caller) -> None:
    devices = [{"id": caller.device().imei, "kind": "imei"}]

    answer = await caller.call("POST", "locations", json={"accountName": ACCOUNT, "deviceList": devices})

    assert (answer.status_code, answer.json()["errorMessage"]) == (400, "The mdn of a device is missing")


async def test_an_alarm_is_sent_when_the_usage_passes_its_share(listened: Caller, receiver: Receiver) -> None:
    await listened.register(receiver.url, "Location")
    given = {"accountName": ACCOUNT, "serviceName": "location", "thresholdValue": "1"}
    path = "/api/subsc/v1/usage/triggers"
    made = (await listened.http.post(path, headers=listened.headers, json=given)).json()
    for _ in range(5):
        await listened.locate(*(listened.device(n) for n in (0, 2, 3, 4, 5, 6, 11, 12, 13, 14)), cacheMode="2")

    first = await listened.http.post("/control/thingspace/usage-check")
    second = await listened.http.post("/control/thingspace/usage-check")
    await listened.drained()

    assert (first.json(), second.json()) == ({"sent": 1}, {"sent": 0})
    assert made["triggerId"] in str([one.body for one in receiver.received])


async def test_a_call_can_be_done_and_billed_and_answered_too_late(caller: Caller) -> None:
    caller.fault("slow_after", delay_seconds=0.01)

    answer = await caller.locate(caller.device(), cacheMode="2")

    assert answer.status_code == 200
    assert (await usage(caller))["totalTransactionCount"] == "1"
