from typing import Any

from thingspace_caller import ACCOUNT, OTHER_ACCOUNT, Caller


async def device_list(caller: Caller, **body: Any) -> Any:
    given = {"accountName": ACCOUNT} | body
    answer = await caller.http.post("/api/m2m/v1/devices/actions/list", headers=caller.headers, json=given)
    return answer.json()


async def test_a_device_is_listed_with_all_of_its_identifiers(caller: Caller) -> None:
    device = caller.device()

    listed = await device_list(caller, deviceId={"id": device.mdn, "kind": "mdn"})

    (found,) = listed["devices"]
    assert {one["kind"]: one["id"] for one in found["deviceIds"]} == {"imei": device.imei, "mdn": device.mdn}


async def test_devices_of_another_account_are_not_listed(caller: Caller) -> None:
    device = caller.device()

    listed = await device_list(caller, accountName=OTHER_ACCOUNT, deviceId={"id": device.imei, "kind": "imei"})

    assert listed == {"hasMoreData": False, "devices": []}


async def test_long_lists_come_in_pages(caller: Caller) -> None:
    first = await device_list(caller, maxNumberOfDevices=3)

    assert (first["hasMoreData"], len(first["devices"])) == (True, 3)


async def test_devices_are_found_by_a_part_of_an_identifier(caller: Caller) -> None:
    device = caller.device()

    condition = {"kind": "mdn", "endswith": device.mdn[-4:]}
    listed = await device_list(caller, filter={"deviceIdentifierFilters": [condition]})

    assert device.mdn in str(listed["devices"])


async def test_the_list_takes_the_session_of_a_login(caller: Caller) -> None:
    caller.headers["VZ-M2M-Token"] = "no guid"

    assert (await device_list(caller))["errorCode"].endswith("SessionToken.Invalid")
