"""What makes two reports the same one (reference, section 9.6); pure."""

import hashlib
import json
from datetime import datetime
from functools import cached_property

from app.providers.thingspace import reading
from app.providers.thingspace.mapping import Sighting
from app.providers.thingspace.wire import DeviceReply, Scalar, to_json

_LONGEST = 512


class ContentKeys:
    """Makes the content keys of one message's reports; what they have in common is hashed once for all of them."""

    def __init__(self, message: object, body: bytes, about: tuple[str, ...]) -> None:
        """Make keys for the reports of a message.

        Args:
            message: What the body holds, decoded.
            about: What the message states for all of its devices: account, transaction, report type.
        """
        self._message = message
        self._body = body
        self._about = to_json(about)[:-1]
        self._hash = hashlib.sha256(self._about)

    def of_device(
        self, known_as: str | None, entry: DeviceReply, sighting: Sighting, said_at: datetime | None
    ) -> str | None:
        """Name what the message is about, device, time, and position or error.

        None where device or time is missing: such messages are only the same when all of their content is.
        """
        when = _to_time(entry, said_at)
        if known_as is None or when is None:
            return None
        said = b"," + to_json([known_as, when, *_to_words(entry, sighting)])[1:]
        if len(self._about) + len(said) <= _LONGEST:
            return (self._about + said).decode()
        whole = self._hash.copy()
        whole.update(said)
        return whole.hexdigest()

    def of_place(self, place: int) -> str:
        """Serialise the message independently of the order of its members and the white space between them."""
        return f"{self._body_hash}/{place}"

    @cached_property
    def _body_hash(self) -> str:
        try:
            canonical = json.dumps(self._message, sort_keys=True, separators=(",", ":")).encode()
        except RecursionError:
            canonical = self._body
        return hashlib.sha256(canonical).hexdigest()


def _to_words(entry: DeviceReply, sighting: Sighting) -> list[str]:
    """List what is stated about the device: its position, as far as it can be read, and its error."""
    position, error = entry.position, entry.error
    words: list[str] = []
    if sighting.fix is not None:
        # Zero is added because -0.0 and 0.0 are equal, and written differently.
        words += (repr(sighting.fix.latitude_deg + 0.0), repr(sighting.fix.longitude_deg + 0.0))
    elif position is not None and (position.x is not None or position.y is not None):
        words += (_canonical(position.x), _canonical(position.y))
    if error is not None:
        words += (found for found in (reading.text(error.type), reading.text(error.info)) if found)
    return words


def _to_time(entry: DeviceReply, said_at: datetime | None) -> str | None:
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
