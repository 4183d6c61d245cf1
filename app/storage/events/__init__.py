"""The log of events: `log` reads it, `appending` adds what is no report, `cursors` says how far a reader has come.

The writer adds one row for each commit that stores reports; the reports themselves are not copied.
"""

from app.storage.events.appending import CHANNEL, NewEvent, append
from app.storage.events.cursors import ORIGIN, Cursor, Place, Position, Snapshot
from app.storage.events.log import LogPage, StoredEvent, earliest, latest, read

__all__ = [
    "CHANNEL",
    "ORIGIN",
    "Cursor",
    "LogPage",
    "NewEvent",
    "Place",
    "Position",
    "Snapshot",
    "StoredEvent",
    "append",
    "earliest",
    "latest",
    "read",
]
