"""What makes two reports the same one (reference, section 9.6); pure."""

import hashlib
import json
from datetime import datetime

from app.errors import MalformedJson, UnexpectedReply
from app.providers.thingspace import reading
from app.providers.thingspace.mapping import Sighting
from app.providers.thingspace.wire import Entry, Scalar, to_json

_LONGEST = 512


def to_content_key(entry: Entry, *, about: tuple[str, ...], sighting: Sighting, said_at: datetime | None) -> str | None:
    """Name account, transaction, report type (`about`), device, time, and position or error.

    None where device or time is missing: such messages are only the same when all of their content is.
    """
    who = reading.text(entry.id) or reading.mdn(entry.mdn)
    when = _to_time(entry, said_at)
    if who is None or when is None:
        return None
    position, error = entry.position, entry.error
    parts = [*about, who, when]
    if sighting.fix is not None:
        # Zero is added because -0.0 and 0.0 are equal, and written differently.
        parts += (repr(sighting.fix.latitude_deg + 0.0), repr(sighting.fix.longitude_deg + 0.0))
    elif position is not None and (position.x is not None or position.y is not None):
        parts += (_canonical(position.x), _canonical(position.y))
    if error is not None:
        parts += (words for words in (reading.text(error.type), reading.text(error.info)) if words)
    key = to_json(parts)
    return key.decode() if len(key) <= _LONGEST else hashlib.sha256(key).hexdigest()


def _to_time(entry: Entry, said_at: datetime | None) -> str | None:
    if said_at is not None:
        return str(int(said_at.timestamp()))
    for part in (entry.position, entry.error):
        if part is not None and (written := reading.text(part.time)) is not None:
            return written
    return None


def _canonical(value: Scalar) -> str:
    """Write equal numbers alike, however they came: "42.10" and 42.1, "-0" and 0."""
    found = reading.number(value)
    return reading.text(value) or "" if found is None else repr(found + 0.0)


def to_body_key(body: bytes, place: int) -> str:
    """Name all that a message says, whatever the order of its members and the blanks between them."""
    try:
        canonical = json.dumps(reading.decode(body), sort_keys=True, separators=(",", ":")).encode()
    except (MalformedJson, UnexpectedReply, RecursionError):
        canonical = body
    return f"{hashlib.sha256(canonical).hexdigest()}/{place}"
