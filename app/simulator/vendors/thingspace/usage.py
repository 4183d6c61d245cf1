"""Subscription and usage of an account's location service."""

from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from app.simulator.state import State
from app.simulator.vendors.thingspace.answers import reply
from app.simulator.vendors.thingspace.calls import check_account, check_tokens, read_call
from app.simulator.vendors.thingspace.errors import service_error
from app.simulator.vendors.thingspace.routing import LOCATION, route

_ALLOWANCE = "5000"
_PURCHASED = "2024-05-01 11:40:02.318 +0000 UTC"


def routes(state: State) -> list[BaseRoute]:
    """List the routes of subscription and usage."""
    return [
        route(state, "GET", f"{LOCATION}/subscriptions/{{account}}", _show_subscription),
        route(state, "POST", f"{LOCATION}/usage", _show_usage),
    ]


async def _show_subscription(state: State, request: Request) -> Response:
    check_tokens(state, request)
    account = check_account(state, request.path_params["account"])
    subscription = {
        "accountName": account,
        "locType": "TS-LOC-COARSE-CellID-5K",
        "maxAllowance": _ALLOWANCE,
        "purchaseTime": _PURCHASED,
    }
    return reply([subscription] if state.spells("subscriptions_array", account=account) else subscription)


async def _show_usage(state: State, request: Request) -> Response:
    body = await read_call(state, request)
    account = check_account(state, body.get("accountName"))
    if _to_date(body.get("startDate")) > _to_date(body.get("endDate")):
        raise service_error("The startDate is after the endDate")
    count = str(state.counters.count("thingspace.fixes.billed"))
    is_spelt_right = state.spells("usage_spelt_right", account=account)
    return reply(
        {
            "accountName": account,
            "usageForAllAccounts" if is_spelt_right else "usageForAllAcounts": body.get("usageForAllAccounts") is True,
            "skuName": "TS-LOC-COARSE-CellID-Aggr",
            "transactionsAllowed": _ALLOWANCE,
            "totalTransactionCount": count,
            "PrimaryAccount": {"accountName": account, "transactionsCount": count},
            "ManagedAccounts": [],
        }
    )


def _to_date(given: Any) -> datetime:
    try:
        return datetime.strptime(str(given), "%m-%d-%Y").replace(tzinfo=UTC)
    except ValueError:
        raise service_error("Dates must be written mm-dd-yyyy") from None
