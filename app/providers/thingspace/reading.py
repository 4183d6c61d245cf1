"""Lenient reading of JSON whose shapes and types the vendor's pages disagree about (reference, section 12)."""

import json
import math
from typing import Never

from app.errors import MalformedJson, UnexpectedReply

_LONGEST_INTEGER = 400
_TRUTH = {"true": True, "1": True, "false": False, "0": False}


def decode(body: bytes) -> object:
    """Decode any valid JSON, whatever its numbers and escapes.

    Raises:
        MalformedJson: The body is no JSON.
        UnexpectedReply: It is nested too deeply to be read.
    """
    try:
        return json.loads(body.decode("utf-8-sig"), parse_int=_to_int, parse_constant=_refuse)
    except ValueError as error:
        raise MalformedJson from error
    except RecursionError as error:
        raise UnexpectedReply("The message is nested too deeply.") from error


def _to_int(digits: str) -> int | str:
    # Python refuses to convert thousands of digits; such a number is kept as the text it was.
    return int(digits) if len(digits) <= _LONGEST_INTEGER else digits


def _refuse(constant: str) -> Never:
    raise ValueError(f"{constant} is no JSON")


def members(value: object) -> dict[str, object]:
    """Return an object's members under lower-case names; none if it is not an object."""
    return {name.strip().lower(): member for name, member in value.items()} if isinstance(value, dict) else {}


def first(found: dict[str, object], *names: str) -> object:
    """Return the value of the first of several spellings that is not empty; None if all are."""
    return next((found[name] for name in names if found.get(name) not in (None, "", {}, [])), None)


def text(value: object) -> str | None:
    """Read a text that may have come as a number, without blanks around it; None for anything else."""
    if isinstance(value, str):
        return clean(value).strip() or None
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _is_finite(value: float) -> bool:
    return isinstance(value, int) or math.isfinite(value)


def clean(value: str) -> str:
    """Remove what Postgres cannot keep in a text: NUL and halves of surrogate pairs."""
    if value.isascii():
        return value.replace("\x00", "") if "\x00" in value else value
    return value.replace("\x00", "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def boolean(value: object) -> bool | None:
    """Read a truth value that may have come as a text or a number; None for anything else."""
    if isinstance(value, bool):
        return value
    return _TRUTH.get((text(value) or "").lower())


def number(value: object) -> float | None:
    """Read a finite number that may have come as a text; None for anything else."""
    if isinstance(value, str):
        if "_" in value:
            return None
    elif isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None
