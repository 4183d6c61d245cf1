from typing import Any

import httpx
import pytest
from callback_receiver import Receiver
from thingspace_caller import ACCOUNT, Caller, listed


async def exclude(caller: Caller, **body: Any) -> httpx.Response:
    return await caller.call("POST", "consents", json={"accountName": ACCOUNT} | body)


async def excluded(caller: Caller) -> dict[str, Any]:
    return (await caller.call("GET", f"consents/{ACCOUNT}/index/0")).json()


async def is_locatable(caller: Caller, index: int = 0) -> bool:
    return (await caller.locate(caller.device(index), cacheMode="2")).status_code == 200


async def test_an_excluded_device_cannot_be_located(caller: Caller) -> None:
    answer = await exclude(caller, exclusion=[caller.device(0).imei])

    assert answer.json() == {"success": True}
    assert not await is_locatable(caller, 0)
    assert await is_locatable(caller, 1)


async def test_exclusions_are_appended_or_replaced(caller: Caller) -> None:
    await exclude(caller, exclusion=["1"])
    await exclude(caller, exclusion=["2", "1"], type="append")
    appended = await excluded(caller)
    await exclude(caller, exclusion=["3"])

    assert appended == {
        "accountName": ACCOUNT,
        "allDevice": False,
        "hasMoreData": False,
        "totalCount": 2,
        "updateTime": "2024-05-17 14:30:00.000000 +0000 UTC",
        "exclusion": ["1", "2"],
    }
    assert (await excluded(caller))["exclusion"] == ["3"]


async def test_all_devices_can_be_excluded_but_not_beside_a_list(caller: Caller) -> None:
    conflicting = await exclude(caller, allDevice=True, exclusion=["1"])
    await exclude(caller, allDevice=True)

    assert "Conflicting device list" in conflicting.text
    assert not await is_locatable(caller)


@pytest.mark.parametrize("form", ["body", "query"])
async def test_devices_are_included_again_by_body_or_query(caller: Caller, form: str) -> None:
    imei = caller.device().imei
    await exclude(caller, exclusion=[imei, "1"])

    if form == "body":
        answer = await caller.call("DELETE", "consents", json={"accountName": ACCOUNT, "deviceList": [imei]})
    else:
        answer = await caller.call("DELETE", f"consents?accountName={ACCOUNT}&deviceList={imei}")

    assert answer.json() == {"success": True}
    assert (await excluded(caller))["exclusion"] == ["1"]
    assert await is_locatable(caller)


@pytest.mark.parametrize("exclusion", ["1", [1], ["1"] * 2001])
async def test_exclusions_are_a_list_of_at_most_two_thousand_names(caller: Caller, exclusion: Any) -> None:
    assert (await exclude(caller, exclusion=exclusion)).status_code == 400


async def test_pages_of_exclusions_begin_at_whole_numbers(caller: Caller) -> None:
    assert (await caller.call("GET", f"consents/{ACCOUNT}/index/first")).status_code == 400


@pytest.mark.parametrize("path", ["action", "actions"])
async def test_consents_of_devices_are_set_and_announced(listened: Caller, receiver: Receiver, path: str) -> None:
    device = listened.device()
    given = {"accountName": ACCOUNT, "deviceList": [listed(device)[0] | {"consent": 0}]}

    answer = (await listened.call("POST", f"devicelocations/{path}/consents", json=given)).json()
    await listened.drained()
    shown = await listened.call("GET", f"devicelocations/{path}/consents?accountName={ACCOUNT}")

    assert answer["status"] == "QUEUED"
    assert receiver.received[0].json["reportType"] == "CONSENT_RESPONSE"
    assert receiver.received[0].json["transactionID"] == answer["transactionId"]
    assert shown.json()["deviceList"] == [{"id": device.imei, "kind": "imei", "consent": 0}]
    assert not await is_locatable(listened)


async def test_the_consent_of_an_account_holds_for_all_its_devices(caller: Caller) -> None:
    path = "devicelocations/action/consents"
    await caller.call("PUT", path, json={"accountName": ACCOUNT, "allDeviceConsent": 0})

    shown = (await caller.call("GET", f"{path}?accountName={ACCOUNT}&deviceId={caller.device().imei}")).json()

    assert (shown["allDeviceConsent"], shown["deviceList"][0]["consent"]) == (0, 0)
    assert not await is_locatable(caller)


async def test_a_consent_is_a_small_number(caller: Caller) -> None:
    given = {"accountName": ACCOUNT, "allDeviceConsent": "yes"}

    assert (await caller.call("PUT", "devicelocations/action/consents", json=given)).status_code == 400
