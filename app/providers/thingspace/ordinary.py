"""The shortest way from an ordinary callback to its report: one device, a position, everything as documented.

Nearly all callbacks are like this, and bursts of thousands have to be taken in. What is not ordinary in any respect is
left to `reports`, which reads everything; a property test holds the two together.
"""

from datetime import datetime
from typing import TypeGuard

from app.model import AccountName, Device, Fix, Mdn, Report, TransactionId
from app.providers.thingspace.mapping import FARTHEST_EAST, FARTHEST_NORTH, LONGEST_IDENTIFIER, to_accuracy_m
from app.providers.thingspace.settings import NAME
from app.providers.thingspace.wire import Callback, to_json

_IMEI_DIGITS = 15
_MDN_DIGITS = 10
_TIME_DIGITS = 14
_LONGEST_KEY = 512


def to_ordinary_report(message: Callback) -> Report | None:  # noqa: PLR0911 -- each return is one reason
    """Make the report of an ordinary callback; None for any other."""
    if message.report_type != "LOCATION_REPORT" or message.status != "SUCCESS" or len(message.device_list) != 1:
        return None
    (entry,) = message.device_list
    position, account, transaction = entry.position, message.account_name, message.transaction_id
    if position is None or entry.error is not None or position.utcoffset is not None:
        return None
    imei, mdn = entry.id, entry.mdn
    location_type = position.location_type if position.location_type is not None else entry.location_type
    if not (
        _is_plain(imei, _IMEI_DIGITS)
        and _is_plain(mdn, _MDN_DIGITS)
        and _is_plain(position.time, _TIME_DIGITS)
        and entry.kind in ("IMEI", "imei")
        and location_type in ("0", "1", None)
        and _is_tidy(account)
        and _is_tidy(transaction)
        and isinstance(position.x, str)
        and isinstance(position.y, str)
        and "_" not in position.x
        and "_" not in position.y
    ):
        return None
    try:
        latitude_deg, longitude_deg = float(position.x), float(position.y)
        said_at = datetime.fromisoformat(f"{position.time[:8]}T{position.time[8:]}+00:00")
    except ValueError:
        return None
    # Written so that NaN, which compares with nothing, is out of range too.
    if not (abs(latitude_deg) <= FARTHEST_NORTH and abs(longitude_deg) <= FARTHEST_EAST):
        return None
    # Zero is added because -0.0 and 0.0 are equal, and written differently.
    where = (repr(latitude_deg + 0.0), repr(longitude_deg + 0.0))
    key = to_json((account, transaction, "location", imei, str(int(said_at.timestamp())), *where))
    if len(key) > _LONGEST_KEY:
        return None
    return Report(
        provider=NAME,
        type="location",
        status="located",
        content_key=key.decode(),
        account=AccountName(account),
        transaction_id=TransactionId(transaction),
        device=Device(id=imei, kind="imei", mdn=Mdn(mdn), account=AccountName(account)),
        fix=Fix(
            latitude_deg=latitude_deg,
            longitude_deg=longitude_deg,
            accuracy_m=to_accuracy_m(position.radius),
            confidence_pct=None,
            fixed_at=said_at,
            source="network",
            provider=NAME,
            cached=location_type == "0",
        ),
        said_at=said_at,
        kind_in_words="LOCATION_REPORT",
    )


def _is_plain(value: object, digits: int) -> TypeGuard[str]:
    return isinstance(value, str) and len(value) == digits and value.isdecimal() and value.isascii()


def _is_tidy(value: object) -> TypeGuard[str]:
    return (
        isinstance(value, str) and 0 < len(value) <= LONGEST_IDENTIFIER and value.isascii() and value == value.strip()
    )
