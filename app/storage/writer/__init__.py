"""The one writer of reports and callbacks: many wait, one statement stores them all, one commit releases them.

Batches form by themselves: while a statement runs, whatever arrives makes the next batch, up to half of all that is
under way. A lone entry is stored at once, a burst shares its commits, and no timer is involved.
"""

from app.storage.writer.entries import AliasPair, CommitListener, Entry, Unstorable
from app.storage.writer.queue import Writer

__all__ = ["AliasPair", "CommitListener", "Entry", "Unstorable", "Writer"]
