"""Requests and answers of periodic location."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, NoReturn, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from app.api.answers import LocationAnswer, Next, ProblemAnswer, ReportErrorAnswer, Timestamp
from app.api.schemas.base import Schema
from app.api.schemas.identifiers import Account, Esn, Imei, MdnText, Meid, PhoneNumber
from app.errors import FieldError, InvalidArgument, MissingIdentifier, RequestError, UnsupportedIdentifier
from app.model import AccountName, Device, Mdn, PeriodicPlan

SessionState = Literal["requested", "active", "completed", "stopping", "stopped", "failed", "unknown"]

SessionDeviceState = Literal["requested", "active", "completed", "stopping", "stopped", "failed", "unknown", "ended"]

_MOST_SHOWN = 100


class PeriodicDevice(Schema):
    """A device: its `imei`, and `mdn` or `phoneNumber` unless the MDN is already known."""

    imei: Annotated[Imei | None, Field(description="14 to 16 digits; required")] = None
    mdn: Annotated[MdnText | None, Field(description="10 digits, without the country code")] = None
    phone_number: Annotated[PhoneNumber | None, Field(description="the MDN in E.164: +15085550101")] = None
    meid: Annotated[
        Meid | None, Field(description="not supported: periodic location identifies devices by IMEI only")
    ] = None
    esn: Annotated[
        Esn | None, Field(description="not supported: periodic location identifies devices by IMEI only")
    ] = None

    @model_validator(mode="after")
    def _names_one_number(self) -> Self:
        if self.mdn is not None and self.phone_number is not None:
            raise PydanticCustomError("one_number", "send only one of mdn and phoneNumber")
        return self

    @model_serializer(mode="wrap")
    def _write_number_once(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write the same device alike, so that it has one fingerprint."""
        return {**write(self), "mdn": self.number, "phoneNumber": None}

    @property
    def number(self) -> Mdn | None:
        """The MDN, however it was written."""
        written = self.mdn or self.phone_number
        return Mdn(written) if written else None


class PeriodicRequest(Schema):
    """A start of periodic location: `count` fixes for each device, or `unlimited` until it is stopped."""

    account: Annotated[
        Account | None, Field(description="ThingSpace billing account; default: `THINGSPACE_ACCOUNT`")
    ] = None
    devices: Annotated[
        list[PeriodicDevice], Field(min_length=1, max_length=10_000, description="the devices, each of them once")
    ]
    interval: Annotated[int, Field(ge=1, le=1_036_800, description="seconds between two fixes of a device")]
    count: Annotated[
        int | None,
        Field(ge=1, le=1000, description="fixes per device; exactly one of `count` and `unlimited` is required"),
    ] = None
    unlimited: Annotated[bool, Field(description="true to locate until the session is stopped")] = False
    start_delay: Annotated[int, Field(ge=0, le=86_400, description="delay before the first fix, in seconds")] = 0
    max_age: Annotated[
        int,
        Field(ge=0, le=3600, description="greatest age of a cached fix that is taken instead of a new one, in seconds"),
    ] = 120

    def to_plan(self, default_account: AccountName | None) -> PeriodicPlan:
        """Turn it into what a provider is asked.

        Raises:
            InvalidArgument, MissingIdentifier, UnsupportedIdentifier: It cannot be asked like this.
        """
        if (self.count is not None) == self.unlimited:
            detail = "send exactly one of count and unlimited: true"
            _refuse(
                InvalidArgument,
                "Specify either `count` or `unlimited`.",
                _fields("/count", "EXACTLY_ONE", detail),
            )
        account = AccountName(self.account) if self.account else default_account
        if not account:
            detail = "is required; no default account is configured"
            _refuse(InvalidArgument, "There is no account.", _fields("/account", "MISSING", detail))
        return PeriodicPlan(
            account=account,
            devices=self._to_devices(),
            interval_s=self.interval,
            count=self.count,
            start_delay_s=self.start_delay,
            max_age_s=self.max_age,
        )

    def _to_devices(self) -> tuple[Device, ...]:
        for place, device in enumerate(self.devices):
            if device.imei is None or device.meid is not None or device.esn is not None:
                _refuse_identifiers(device, place)
        self._refuse_doubles()
        return tuple([Device(id=device.imei, kind="imei", mdn=device.number) for device in self.devices])

    def _refuse_doubles(self) -> None:
        seen: set[str] = set()
        fields: list[FieldError] = []
        for place, device in enumerate(self.devices):
            for name, value in (("imei", device.imei), ("mdn", device.number)):
                if value is None:
                    continue
                if (mark := f"{name}:{value}") in seen:
                    fields += _fields(f"/devices/{place}/{name}", "DUPLICATE", "is listed already")
                seen.add(mark)
        if fields:
            _refuse(InvalidArgument, "The same device is listed more than once.", fields[:_MOST_SHOWN])


