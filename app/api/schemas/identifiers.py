"""Identifiers in requests: published in their canonical form, and read however they are written."""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from app import identifiers


def _reader(read: Callable[[object], str | None], form: str) -> BeforeValidator:
    """Make a validator of a reader.

    Args:
        form: What the identifier must be, for those who send something else.
    """

    def validate(value: Any) -> str:
        _check_type(value)
        found = read(value)
        if found is not None:
            return found
        if read in _NUMBERS and identifiers.is_foreign(value):
            raise PydanticCustomError("foreign_number", "must be +1 and ten digits; ThingSpace knows no other numbers")
        raise PydanticCustomError("identifier", form)

    return BeforeValidator(validate)


def _named(read: Callable[[str], str]) -> BeforeValidator:
    """Make a validator that brings a text to its canonical form before it is measured."""

    def validate(value: Any) -> str:
        _check_type(value)
        return read(value)

    return BeforeValidator(validate)


def _check_type(value: Any) -> None:
    if not isinstance(value, str):
        raise PydanticCustomError("string_type", "must be a text in quotes; a number may have lost digits")


def _is_text(value: str) -> str:
    if "\x00" in value:
        raise PydanticCustomError("no_nul", "must not contain NUL characters")
    return value


def _pattern(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern})


_NUMBERS = (identifiers.mdn, identifiers.phone_number)
_E164 = "must be in E.164: a plus sign, the country code and the number, digits only"

Imei = Annotated[str, _reader(identifiers.imei, "must be 14 to 16 digits"), _pattern(r"^[0-9]{14,16}$")]
Meid = Annotated[str, _reader(identifiers.meid, "must be 14 hexadecimal characters"), _pattern(r"^[0-9A-Fa-f]{14}$")]
Esn = Annotated[
    str,
    _reader(identifiers.esn, "must be 11 decimal digits or 8 hexadecimal ones"),
    _pattern(r"^([0-9]{11}|[0-9A-Fa-f]{8})$"),
]
MdnText = Annotated[
    str, _reader(identifiers.mdn, "must be 10 digits, without the country code"), _pattern(r"^[0-9]{10}$")
]
PhoneNumber = Annotated[str, _reader(identifiers.phone_number, _E164), _pattern(r"^\+1[0-9]{10}$")]

Text128 = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_is_text)]
Account = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_is_text), _named(identifiers.account)]
DeviceName = Annotated[
    str, Field(min_length=1, max_length=128), AfterValidator(_is_text), _named(identifiers.device_name)
]
Transaction = Annotated[str, Field(max_length=256), _named(identifiers.transaction_id)]
