"""The one writer of reports and callbacks: one statement and one commit store many entries.

Batches form by themselves: whatever arrives while a statement runs makes the next batch, up to half of all entries that
are here. A lone entry is stored at once, a burst shares its commits, and no timer is involved.
"""

from app.storage.writer.entries import AliasPair, CommitListener, Entry, Unstorable
from app.storage.writer.queue import Writer

__all__ = ["AliasPair", "CommitListener", "Entry", "Unstorable", "Writer"]
