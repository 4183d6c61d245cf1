"""Which of the offered media types a caller prefers (RFC 9110, section 12.5.1)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from app.errors import NotAcceptable

_PARTS = re.compile(r'(?:[^,"]|"(?:\\.|[^"\\])*")+')
_RANGE = re.compile(r"\s*([\w!#$%&'*+.^`|~-]+)/([\w!#$%&'*+.^`|~-]+)\s*(;.*)?", re.ASCII)
_QUALITY = re.compile(r";\s*q\s*=\s*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\s*(?:;|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _MediaRange:
    type: str
    subtype: str
    quality: float

    @property
    def specificity(self) -> int:
        return (self.type != "*") + (self.subtype != "*")

    def covers(self, media_type: str) -> bool:
        kind, _, subtype = media_type.partition("/")
        return self.type in ("*", kind) and self.subtype in ("*", subtype)


def preferred(accept: str | None, offered: Sequence[str]) -> str:
    """Choose what the caller likes best; what it likes equally goes by its naming it, then by the order offered.

    Args:
        accept: The Accept header; anything goes without one, and what cannot be read in it is passed over.
        offered: Media types in lower case, the default first.

    Raises:
        NotAcceptable: The caller takes none of them.
    """
    ranges = _read(accept or "*/*") or _read("*/*")
    best: tuple[float, int, int] = (0.0, 0, 0)
    choice = None
    for media_type in offered:
        # The most specific range that covers a type decides, even if its weight is 0.
        covering = [
            (one.specificity, -position, one.quality) for position, one in enumerate(ranges) if one.covers(media_type)
        ]
        specificity, order, quality = max(covering, default=(0, 0, 0.0))
        if quality > 0 and (choice is None or (quality, specificity, order) > best):
            best, choice = (quality, specificity, order), media_type
    if choice is None:
        raise NotAcceptable(f"Available media types: {', '.join(offered)}; name one of them in Accept.")
    return choice


def _read(accept: str) -> list[_MediaRange]:
    ranges = []
    for part in _PARTS.findall(accept):
        found = _RANGE.fullmatch(part)
        if found is None:
            continue
        parameters = found[3] or ""
        quality = _QUALITY.search(parameters)
        if quality is None and re.search(r";\s*q\s*=", parameters, re.IGNORECASE):
            continue
        ranges.append(
            _MediaRange(type=found[1].lower(), subtype=found[2].lower(), quality=float(quality[1]) if quality else 1.0)
        )
    return ranges
