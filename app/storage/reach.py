"""What is within a key's reach, as conditions on the tables."""

from collections.abc import Callable

from sqlalchemy import ColumnElement, and_, exists, or_

from app.caller import Reach
from app.storage.tables import SessionDeviceRow, SessionRow

MARKS = "^(mdn|name):"
"""How device keys begin that are no identifiers."""


def within(reach: Reach, add: Callable[[object], str], *, of: str) -> list[str]:
    """List what holds for rows of reports or positions within reach; what has no account is out of it.

    A device is known by its identifier and by the MDN beside it, by its name only where it has neither.

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
        conditions.append(f"({by_key} OR ({of}.mdn IS NOT NULL AND {of}.mdn ~ {pattern}))")
    return conditions


def sessions_within(reach: Reach) -> list[ColumnElement[bool]]:
    """List what holds for sessions within reach: of their account, and of every one of their devices."""
    conditions: list[ColumnElement[bool]] = []
    if reach.accounts is not None:
        conditions.append(SessionRow.account.in_(sorted(reach.accounts)))
    if reach.pattern is not None:
        by_mdn = and_(SessionDeviceRow.mdn.is_not(None), SessionDeviceRow.mdn.regexp_match(reach.pattern))
        allowed = or_(SessionDeviceRow.device.regexp_match(reach.pattern), by_mdn)
        conditions.append(~exists().where(SessionDeviceRow.session_id == SessionRow.id, ~allowed))
    return conditions
