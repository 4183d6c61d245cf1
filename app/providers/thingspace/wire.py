"""ThingSpace's JSON, field for field.

What is sent is strict; what is read as documented goes through typed decoders, which refuse any other member
name or type, and everything else goes through `to_entry`, which reads every spelling of the reference, section 12.
"""

import msgspec

from app.providers.thingspace import reading

Scalar = str | int | float | bool | None


class DeviceId(msgspec.Struct, omit_defaults=True):
    """One device of a request."""

    id: str
    kind: str
    mdn: str | None = None


class LocationsRequest(msgspec.Struct, rename="camel"):
    """Body of `POST /locations`."""

    account_name: str
    accuracy_mode: str
    cache_mode: str
    device_list: list[DeviceId]


class DeviceListRequest(msgspec.Struct, rename="camel"):
    """Body of `POST /devices/actions/list`."""

    account_name: str
    device_id: DeviceId


class PeriodicStartRequest(msgspec.Struct, rename="camel"):
    """Body of `POST /devicelocations/action/periodic`; the numbers are texts or integers, depending on a setting."""

    account_name: str
    device_list: list[DeviceId]
    max_loc_age: str | int
    number_of_fixes: str | int
    fix_interval: str | int
    start_time: str | int


class Login(msgspec.Struct):
    """Body of `POST /session/login`."""

    username: str
    password: str


class RegistrationRequest(msgspec.Struct):
    """Body of `POST /callbacks/{account}`."""

    name: str
    url: str


class PositionData(msgspec.Struct, forbid_unknown_fields=True):
    """`pd` or `positionData`; `x` is the latitude."""

    time: Scalar = None
    utcoffset: Scalar = None
    x: Scalar = None
    y: Scalar = None
    radius: Scalar = None
    qos: Scalar = None
    location_type: Scalar = msgspec.field(default=None, name="locationType")


class ErrorReply(msgspec.Struct, forbid_unknown_fields=True):
    """`error` of one device."""

    time: Scalar = None
    utcoffset: Scalar = None
    type: Scalar = None
    info: Scalar = None


class DeviceReply(msgspec.Struct, forbid_unknown_fields=True):
    """The part about one device; as JSON, one element of the answer to `POST /locations` as documented."""

    mdn: Scalar = msgspec.field(default=None, name="msid")
    position: PositionData | None = msgspec.field(default=None, name="pd")
    error: ErrorReply | None = None
    id: Scalar = None
    kind: Scalar = None
    location_type: Scalar = msgspec.field(default=None, name="locationType")


def to_entry(element: object) -> DeviceReply:
    """Read one device's part of a message in any spelling; what is not understood is left out."""
    found = reading.members(element)
    nested = found.get("deviceids")
    found |= reading.members(nested[0] if isinstance(nested, list) and nested else nested)
    return DeviceReply(
        id=_scalar(reading.first(found, "id", "deviceid")),
        kind=_scalar(found.get("kind")),
        mdn=_scalar(reading.first(found, "mdn", "msid")),
        position=_to_position(reading.first(found, "positiondata", "pd")),
        error=_to_failure(found.get("error")),
        location_type=_scalar(found.get("locationtype")),
    )


def _to_position(value: object) -> PositionData | None:
    found = reading.members(value)
    if not found:
        return None
    return PositionData(
        time=_scalar(found.get("time")),
        utcoffset=_scalar(found.get("utcoffset")),
        x=_scalar(found.get("x")),
        y=_scalar(found.get("y")),
        radius=_scalar(found.get("radius")),
        qos=_scalar(found.get("qos")),
        location_type=_scalar(found.get("locationtype")),
    )


def _to_failure(value: object) -> ErrorReply | None:
    if isinstance(value, str):
        return ErrorReply(info=value)
    found = reading.members(value)
    if not found:
        return None
    return ErrorReply(
        time=_scalar(found.get("time")),
        utcoffset=_scalar(found.get("utcoffset")),
        type=_scalar(found.get("type")),
        info=_scalar(found.get("info")),
    )


def _scalar(value: object) -> Scalar:
    return value if isinstance(value, str | int | float | bool) else None


to_answer_entry = msgspec.json.Decoder(DeviceReply).decode
to_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode
to_json = msgspec.json.Encoder().encode
