"""Subscription and usage of an account's location service."""

from datetime import UTC, date, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from app.simulator.state import State
from app.simulator.vendors.thingspace.answers import reply
from app.simulator.vendors.thingspace.billing import ALLOWANCE, BilledFixes
from app.simulator.vendors.thingspace.calls import check_account, check_tokens, read_call
from app.simulator.vendors.thingspace.errors import service_error
from app.simulator.vendors.thingspace.routing import LOCATION, route

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
        "maxAllowance": str(ALLOWANCE),
        "purchaseTime": _PURCHASED,
    }
    return reply([subscription] if state.spells("subscriptions_array", account=account) else subscription)


async def _show_usage(state: State, request: Request) -> Response:
    body = await read_call(state, request)
    account = check_account(state, body.get("accountName"))
    first, last = _to_date(body.get("startDate")), _to_date(body.get("endDate"))
    if first > last:
        raise service_error("The startDate is after the endDate")
    counts = {one: state.part(BilledFixes).between(one, first, last) for one in state.world.accounts}
    is_for_all = body.get("usageForAllAccounts") is True
    managed = [one for one in state.world.accounts if one != account and is_for_all]
    total = counts[account] + sum(counts[one] for one in managed)
    is_spelt_right = state.spells("usage_spelt_right", account=account)
    return reply(
        {
            "accountName": account,
            "usageForAllAccounts" if is_spelt_right else "usageForAllAcounts": is_for_all,
            "skuName": "TS-LOC-COARSE-CellID-Aggr",
            "transactionsAllowed": str(ALLOWANCE),
            "totalTransactionCount": str(total),
            "PrimaryAccount": {"accountName": account, "transactionsCount": str(counts[account])},
            "ManagedAccounts": [{"accountName": one, "transactionsCount": str(counts[one])} for one in managed],
        }
    )


def _to_date(given: Any) -> date:
    try:
        return datetime.strptime(str(given), "%m-%d-%Y").replace(tzinfo=UTC).date()
    except ValueError:
        raise service_error("Dates must be written mm-dd-yyyy") from None
