"""The bodies of callbacks, in every spelling that the vendor's pages show."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from app.simulator.state import State
from app.simulator.vendors.thingspace.fixes import Outcome, SimulatedFix
from app.simulator.vendors.thingspace.identifiers import Identifiers
from app.simulator.vendors.thingspace.wire import name_transaction, to_element, to_error, to_position
from app.simulator.world.world import SimulatedDevice

FAULTS = {
    "transaction_unknown": "ThingSpace callback: a transaction that nobody has begun",
    "transaction_absent": "ThingSpace callback: no transaction, as for fixes that the device began itself",
    "callback_account_unknown": "ThingSpace callback: the name of an account that does not exist",
    "callback_device_unknown": "ThingSpace callback: a device that does not exist",
    "callback_old_style": "ThingSpace callback: devices shaped as in the synchronous answer, with msid and pd",
    "report_type_unknown": "ThingSpace callback: the reportType is `value` (NEW_KIND_OF_REPORT by default)",
}

_NOBODY = {"id": "990009999999990", "mdn": "9995550199"}
_NO_ACCOUNT = "9999999999-99999"

Found = Sequence[tuple[SimulatedDevice, Outcome]]
Message = dict[str, Any]


def location_report(state: State, account: str, transaction: str | None, found: Found) -> Message:
    """Write what was found of one device or of several; without a transaction, the devices began it themselves."""
    has_failed = any(not isinstance(outcome, SimulatedFix) for _, outcome in found)
    message = {
        "accountName": account,
        "deviceList": [_reported(state, device, outcome) for device, outcome in found],
        "reportType": "LOCATION_REPORT",
        "status": "FAILED" if has_failed else "SUCCESS",
    }
    if transaction is not None:
        message |= name_transaction(state, "transactionID", transaction, account=account)
    return _disturb(state, message, account, found[0][0])


def stop_response(state: State, account: str, transaction: str, device: SimulatedDevice) -> Message:
    """Write that the fixes of one device have come to an end."""
    spells = partial(state.spells, device=device.identifiers, account=account)
    element = {"id": device.imei, "mdn": device.mdn}
    if spells("stop_by_id"):
        element = {"kind": _kind(state, device), "id": device.imei}
    elif spells("stop_by_mdn"):
        element = {"mdn": device.mdn}
    message = {"deviceList": [element], "reportType": "STOP_PERIODIC_LOCATION_RESPONSE"}
    return _announce(state, account, transaction, device, message)


def consent_response(state: State, account: str, transaction: str, device: SimulatedDevice, level: int) -> Message:
    """Write what the consent of one device is now; the shape is a guess, for no page shows one."""
    element = {"id": device.imei, "kind": _kind(state, device), "mdn": device.mdn, "consent": level}
    message = {"deviceList": [element], "reportType": "CONSENT_RESPONSE"}
    return _announce(state, account, transaction, device, message)


def _announce(state: State, account: str, transaction: str, device: SimulatedDevice, message: Message) -> Message:
    named = name_transaction(state, "transactionID", transaction, account=account)
    return _disturb(state, {"accountName": account, "status": "SUCCESS"} | message | named, account, device)


def _reported(state: State, device: SimulatedDevice, outcome: Outcome) -> Message:
    spells = partial(state.spells, device=device.identifiers, account=device.account)
    if state.faults.take("callback_old_style", device=device.identifiers, account=device.account):
        return to_element(state, device, outcome, qos="false")
    element: Message = {"id": device.imei, "kind": _kind(state, device), "mdn": device.mdn}
    if spells("no_mdn"):
        del element["mdn"]
    is_found = isinstance(outcome, SimulatedFix)
    if isinstance(outcome, SimulatedFix):
        position = to_position(state, device, outcome)
        location_type = {"locationType": "0" if outcome.is_cached else "1"}
        beside = spells("location_type_beside")
        element |= {"positionData": position if beside else position | location_type}
        element |= location_type if beside else {}
    else:
        element["error"] = to_error(outcome)
    if spells("empty_as_object"):
        element["error" if is_found else "positionData"] = {}
    elif spells("empty_as_null"):
        element["error" if is_found else "positionData"] = None
    return element


def _kind(state: State, device: SimulatedDevice) -> str:
    is_lower = state.spells("kind_lower_case", device=device.identifiers, account=device.account)
    return "imei" if is_lower else "IMEI"


def _disturb(state: State, message: Message, account: str, device: SimulatedDevice) -> Message:
    """Change what concerns the whole message."""
    take = partial(state.faults.take, device=device.identifiers, account=account)
    if state.spells("status_contradicts", device=device.identifiers, account=account):
        message["status"] = "SUCCESS" if message["status"] == "FAILED" else "FAILED"
    names = [name for name in ("transactionID", "txid", "transactionId") if name in message]
    if names and take("transaction_unknown"):
        message[names[0]] = state.part(Identifiers).guid("unknown transaction")
    if names and take("transaction_absent"):
        del message[names[0]]
    if take("callback_account_unknown"):
        message["accountName"] = _NO_ACCOUNT
    if take("callback_device_unknown"):
        message["deviceList"] = [element | _NOBODY for element in message["deviceList"]]
    if fault := take("report_type_unknown"):
        message["reportType"] = str(fault.value or "NEW_KIND_OF_REPORT")
    return message
