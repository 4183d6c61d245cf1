"""Decodes simple fixes for the fast path: one device, one position, everything exactly as documented.

Nearly all callbacks are simple fixes, and they come in bursts of thousands. Any other callback is left to the full path
(`callbacks`), which reads every spelling; a property test holds both to the same rows.
"""

from datetime import datetime
from functools import lru_cache
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from app import identifiers
from app.model import AccountName, Mdn, SimpleFix, TransactionId
from app.plausibility import FIRST_FIX, is_zero_island
from app.providers.thingspace.mapping import FARTHEST_EAST, FARTHEST_NORTH, LONGEST_IDENTIFIER, to_accuracy_m
from app.providers.thingspace.wire import Scalar, to_json

_LONGEST_KEY = 512
_FIRST_FIX_S = int(FIRST_FIX.timestamp())
_NO_IMEI = "0" * 15
_NO_MDN = "0" * 10

_Name = Annotated[str, Meta(min_length=1, max_length=LONGEST_IDENTIFIER)]
_LocationType = Literal["0", "1"] | None


class _Position(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    time: Annotated[str, Meta(min_length=14, max_length=14)]
    x: str
    y: str
    radius: Scalar = None
    location_type: _LocationType = msgspec.field(default=None, name="locationType")


class _Entry(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    id: Annotated[str, Meta(min_length=15, max_length=15)]
    kind: Literal["IMEI", "imei"]
    mdn: Annotated[str, Meta(min_length=10, max_length=10)]
    position: _Position = msgspec.field(name="positionData")
    location_type: _LocationType = msgspec.field(default=None, name="locationType")


class _Message(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    account_name: _Name = msgspec.field(name="accountName")
    device_list: tuple[_Entry] = msgspec.field(name="deviceList")
    report_type: Literal["LOCATION_REPORT"] = msgspec.field(name="reportType")
    status: Literal["SUCCESS"]
    transaction_id: _Name = msgspec.field(name="transactionID")


_decode = msgspec.json.Decoder(_Message).decode


def to_simple_fix(body: bytes) -> SimpleFix | None:
    """Decode a callback that is a simple fix; return None for any other."""
    try:
        message = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    (entry,) = message.device_list
    position, account, transaction = entry.position, message.account_name, message.transaction_id
    said_at_s = _to_seconds(position.time)
    if said_at_s is None or not (
        _is_plain(entry.id + entry.mdn)
        and entry.id != _NO_IMEI
        and entry.mdn != _NO_MDN
        and _is_canonical(account)
        and _is_tidy(transaction)
        and "_" not in position.x
        and "_" not in position.y
    ):
        return None
    try:
        latitude_deg, longitude_deg = float(position.x), float(position.y)
    except ValueError:
        return None
    # Written so that NaN, which compares with nothing, is out of range too.
    is_on_earth = abs(latitude_deg) <= FARTHEST_NORTH and abs(longitude_deg) <= FARTHEST_EAST
    accuracy_m = to_accuracy_m(position.radius)
    has_odd_radius = accuracy_m is None and position.radius is not None
    if not is_on_earth or has_odd_radius or is_zero_island(latitude_deg, longitude_deg):
        return None
    # Zero is added because -0.0 and 0.0 are equal, and written differently.
    where = (repr(latitude_deg + 0.0), repr(longitude_deg + 0.0))
    key = to_json((account, transaction, "location", entry.id, str(said_at_s), *where))
    if len(key) > _LONGEST_KEY:
        return None
    location_type = position.location_type if position.location_type is not None else entry.location_type
    return SimpleFix(
        content_key=key,
        account=AccountName(account),
        transaction_id=TransactionId(transaction),
        device_id=entry.id,
        device_kind="imei",
        mdn=Mdn(entry.mdn),
        said_at_s=said_at_s,
        latitude_deg=latitude_deg,
        longitude_deg=longitude_deg,
        accuracy_m=accuracy_m,
        source="network",
        cached=location_type == "0",
        vendor_type="LOCATION_REPORT",
    )


@lru_cache(maxsize=1024)
def _to_seconds(time: str) -> int | None:
    """Count the seconds from 1970 to a time in UTC; bursts are full of devices that were located in the same second."""
    if not _is_plain(time):
        return None
    try:
        seconds = int(datetime.fromisoformat(f"{time[:8]}T{time[8:]}+00:00").timestamp())
    except ValueError:
        return None
    return seconds if seconds >= _FIRST_FIX_S else None


def _is_plain(digits: str) -> bool:
    return digits.isdecimal() and digits.isascii()


@lru_cache(maxsize=1024)
def _is_canonical(account: str) -> bool:
    return _is_tidy(account) and identifiers.account(account) == account


def _is_tidy(name: str) -> bool:
    # Postgres refuses some characters, which escapes can bring in.
    return name.isascii() and name.isprintable() and name == name.strip()
