"""Location reports: many devices, answered in pages once the report is complete."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from app.simulator.state import State
from app.simulator.vendors.thingspace.agenda import Agenda
from app.simulator.vendors.thingspace.answers import reply
from app.simulator.vendors.thingspace.calls import check_account, check_devices, check_tokens, read_call
from app.simulator.vendors.thingspace.delivery import Callback, Delivery
from app.simulator.vendors.thingspace.errors import service_error
from app.simulator.vendors.thingspace.listeners import REPORTS
from app.simulator.vendors.thingspace.locations import CACHED, check_modes, locate_once
from app.simulator.vendors.thingspace.messages import Message
from app.simulator.vendors.thingspace.routing import LOCATION, route
from app.simulator.vendors.thingspace.wire import name_transaction, new_transaction, to_element
from app.simulator.world.world import SimulatedDevice

_PATH = f"{LOCATION}/locationreports"
_ONE = f"{_PATH}/{{account}}/report/{{transaction}}"
_MOST_DEVICES = 10_000
_PAGE = 1000
_KEPT = timedelta(days=30)
_QUEUED = timedelta(seconds=10)
_WORK_PER_DEVICE = timedelta(seconds=0.05)
_COMPLETED = "COMPLETED"


@dataclass(slots=True, kw_only=True)
class LocationReport:
    """One report; complete from the start when only the cache was asked."""

    transaction: str
    account: str
    cache_mode: str
    devices: list[SimulatedDevice]
    asked_at: datetime
    elements: list[dict[str, Any]] | None = None

    @property
    def begins_at(self) -> datetime:
        """When the work on the report begins."""
        return self.asked_at if self.cache_mode == CACHED else self.asked_at + _QUEUED

    @property
    def ends_at(self) -> datetime:
        """When the report is complete."""
        return self.begins_at if self.cache_mode == CACHED else self.begins_at + len(self.devices) * _WORK_PER_DEVICE

    def status_at(self, at: datetime) -> str:
        """Return how far the report is at that instant."""
        if at >= self.ends_at:
            return _COMPLETED
        return "INPROGRESS" if at >= self.begins_at else "QUEUED"


class LocationReports:
    """The reports of the last thirty days."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._reports: dict[str, LocationReport] = {}

    def add(self, report: LocationReport) -> None:
        """Begin a report."""
        self._reports[report.transaction.strip()] = report

    def find(self, account: str, transaction: str) -> LocationReport:
        """Return a report of this account that is not too old."""
        report = self._reports.get(transaction.strip())
        if report is None or report.account != account or self._state.clock.now() - report.asked_at > _KEPT:
            raise service_error("No such location report")
        return report

    def cancel(self, report: LocationReport) -> None:
        """Give up a report on which no work has begun."""
        if report.status_at(self._state.clock.now()) != "QUEUED":
            raise service_error("Unable to Cancel")
        del self._reports[report.transaction.strip()]

    def results(self, report: LocationReport) -> list[dict[str, Any]]:
        """Return the results in the order of the request; found, and billed, once."""
        if report.elements is None:
            report.elements = [
                to_element(self._state, device, locate_once(self._state, device, report.cache_mode), qos=False)
                for device in report.devices
            ]
        return report.elements

    async def complete(self, report: LocationReport) -> None:
        """Locate the devices of a report and tell the listener, unless it was cancelled."""
        if self._reports.get(report.transaction.strip()) is not report:
            return
        self.results(report)
        callback = Callback(account=report.account, service=REPORTS, identifiers=(), write=partial(self._write, report))
        await self._state.part(Delivery).send(callback)

    def _write(self, report: LocationReport) -> Message:
        named = name_transaction(self._state, "txid", report.transaction, account=report.account)
        return {"accountName": report.account, "status": _COMPLETED} | named


def routes(state: State) -> list[BaseRoute]:
    """List the routes of the reports."""
    return [
        route(state, "POST", _PATH, _create),
        route(state, "GET", f"{_ONE}/status", _show_status),
        route(state, "GET", f"{_ONE}/index/{{start}}", _show_page),
        route(state, "DELETE", _ONE, _cancel),
    ]


async def _create(state: State, request: Request) -> Response:
    body = await read_call(state, request)
    account = check_account(state, body.get("accountName"))
    cache_mode = check_modes(body, accuracies="0")
    devices = check_devices(state, account, body.get("deviceList"), most=_MOST_DEVICES)
    now = state.clock.now()
    report = LocationReport(
        transaction=new_transaction(state, account),
        account=account,
        cache_mode=cache_mode,
        devices=devices,
        asked_at=now,
    )
    reports = state.part(LocationReports)
    reports.add(report)
    answer = name_transaction(state, "txid", report.transaction, account=account) | {"status": report.status_at(now)}
    if cache_mode == CACHED:
        reports.results(report)
    else:
        answer["estimatedDuration"] = str(1 + int((report.ends_at - now).total_seconds() // 60))
        state.part(Agenda).after((report.ends_at - now).total_seconds(), partial(reports.complete, report))
    return reply(answer)


def _find(state: State, request: Request) -> LocationReport:
    check_tokens(state, request)
    account = check_account(state, request.path_params["account"])
    return state.part(LocationReports).find(account, request.path_params["transaction"])


async def _show_status(state: State, request: Request) -> Response:
    report = _find(state, request)
    named = name_transaction(state, "txid", report.transaction, account=report.account)
    return reply(named | {"status": report.status_at(state.clock.now())})


async def _show_page(state: State, request: Request) -> Response:
    report, start = _find(state, request), request.path_params["start"]
    if not start.isdecimal():
        raise service_error("The start index must be a whole number")
    if report.status_at(state.clock.now()) != _COMPLETED:
        raise service_error("The location report is not complete")
    results, first = state.part(LocationReports).results(report), int(start)
    total = str(len(results)) if state.spells("numbers_as_strings", account=report.account) else len(results)
    named = name_transaction(state, "txid", report.transaction, account=report.account)
    return reply(
        {"startIndex": start}
        | named
        | {
            "totalCount": total,
            "hasMoreData": first + _PAGE < len(results),
            "devLocationList": results[first : first + _PAGE],
        }
    )


async def _cancel(state: State, request: Request) -> Response:
    report = _find(state, request)
    state.part(LocationReports).cancel(report)
    return reply(name_transaction(state, "txid", report.transaction, account=report.account))
