from typing import Any

import pytest
from thingspace_caller import ACCOUNT, Caller


async def usage(caller: Caller, **body: Any) -> Any:
    given = {"accountName": ACCOUNT, "startDate": "05-01-2024", "endDate": "05-31-2024"} | body
    return await caller.call("POST", "usage", json=given)


async def test_a_subscription_is_an_object_or_an_array(caller: Caller) -> None:
    single = (await caller.call("GET", f"subscriptions/{ACCOUNT}")).json()
    caller.fault("subscriptions_array")

    assert single["locType"] == "TS-LOC-COARSE-CellID-5K"
    assert (await caller.call("GET", f"subscriptions/{ACCOUNT}")).json() == [single]


async def test_usage_counts_fixes_over_the_network(caller: Caller) -> None:
    await caller.locate(caller.device(0), caller.device(1), cacheMode="2")

    answer = (await usage(caller)).json()

    assert answer["totalTransactionCount"] == answer["PrimaryAccount"]["transactionsCount"] == "2"
    assert answer["usageForAllAcounts"] is False


async def test_a_member_of_the_usage_can_be_spelt_right(caller: Caller) -> None:
    caller.fault("usage_spelt_right")

    assert (await usage(caller, usageForAllAccounts=True)).json()["usageForAllAccounts"] is True


@pytest.mark.parametrize("dates", [{"startDate": "2024-05-01"}, {"endDate": "04-01-2024"}, {"endDate": None}])
async def test_dates_are_american_and_in_order(caller: Caller, dates: dict[str, Any]) -> None:
    assert (await usage(caller, **dates)).status_code == 400


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_other_paths_are_no_resource_of_the_gateway(caller: Caller, method: str) -> None:
    answer = await caller.call(method, "nothing/here")

    assert (answer.status_code, answer.json()["fault"]["code"]) == (400, "900906")