def _refuse_identifiers(device: PeriodicDevice, place: int) -> NoReturn:
    where = f"/devices/{place}"
    given = [name for name in ("meid", "esn", "mdn", "phone_number") if getattr(device, name) is not None]
    if not given:
        fields = _fields(f"{where}/imei", "MISSING", "is required")
        _refuse(MissingIdentifier, "A device carries no identifier.", fields)
    member = f"{where}/{given[0]}" if given[0] in ("meid", "esn") else f"{where}/imei"
    fields = _fields(member, "UNSUPPORTED", "send the IMEI, and no MEID or ESN")
    _refuse(UnsupportedIdentifier, "Periodic location knows devices by their IMEI only.", fields)


def _fields(pointer: str, code: str, detail: str) -> list[FieldError]:
    return [FieldError(pointer=pointer, code=code, detail=detail)]


def _refuse(kind: type[RequestError], detail: str, fields: Iterable[FieldError]) -> NoReturn:
    raise kind(detail, errors=tuple(fields))


class DevicesTotal(TypedDict):
    """How many devices a session has."""

    total: int


class ReportCounts(TypedDict):
    """Counts of reports, over all devices."""

    expected: Annotated[int | None, Field(description="devices times count; null when unlimited")]
    due: Annotated[int, Field(description="expected by now, after a grace period")]
    received: int
    failed: Annotated[int, Field(description="received without a position")]
    missing: Annotated[int, Field(description="due, and neither received nor failed")]
    ended: Annotated[int, Field(description="owed no more, because ThingSpace has given their devices up")]


class SessionAnswer(TypedDict):
    """A periodic session."""

    id: str
    transactionId: Annotated[str | None, Field(description="ThingSpace's id, once it is known")]
    state: SessionState
    account: str
    interval: int
    count: int | None
    unlimited: bool
    startDelay: int
    maxAge: int
    devices: DevicesTotal
    reports: ReportCounts
    createdAt: Timestamp
    startedAt: Timestamp | None
    endsAt: Annotated[Timestamp | None, Field(description="planned end; null when unlimited")]
    endedAt: Timestamp | None
    stopRequestedAt: Timestamp | None
    problem: Annotated[ProblemAnswer | None, Field(description="why it failed, or why its outcome is unknown")]


class SessionsAnswer(TypedDict):
    """Sessions, newest first."""

    sessions: list[SessionAnswer]
    next: Next


class SessionDeviceName(TypedDict):
    """The identifiers of a device in a session."""

    imei: str
    mdn: str | None


class LastFix(LocationAnswer):
    """The latest fix, by the time of the fix, and its report."""

    reportId: str


class SessionDeviceAnswer(TypedDict):
    """A device of a session."""

    device: SessionDeviceName
    state: Annotated[
        SessionDeviceState, Field(description="`ended` once ThingSpace has given it up, else as of a session")
    ]
    received: int
    failed: int
    due: int
    missing: int
    ended: Annotated[int, Field(description="reports owed no more, because ThingSpace has given the device up")]
    lastFix: LastFix | None
    stopRequestedAt: Annotated[Timestamp | None, Field(description="null again once the stop has failed")]
    stoppedAt: Timestamp | None
    stopFailedAt: Annotated[Timestamp | None, Field(description="when ThingSpace last said that a stop failed")]
    endedAt: Annotated[Timestamp | None, Field(description="when ThingSpace gave the device up")]
    lastError: Annotated[
        ReportErrorAnswer | None, Field(description="the latest failure, in ThingSpace's words; why a device ended")
    ]


class SessionDevicesAnswer(TypedDict):
    """Devices of a session, in the order of their IMEIs."""

    devices: list[SessionDeviceAnswer]
    next: Next


class StopFailureAnswer(TypedDict):
    """A device that was not stopped."""

    imei: str | None
    mdn: str | None
    problem: ProblemAnswer


class StopAnswer(TypedDict):
    """The result of a stop; devices that were already stopping are not counted again."""

    requested: Annotated[int, Field(description="accepted and failed together")]
    accepted: int
    failed: list[StopFailureAnswer]


class StoppedAnswer(SessionAnswer):
    """A session, and the result of stopping it."""

    stop: StopAnswer
