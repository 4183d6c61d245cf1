"""Query parameters of reports and positions, and what is read from them."""

import base64
from collections.abc import Iterable
from typing import Annotated, Literal, NoReturn
from uuid import UUID

import orjson
from fastapi import Query

from app.api.parameters import QueryInstant, place_of
from app.api.schemas import identifiers
from app.errors import FieldError, InvalidArgument
from app.ids import instant_of, parse_id
from app.model import ReportStatus, ReportType
from app.reports import Box, Holder, ReportCursor

Transaction = Annotated[
    identifiers.Transaction | None,
    Query(
        alias="transactionId",
        description="the provider's transaction id; white space around it is cut",
    ),
]
SessionId = Annotated[
    str | None, Query(alias="sessionId", max_length=64, description="reports of this periodic session")
]
Imei = Annotated[
    identifiers.Imei | None,
    Query(description="14 to 16 digits, of which the first 14 name the device where the check digit is right"),
]
Meid = Annotated[identifiers.Meid | None, Query(description="14 hexadecimal characters")]
Esn = Annotated[identifiers.Esn | None, Query(description="11 decimal digits or 8 hexadecimal ones")]
Mdn = Annotated[
    identifiers.MdnText | None,
    Query(description="10 digits; finds reports that state it, and those that state none of a device seen with it"),
]
Account = Annotated[identifiers.Account | None, Query(description="exactly this account")]
BoxText = Annotated[
    str | None,
    Query(
        max_length=200,
        description="west,south,east,north in degrees, borders included; with west > east it spans the antimeridian",
        examples=["-71.5,42.0,-71.0,42.5"],
    ),
]
Type = Annotated[ReportType | None, Query(alias="type", description="only reports of this type")]
Status = Annotated[ReportStatus | None, Query(description="only reports with this status")]
Name = Annotated[
    identifiers.DeviceName | None,
    Query(description="your own name of the device, exactly; finds reports of `/locate` that state it"),
]
Flag = Annotated[
    str | None,
    Query(pattern=r"^[a-z_]{1,64}$", description="only reports with this flag", examples=["late", "future_time"]),
]
Since = Annotated[
    QueryInstant, Query(description="time of the fix or the error: at or after this instant, RFC 3339 with offset")
]
Until = Annotated[
    QueryInstant, Query(description="time of the fix or the error: before this instant, RFC 3339 with offset")
]
ReceivedSince = Annotated[
    QueryInstant, Query(alias="receivedSince", description="arrived at or after this instant, RFC 3339 with offset")
]
ReceivedUntil = Annotated[
    QueryInstant, Query(alias="receivedUntil", description="arrived before this instant, RFC 3339 with offset")
]
Order = Annotated[
    Literal["asc", "desc"],
    Query(description="by the time of the fix or the error; a cursor belongs to the order it came from"),
]
ReportLimit = Annotated[
    int | None,
    Query(
        ge=1,
        le=1000,
        description="reports per page, by default 100; with CSV, NDJSON and GeoParquet: at most so many in all",
    ),
]
HolderCursor = Annotated[str | None, Query(max_length=1024, description="`next` of the previous page")]
_NO_CURSOR = "must be `next` of the previous page"
_ROUND_THE_GLOBE = 180.0
_POLE = 90.0


def session_id_of(text: str | None) -> UUID | None:
    """Read the id of a session.

    Raises:
        InvalidArgument: It has not the form of one.
    """
    if text is None:
        return None
    return parse_id(text) or _refuse("sessionId", "INVALID_FORMAT", "must be the id of a session")


def device_id_of(*, imei: str | None, meid: str | None, esn: str | None) -> str | None:
    """Choose the one identifier that is given.

    Raises:
        InvalidArgument: There are several.
    """
    given = [text for text in (imei, meid, esn) if text is not None]
    if len(given) > 1:
        _refuse("imei" if imei is not None else "meid", "CONFLICT", "send only one of imei, meid and esn")
    return given[0] if given else None


def after_of(cursor: str | None) -> ReportCursor | None:
    """Read the cursor of a list of reports: the id of the last one, which holds its time as well.

    Raises:
        InvalidArgument: It is none of ours.
    """
    key = place_of(cursor)
    return None if key is None else ReportCursor(instant_of(key), key)


def holder_of(cursor: str | None) -> Holder | None:
    """Read the cursor of a list of positions.

    Raises:
        InvalidArgument: It is none of ours.
    """
    match _texts_of(cursor):
        case None:
            return None
        case [account, device]:
            return Holder(account, device)
    return _refuse("cursor", "INVALID_FORMAT", _NO_CURSOR)


def device_of(cursor: str | None) -> str | None:
    """Read the cursor of a list of devices.

    Raises:
        InvalidArgument: It is none of ours.
    """
    match _texts_of(cursor):
        case None:
            return None
        case [device]:
            return device
    return _refuse("cursor", "INVALID_FORMAT", _NO_CURSOR)


def _texts_of(cursor: str | None) -> list[str] | None:
    if cursor is None:
        return None
    try:
        texts = orjson.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except ValueError:
        texts = None
    if not isinstance(texts, list) or not all(isinstance(text, str) and "\x00" not in text for text in texts):
        return _refuse("cursor", "INVALID_FORMAT", _NO_CURSOR)
    return texts


def to_cursor(texts: Iterable[str]) -> str:
    """Write the cursor of a list that goes by texts."""
    return base64.urlsafe_b64encode(orjson.dumps([*texts])).decode().rstrip("=")


def box_of(text: str | None) -> Box | None:
    """Read a bounding box.

    Raises:
        InvalidArgument: It is not four numbers of degrees in their order.
    """
    if text is None:
        return None
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        _refuse("bbox", "INVALID_FORMAT", "must be four numbers: west,south,east,north")
    if not all(abs(longitude) <= _ROUND_THE_GLOBE for longitude in (west, east)):
        _refuse("bbox", "OUT_OF_RANGE", "west and east must be from -180 to 180")
    if not all(abs(latitude) <= _POLE for latitude in (south, north)):
        _refuse("bbox", "OUT_OF_RANGE", "south and north must be from -90 to 90")
    if south > north:
        _refuse("bbox", "OUT_OF_RANGE", "south must not exceed north; the order is west,south,east,north")
    return Box(west_deg=west, south_deg=south, east_deg=east, north_deg=north)


def _refuse(name: str, code: str, detail: str) -> NoReturn:
    raise InvalidArgument(
        "A query parameter is not valid.", errors=(FieldError(pointer=f"/query/{name}", code=code, detail=detail),)
    )
