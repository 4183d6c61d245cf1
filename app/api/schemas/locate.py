"""Location requests: validated, and translated into the gateway's own vocabulary.

Only what is malformed for every provider is refused here; each provider judges what it can use.
"""

from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from app.api.schemas.base import Schema
from app.api.schemas.identifiers import Account, DeviceName, Esn, Imei, MdnText, Meid, PhoneNumber
from app.api.schemas.measurements import Measurements
from app.model import AccountName, Device, LocationQuery, Mdn, OnFailure, ProviderName, Strategy


class LocateDevice(Schema):
    """A device: for ThingSpace one of `imei`, `meid` and `esn`, and `mdn` or `phoneNumber`; optionally a name."""

    imei: Annotated[Imei | None, Field(description="14 to 16 digits; the check digit is not verified")] = None
    meid: Annotated[Meid | None, Field(description="14 hexadecimal characters")] = None
    esn: Annotated[Esn | None, Field(description="11 decimal digits or 8 hexadecimal ones")] = None
    mdn: Annotated[MdnText | None, Field(description="10 digits, without the country code")] = None
    phone_number: Annotated[PhoneNumber | None, Field(description="the MDN in E.164: +15085550101")] = None
    account: Annotated[
        Account | None, Field(description="ThingSpace billing account; default: `THINGSPACE_ACCOUNT`")
    ] = None
    name: Annotated[DeviceName | None, Field(description="your own name for the device")] = None

    @model_validator(mode="after")
    def _names_one_identifier(self) -> Self:
        if sum(value is not None for value in (self.imei, self.meid, self.esn)) > 1:
            raise PydanticCustomError("one_identifier", "send only one of imei, meid and esn")
        if self.mdn is not None and self.phone_number is not None:
            raise PydanticCustomError("one_number", "send only one of mdn and phoneNumber")
        return self

    def to_device(self) -> Device:
        """Turn it into the gateway's device."""
        mdn = self.mdn or self.phone_number
        number = Mdn(mdn) if mdn else None
        account = AccountName(self.account) if self.account else None
        if self.imei is not None:
            return Device(id=self.imei, kind="imei", mdn=number, account=account, name=self.name)
        if self.meid is not None:
            return Device(id=self.meid, kind="meid", mdn=number, account=account, name=self.name)
        if self.esn is not None:
            return Device(id=self.esn, kind="esn", mdn=number, account=account, name=self.name)
        return Device(mdn=number, account=account, name=self.name)


class LocateRequest(Schema):
    """A location request; at least one of `device` and `measurements` is required."""

    device: LocateDevice | None = None
    measurements: Measurements | None = None
    max_age: Annotated[
        int | None,
        Field(
            ge=0,
            le=2**31,
            description="greatest age of a fix when locating by device, in seconds; 0 asks for a current fix",
        ),
    ] = None
    provider: Annotated[
        str, Field(description="`auto`, or the only provider to ask: `cloudlocate` or `thingspace`", max_length=64)
    ] = "auto"
    fallback: Annotated[bool, Field(description="whether another provider is asked if the first one fails")] = True
    confidence: Annotated[
        int | None, Field(ge=50, le=99, description="give `accuracy` at this level, percent, where a level is known")
    ] = None
    max_accuracy: Annotated[
        float | None,
        Field(gt=0, description="metres; if the circle is wider, the next provider is asked, and the best is answered"),
    ] = None
    assured: Annotated[
        bool, Field(description="refuse a circle wider than `maxAccuracy` instead of answering with it")
    ] = False
    strategy: Annotated[
        Strategy,
        Field(
            description="`ordered`: the next provider is asked if the one before has no good answer; `best`: all are "
            "asked at the same time, each of them is billed, and the smallest circle wins"
        ),
    ] = "ordered"
    on_failure: Annotated[
        OnFailure,
        Field(description="`last_known`: answer with the newest stored position if the device cannot be located now"),
    ] = "error"
    timeout: Annotated[float, Field(gt=0, le=120, description="time limit for the whole request, in seconds")] = 20

    @model_validator(mode="after")
    def _offers_something(self) -> Self:
        if self.device is None and self.measurements is None:
            raise PydanticCustomError("nothing_to_go_by", "send at least one of device and measurements")
        if self.assured and self.max_accuracy is None:
            raise PydanticCustomError("assured_of_nothing", "send maxAccuracy together with assured")
        return self

    def to_query(self) -> LocationQuery:
        """Turn it into the question that the gateway answers.

        Raises:
            InvalidArgument, UnsupportedIdentifier: A part is malformed or cannot be used.
        """
        return LocationQuery(
            device=self.device.to_device() if self.device else Device(),
            evidence=self.measurements.to_evidence() if self.measurements else None,
            max_age_s=self.max_age,
            pinned=None if self.provider == "auto" else ProviderName(self.provider),
            fallback=self.fallback,
            confidence_pct=self.confidence,
            max_accuracy_m=self.max_accuracy,
            assured=self.assured,
            strategy=self.strategy,
            on_failure=self.on_failure,
        )


class BatchEnvelope(Schema):
    """Many location requests at once; each item is validated by itself."""

    requests: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=1000)]
    timeout: Annotated[float, Field(gt=0, le=120)] = 20


class BatchItem(LocateRequest):
    """One location request of a batch."""

    id: Annotated[
        str, Field(min_length=1, max_length=128, description="unique within the batch; repeated in the result")
    ]


class BatchRequest(Schema):
    """Up to 1,000 location requests, with one time limit for all of them."""

    read_as: ClassVar[type[BaseModel]] = BatchEnvelope

    requests: Annotated[list[BatchItem], Field(min_length=1, max_length=1000)]
    timeout: Annotated[float, Field(gt=0, le=120, description="time limit for the whole request, in seconds")] = 20
