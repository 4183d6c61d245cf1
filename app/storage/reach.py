"""The reach of an API key, as conditions on the tables."""

from collections.abc import Callable

from sqlalchemy import ColumnElement, and_, exists, false, func, or_
from sqlalchemy.orm import aliased

from app.caller import Reach
from app.storage import tallies
from app.storage.flags import of_own_account
from app.storage.tables import AliasRow, DeviceRow, SessionDeviceRow, SessionRow

MARKS = "^(mdn|name):"
"""How device keys begin that are no identifiers."""


def reports_within(reach: Reach, add: Callable[[object], str], *, of: str) -> list[str]:
    """List what holds for rows of reports within reach; as `within`.

    What came to the address of another account than it names cannot be assigned to either, and is for those that may
    see everything.
    """
    if reach.is_everything:
        return []
    return [of_own_account(f"{of}.flags"), *within(reach, add, of=of)]


def within(reach: Reach, add: Callable[[object], str], *, of: str) -> list[str]:
    """List what holds for rows of reports or positions within reach; what has no account is out of it.

    A device is known by its identifier and by the MDN beside it, by its name only where it has neither. Where the key
    names identifiers, they decide: a number can have belonged to another device.

    Args:
        add: Takes an argument of the statement, and returns what stands for it.
        of: The alias of the table.
    """
    conditions = []
    if reach.accounts is not None:
        conditions.append(f"{of}.account = ANY ({add(sorted(reach.accounts))}::text[])")
    if reach.pattern is not None:
        pattern = f"{add(reach.pattern)}::text"
        by_key = f"({of}.device <> '' AND regexp_replace({of}.device, '{MARKS}', '') ~ {pattern})"
        by_mdn = f"({of}.mdn IS NOT NULL AND {of}.mdn ~ {pattern})"
        conditions.append(by_key if reach.names_ids else f"({by_key} OR {by_mdn})")
    return conditions


def devices_within(reach: Reach, of: type[DeviceRow] = DeviceRow) -> list[ColumnElement[bool]]:
    """List what holds for registered devices within reach, by the rules of `within`.

    Args:
        of: The table, or an alias of it.
    """
    conditions: list[ColumnElement[bool]] = []
    if reach.accounts is not None:
        conditions.append(of.account.in_(sorted(reach.accounts)))
    if reach.pattern is not None:
        by_key = func.regexp_replace(of.device, MARKS, "").regexp_match(reach.pattern)
        by_mdn = func.coalesce(of.mdn.regexp_match(reach.pattern), false())
        conditions.append(by_key if reach.names_ids else or_(by_key, by_mdn))
    return conditions


def sessions_within(reach: Reach) -> list[ColumnElement[bool]]:
    """List what holds for sessions within reach: of their account, and of every one of their devices.

    Whether devices that an erasure has removed from a session were within reach is no longer known.
    """
    conditions: list[ColumnElement[bool]] = []
    if reach.accounts is not None:
        conditions.append(SessionRow.account.in_(sorted(reach.accounts)))
    if reach.pattern is not None:
        # An alias, because the statement around it may read the devices of sessions as well.
        device = aliased(SessionDeviceRow)
        is_foreign = ~_is_within(device, reach, reach.pattern)
        is_whole = tallies.devices() == SessionRow.devices_total
        conditions += [is_whole, ~exists().where(device.session_id == SessionRow.id, is_foreign)]
    return conditions


def _is_within(device: type[SessionDeviceRow], reach: Reach, pattern: str) -> ColumnElement[bool]:
    by_id = device.device.regexp_match(pattern)
    if reach.names_ids:
        return by_id
    # The number may be what a caller has put beside the identifier; it counts while the provider stands by it.
    is_vouched = exists().where(
        AliasRow.account == SessionRow.account, AliasRow.device == device.device, AliasRow.mdn == device.mdn
    )
    by_mdn = func.coalesce(device.mdn.regexp_match(pattern), false())
    return or_(by_id, and_(by_mdn, is_vouched))
