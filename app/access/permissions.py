"""What a caller's key allows: locating a device, starting a session, seeing what belongs to an account."""

from collections.abc import Iterable

from msgspec.structs import replace

from app.caller import Caller, Reach
from app.errors import FieldError, PermissionDenied
from app.model import AccountName, LocationQuery, PeriodicPlan

_MOST_SHOWN = 100
_NOT_THIS_ACCOUNT = "This API key may not see this account."
_NOT_THIS_DEVICE = "this API key may not locate this device, or not under this number"


def permitted_query(query: LocationQuery, reach: Reach, defaults: Iterable[AccountName]) -> LocationQuery:
    """Return the question with the account that the caller means, if the key decides it.

    Args:
        reach: What the caller's key may see.
        defaults: The accounts that providers use for questions which name none.

    Raises:
        PermissionDenied: The account or the device is out of the caller's reach.
    """
    if reach.is_everything:
        return query
    device = query.device
    if not reach.has_device(device):
        raise _out_of_reach("/device", "This API key may not locate this device, or not under this number.")
    if device.account is None and reach.only_account is not None:
        device = replace(device, account=reach.only_account)
        return replace(query, device=device)
    if device.account is not None and not reach.has_account(device.account):
        raise _out_of_reach("/device/account", _NOT_THIS_ACCOUNT)
    is_for_default = device.account is None and (device.id or device.mdn)
    if is_for_default and not all(reach.has_account(account) for account in defaults):
        raise _out_of_reach("/device/account", "Name one of the accounts that this API key may see.")
    return query


def check_plan(plan: PeriodicPlan, caller: Caller) -> None:
    """Refuse a plan that goes beyond what a caller may do.

    Raises:
        PermissionDenied: The account or a device is out of reach, or it may not go on without an end.
    """
    if not caller.reach.has_account(plan.account):
        raise _out_of_reach("/account", _NOT_THIS_ACCOUNT)
    foreign = [place for place, device in enumerate(plan.devices) if not caller.reach.has_device(device)]
    if foreign:
        fields = [_field(f"/devices/{place}", _NOT_THIS_DEVICE) for place in foreign[:_MOST_SHOWN]]
        raise PermissionDenied("This API key may not locate all of these devices.", errors=tuple(fields))
    if plan.count is None and "periodic:unlimited" not in caller.scopes:
        raise PermissionDenied("An unlimited session needs an API key with the scope `periodic:unlimited`.")
    if plan.count is None and caller.daily_fixes is not None:
        raise PermissionDenied("This API key has a daily budget, which an unlimited session could exceed.")


def check_account(caller: Caller, account: str) -> None:
    """Refuse an account that is out of a caller's reach.

    Raises:
        PermissionDenied: It is.
    """
    if not caller.reach.has_account(account):
        raise PermissionDenied(_NOT_THIS_ACCOUNT)


def check_sees_all_devices(caller: Caller) -> None:
    """Refuse callers who may see only some devices what concerns whole accounts: raw callbacks, and listeners.

    Raises:
        PermissionDenied: The caller's key is restricted to some devices.
    """
    if caller.reach.devices is not None:
        raise PermissionDenied("This API key is restricted to some devices, and this is about others as well.")


def check_whole_account(caller: Caller, account: str) -> None:
    """Refuse what concerns an account as a whole to callers who may not see all of it.

    Raises:
        PermissionDenied: The account is out of reach, or some of its devices are.
    """
    check_account(caller, account)
    check_sees_all_devices(caller)


def check_unrestricted(caller: Caller) -> None:
    """Refuse what concerns everybody to callers who may not see everything.

    Raises:
        PermissionDenied: The caller's key is restricted to some accounts or devices.
    """
    if not caller.reach.is_everything:
        raise PermissionDenied("This API key is restricted to some accounts or devices, and this concerns all of them.")


def _out_of_reach(pointer: str, detail: str) -> PermissionDenied:
    return PermissionDenied(detail, errors=(_field(pointer, "is out of the reach of this API key"),))


def _field(pointer: str, detail: str) -> FieldError:
    return FieldError(pointer=pointer, code="OUT_OF_REACH", detail=detail)
