"""Usage triggers of the subscription service (reference, section 11.4): alarms at a share of the allowance."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from app.simulator.state import State
from app.simulator.vendors.thingspace.answers import reply
from app.simulator.vendors.thingspace.billing import ALLOWANCE, BilledFixes
from app.simulator.vendors.thingspace.calls import check_account, check_tokens, read_call
from app.simulator.vendors.thingspace.delivery import Callback, Delivery
from app.simulator.vendors.thingspace.errors import service_error
from app.simulator.vendors.thingspace.identifiers import Identifiers
from app.simulator.vendors.thingspace.listeners import REPORTS
from app.simulator.vendors.thingspace.messages import Message
from app.simulator.vendors.thingspace.routing import CONTROL, SUBSCRIPTION, route

_TRIGGERS = f"{SUBSCRIPTION}/usage/triggers"
_OPTIONAL = (
    "triggerName", "allowExcess", "sendSmsNotification", "smsPhoneNumbers", "sendEmailNotification", "emailAddresses",
)  # fmt: skip


@dataclass(slots=True)
class Trigger:
    """One alarm; `fired_in` is the month in which it was sent last."""

    account: str
    threshold_percent: int
    created: str
    updated: str
    details: dict[str, Any] = field(default_factory=dict)
    fired_in: date | None = None


class Triggers:
    """The alarms of all accounts."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.by_id: dict[str, Trigger] = {}

    async def check(self) -> int:
        """Do the vendor's daily check: send the alarms that are due, once a month each; return how many were sent."""
        today = self._state.clock.now().date()
        month = today.replace(day=1)
        sent = 0
        for trigger_id, trigger in self.by_id.items():
            used = self._state.part(BilledFixes).between(trigger.account, month, today)
            if trigger.fired_in == month or 100 * used < trigger.threshold_percent * ALLOWANCE:
                continue
            trigger.fired_in = month
            write = partial(_to_message, trigger_id, trigger, used)
            await self._state.part(Delivery).send(
                Callback(account=trigger.account, service=REPORTS, identifiers=(), write=write)
            )
            sent += 1
        return sent


def routes(state: State) -> list[BaseRoute]:
    """List the routes of the triggers, and the one that lets the daily check happen now."""
    return [
        route(state, "POST", _TRIGGERS, _create),
        route(state, "POST", f"{_TRIGGERS}/{{trigger}}", _update),
        route(state, "DELETE", f"{SUBSCRIPTION}/usage/accounts/{{account}}/triggers/{{trigger}}", _delete),
        route(state, "POST", f"{CONTROL}/usage-check", _check),
    ]


async def _create(state: State, request: Request) -> Response:
    body = await read_call(state, request)
    account = check_account(state, body.get("accountName"))
    if str(body.get("serviceName", "")).lower() != "location":
        raise service_error("The serviceName must be location")
    now = f"{state.clock.now():%Y-%m-%d %H:%M:%S.%f +0000 UTC}"
    trigger = Trigger(account, _to_percent(body), now, now, _details(body))
    trigger_id = state.part(Identifiers).guid("trigger")
    state.part(Triggers).by_id[trigger_id] = trigger
    return reply(_to_answer(trigger_id, trigger))


async def _update(state: State, request: Request) -> Response:
    body = await read_call(state, request)
    trigger_id, trigger = _find(state, request)
    if "thresholdValue" in body:
        trigger.threshold_percent = _to_percent(body)
    trigger.details |= _details(body)
    trigger.updated = f"{state.clock.now():%Y-%m-%d %H:%M:%S.%f +0000 UTC}"
    return reply(_to_answer(trigger_id, trigger))


async def _delete(state: State, request: Request) -> Response:
    check_tokens(state, request)
    account = check_account(state, request.path_params["account"])
    trigger_id, trigger = _find(state, request)
    if trigger.account != account:
        raise service_error("No such trigger")
    del state.part(Triggers).by_id[trigger_id]
    return reply({"success": True})


async def _check(state: State, _: Request) -> Response:
    return reply({"sent": await state.part(Triggers).check()})


def _find(state: State, request: Request) -> tuple[str, Trigger]:
    trigger_id = request.path_params["trigger"]
    trigger = state.part(Triggers).by_id.get(trigger_id)
    if trigger is None:
        raise service_error("No such trigger")
    return trigger_id, trigger


def _to_percent(body: Mapping[str, Any]) -> int:
    given = str(body.get("thresholdValue", ""))
    if not given.isdecimal() or not 1 <= int(given) <= 100:  # noqa: PLR2004 percent
        raise service_error("The thresholdValue must be a percentage")
    return int(given)


def _details(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: body[name] for name in _OPTIONAL if name in body}


def _to_answer(trigger_id: str, trigger: Trigger) -> dict[str, Any]:
    return {
        "triggerId": trigger_id,
        "accountName": trigger.account,
        "serviceName": "location",
        "thresholdValue": str(trigger.threshold_percent),
        **trigger.details,
        "createDate": trigger.created,
        "updateDate": trigger.updated,
    }


def _to_message(trigger_id: str, trigger: Trigger, used: int) -> Message:
    """Write the alarm; its shape is not documented (reference, section 9.4)."""
    return {
        "accountName": trigger.account,
        "serviceName": "location",
        "triggerId": trigger_id,
        "thresholdValue": str(trigger.threshold_percent),
        "transactionsCount": str(used),
        "status": "SUCCESS",
    }
