"""Whether a key may ask about a device, and for which account."""

from collections.abc import Iterable

from msgspec.structs import replace

from app.caller import Reach
from app.errors import FieldError, PermissionDenied
from app.model import AccountName, LocationQuery


def permitted(query: LocationQuery, reach: Reach, defaults: Iterable[AccountName]) -> LocationQuery:
    """Give the question with the account that the caller means, where that is a matter of his key.

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
        raise _out_of_reach("/device/account", "This API key may not see this account.")
    is_for_default = device.account is None and (device.id or device.mdn)
    if is_for_default and not all(reach.has_account(account) for account in defaults):
        raise _out_of_reach("/device/account", "Name one of the accounts that this API key may see.")
    return query


def _out_of_reach(pointer: str, detail: str) -> PermissionDenied:
    field = FieldError(pointer=pointer, code="OUT_OF_REACH", detail="is out of the reach of this API key")
    return PermissionDenied(detail, errors=(field,))
