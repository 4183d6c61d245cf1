"""The vendor's own words about a failure, made safe to show."""

import re
from collections.abc import Iterator

import httpx
import msgspec

_MEMBERS = ("message", "Message", "error_description", "error", "detail", "title", "errors")
_READ = 500
_SHOWN = 200
_MASK = "***"
_HARMLESS = {"RAT"}
"""Members of our request whose values reveal nothing about the device."""
_LEAST_MASKED = 3

_NAMED = re.compile(
    r"(?i)\b(account|user|username|thing|client|device|tenant|customer|organi[sz]ation|domain)"
    r"((?:\s+(?:id|name))?\s*(?:[:=]\s*['\"]?|['\"]|\s(?=\S*[-_@./\\\d])))[^\s'\",;]+"
)
_QUOTED = re.compile(r"(['\"`])(?=[^'\"`]*[\d@/\\])[^'\"`]*\1")
_CODE = re.compile(
    r"\S+@\S+"  # mail addresses
    r"|\b[0-9A-Fa-f]{2}(?:[:.-][0-9A-Fa-f]{2}){5}\b|\b[0-9A-Fa-f]{12,}\b"  # hardware addresses and hashes
    r"|-?\b\d{1,3}\.\d{3,}\b"  # coordinates
)
_WORD = re.compile(r"[\w+/=.:-]+")
_LONGEST_WORD = 32
_MOST_DIGITS = 4


def read_message(response: httpx.Response) -> str:
    """Find the vendor's own words; empty for a web page or an empty body."""
    text = response.content[: 64 * _READ].decode("utf-8", "replace").strip()
    try:
        said = _find(msgspec.json.decode(response.content))
    except (msgspec.DecodeError, RecursionError):
        said = None
    if said is None:
        said = "" if text.startswith("<") else text
    return " ".join(said.split())[:_READ]


def is_json_object(response: httpx.Response) -> bool:
    """Return whether the service itself may have answered, rather than a proxy in front of it."""
    return response.content.lstrip().startswith(b"{")


def _find(value: object) -> str | None:
    match value:
        case str():
            return value
        case [first, *_]:
            return _find(first)
        case dict():
            return next(filter(None, map(_find, map(value.get, _MEMBERS))), None)
    return None


def to_safe(message: str, *, sent: bytes = b"", known: tuple[str, ...] = ()) -> str | None:
    """Mask names, identifiers and whatever we sent ourselves, and cut to 200 characters; None when nothing is left.

    `sent` is the request body; none of its values may come back. `known` are further words to mask.
    """
    message = _NAMED.sub(rf"\1\2{_MASK}", message)
    message = _QUOTED.sub(_MASK, message)
    message = _WORD.sub(_mask_code, _CODE.sub(_MASK, message))
    for word in sorted({*known, *_values(sent)}, key=len, reverse=True):
        if len(word) >= _LEAST_MASKED:
            message = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", _MASK, message, flags=re.IGNORECASE)
    return "".join(filter(str.isprintable, message))[:_SHOWN] or None


def _mask_code(word: re.Match[str]) -> str:
    text = word.group()
    return _MASK if len(text) > _LONGEST_WORD or sum(map(str.isdigit, text)) > _MOST_DIGITS else text


def _values(sent: bytes) -> Iterator[str]:
    if sent:
        yield from _leaves(msgspec.json.decode(sent))


def _leaves(value: object) -> Iterator[str]:
    match value:
        case dict():
            for name, one in value.items():
                if name not in _HARMLESS:
                    yield from _leaves(one)
        case list():
            for one in value:
                yield from _leaves(one)
        case str() | int() if not isinstance(value, bool):
            yield str(value)
