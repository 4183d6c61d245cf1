"""The log of events: `log` reads it, `appending` adds what is no report, `cursors` says how far a reader has come.

The writer adds one row for each commit that stores reports; the reports themselves are not copied.
"""

from app.storage.events.appending import CHANNEL, NewEvent, append
from app.storage.events.cursors import ORIGIN, Cursor, EventPosition, SeenPart, Snapshot
from app.storage.events.log import MOST_EVENTS, LogPage, OtherEvent, StoredEvent, earliest, latest, read
from app.storage.events.lookup import fetch
from app.storage.events.members import SessionMembers, keys_of_device, keys_of_mdn, transactions_of

__all__ = [
    "CHANNEL",
    "MOST_EVENTS",
    "ORIGIN",
    "Cursor",
    "EventPosition",
    "LogPage",
    "NewEvent",
    "OtherEvent",
    "SeenPart",
    "SessionMembers",
    "Snapshot",
    "StoredEvent",
    "append",
    "earliest",
    "fetch",
    "keys_of_device",
    "keys_of_mdn",
    "latest",
    "read",
    "transactions_of",
]
