"""The candidates for a query and their order; pure, and independent of any provider's name."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.errors import FieldError, InvalidArgument, MissingIdentifier, UnusableMeasurements
from app.model import Device, LocationQuery, ProviderName
from app.provider import Assessment, LocatesBy

NOT_ASSESSED = Assessment(usable=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A provider that can be asked, in the order of preference.

    Attributes:
        assessment: What it thinks of the measurements; devices are assessed when their turn comes, because the
            alias book may have to be looked up first.
    """

    name: ProviderName
    locates_by: LocatesBy
    configured: bool
    assessment: Assessment = NOT_ASSESSED


def is_identified(device: Device) -> bool:
    """Return whether a device carries an identifier that a network could know."""
    return device.id is not None or device.mdn is not None


def candidates(query: LocationQuery, known: Sequence[Candidate]) -> list[Candidate]:
    """List who may be asked: measurements first, then the device's identifiers.

    Raises:
        InvalidArgument: The pinned provider does not exist, or needs measurements and there are none.
        MissingIdentifier: Nothing is there to locate the device by.
        UnusableMeasurements: The measurements cannot lead to a position, and there is nothing else.
    """
    if query.pinned is not None and query.pinned not in {one.name for one in known}:
        names = ", ".join(["auto", *(one.name for one in known)])
        raise InvalidArgument(
            "There is no such provider.",
            errors=(FieldError(pointer="/provider", code="UNKNOWN_VALUE", detail=f"must be one of: {names}"),),
        )
    allowed = [one for one in known if query.pinned in (None, one.name)]
    measured = [one for one in allowed if one.locates_by == "measurements" and query.evidence is not None]
    # A network does not know names, but a fix may be stored under one.
    is_named = query.device.name is not None and query.evidence is None
    identified = [one for one in allowed if one.locates_by == "device" and (is_identified(query.device) or is_named)]
    usable = [one for one in measured if one.assessment.usable]
    if usable or identified:
        return usable + identified
    if measured:
        raise _unusable(measured)
    raise _nothing_to_go_by(allowed)


def _unusable(measured: Sequence[Candidate]) -> UnusableMeasurements:
    error = UnusableMeasurements(
        " ".join(dict.fromkeys(one.assessment.reason for one in measured)),
        errors=tuple(field for one in measured for field in one.assessment.errors),
    )
    error.hints = tuple(dict.fromkeys(hint for one in measured for hint in one.assessment.hints))
    return error


def _nothing_to_go_by(allowed: Sequence[Candidate]) -> InvalidArgument | MissingIdentifier:
    if allowed and all(one.locates_by == "measurements" for one in allowed):
        detail = "this provider locates by measurements; send at least one group"
        return InvalidArgument(
            "The named provider needs measurements.",
            errors=(FieldError(pointer="/measurements", code="MISSING", detail=detail),),
        )
    detail = "send imei, meid or esn, and mdn where it is not known yet"
    return MissingIdentifier(
        "The device carries no identifier that the network knows.",
        errors=(FieldError(pointer="/device", code="MISSING", detail=detail),),
    )
