"""Positions, errors and transaction ids as ThingSpace writes them, in every spelling its pages show."""

import re
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from app.simulator.faults import Fault
from app.simulator.state import State
from app.simulator.vendors.thingspace.fixes import Failure, Outcome, SimulatedFix
from app.simulator.vendors.thingspace.identifiers import Identifiers
from app.simulator.world.world import SimulatedDevice

FAULTS = {
    "axes_swapped": "ThingSpace position: x holds the longitude and y the latitude",
    "out_of_range": "ThingSpace position: x and y lie beyond the poles and the date line",
    "coordinates_missing": "ThingSpace position: neither x nor y",
    "radius_zero": "ThingSpace position: a radius of 0",
    "radius_absent": "ThingSpace position: no radius",
    "utcoffset": 'ThingSpace position: local time with utcoffset `value` ("-0500" by default; or +hh:mm, +hh, minutes)',
    "time_broken": 'ThingSpace position: the time is `value` ("2024-05-17 noon" by default)',
    "time_absent": "ThingSpace position: no time",
}
_OFFSET = re.compile(r"(?P<sign>[+-])(?P<hours>\d{2}):?(?P<minutes>\d{2})?")


def to_stamp(at: datetime) -> str:
    """Write an instant as a position states it."""
    return at.strftime("%Y%m%d%H%M%S")


def to_position(state: State, device: SimulatedDevice, fix: SimulatedFix) -> dict[str, Any]:
    """Write the members of a position, with what is asked to be wrong with it."""
    members: dict[str, Any] = {
        "time": to_stamp(fix.at),
        "x": str(fix.position.latitude),
        "y": str(fix.position.longitude),
        "radius": str(fix.radius_m),
    }
    identifiers = device.identifiers
    for name in FAULTS:
        if fault := state.faults.take(name, device=identifiers, account=device.account):
            _distort(members, fix, fault)
    if state.spells("numbers_as_numbers", device=identifiers, account=device.account):
        members |= {name: float(members[name]) for name in ("x", "y") if name in members}
        members |= {name: int(members[name]) for name in ("radius",) if name in members}
    return members


def to_error(failure: Failure) -> dict[str, Any]:
    """Write the members of an error."""
    return {"time": to_stamp(failure.at), "type": failure.type, "info": failure.info}


def to_element(state: State, device: SimulatedDevice, outcome: Outcome, *, qos: str | bool) -> dict[str, Any]:
    """Write one device's result as the synchronous call and the reports do: by MDN, with empty objects for nothing."""
    spells = partial(state.spells, device=device.identifiers, account=device.account)
    if spells("qos_flipped"):
        qos = False if isinstance(qos, str) else "false"
    element: dict[str, Any] = {"msid": device.mdn, "pd": {}, "error": {}}
    if isinstance(outcome, SimulatedFix):
        element["pd"] = to_position(state, device, outcome) | {"qos": qos}
    else:
        element["error"] = to_error(outcome)
    if spells("empty_as_null"):
        element = {name: value or None for name, value in element.items()}
    if spells("empty_omitted"):
        element = {name: value for name, value in element.items() if value}
    return element


def new_transaction(state: State, account: str) -> str:
    """Return a new transaction id: a UUID, or what some of the vendor's samples show instead."""
    guid = state.part(Identifiers).guid("transaction")
    return f"{state.clock.now():%Y-%m-%d}T{guid} " if state.spells("transaction_id_padded", account=account) else guid


def name_transaction(state: State, usual: str, transaction: str, *, account: str | None = None) -> dict[str, str]:
    """Write a transaction id under the name that is usual in this place, or under the one asked for."""
    names = {
        "txid_everywhere": "txid",
        "transaction_id_lower_d": "transactionId",
        "transaction_id_upper_d": "transactionID",
    }
    for spelling, name in names.items():
        if state.spells(spelling, account=account):
            return {name: transaction}
    return {usual: transaction}


def _distort(members: dict[str, Any], fix: SimulatedFix, fault: Fault) -> None:
    match fault.name:
        case "axes_swapped":
            members["x"], members["y"] = members["y"], members["x"]
        case "out_of_range":
            members["x"], members["y"] = "95.5", "-190.25"
        case "coordinates_missing":
            del members["x"], members["y"]
        case "radius_zero":
            members["radius"] = "0"
        case "radius_absent":
            del members["radius"]
        case "utcoffset":
            offset = str(fault.value or "-0500")
            members |= {"time": to_stamp(fix.at + _to_delta(offset)), "utcoffset": offset}
        case "time_broken":
            members["time"] = "2024-05-17 noon" if fault.value is None else fault.value
        case "time_absent":
            del members["time"]


def _to_delta(offset: str) -> timedelta:
    """Read ±hhmm, ±hh:mm, ±hh or minutes; anything else is no offset, but is written nevertheless."""
    if offset.lstrip("-").isdecimal() and _OFFSET.fullmatch(offset) is None:
        return timedelta(minutes=int(offset))
    if (found := _OFFSET.fullmatch(offset)) is None:
        return timedelta(0)
    delta = timedelta(hours=int(found["hours"]), minutes=int(found["minutes"] or 0))
    return -delta if found["sign"] == "-" else delta
