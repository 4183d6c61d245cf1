"""Which identifiers a process has already written down as belonging together."""

import math
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence

import msgspec

from app.storage.rows import NewReport, NewSimpleFix

_MOST = 65_536
_REMEMBERED_S = 3600


class NewAlias(msgspec.Struct, gc=False):
    """A device and an MDN, on their way into the database; members are those of the statement."""

    device: str
    mdn: str
    device_kind: str
    at: str


class KnownAliases:
    """Keeps callbacks from writing the same pair down again and again.

    It is written down again every hour all the same, so that retention sees that it is in use, and so that another
    replica's erasure does not leave it forgotten.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], float] = OrderedDict()

    def new_in(self, reports: Iterable[NewReport | NewSimpleFix]) -> list[NewAlias]:
        """List the pairs that reports teach."""
        known = self._known
        stale = time.monotonic() - _REMEMBERED_S
        return [
            NewAlias(report.device, report.mdn, report.device_kind, report.received_at.isoformat())
            for report in reports
            if report.mdn and report.device_kind and known.get((report.device, report.mdn), -math.inf) < stale
        ]

    def remember(self, aliases: Sequence[NewAlias]) -> None:
        """Note that pairs are written down."""
        now = time.monotonic()
        for alias in aliases:
            self._known[alias.device, alias.mdn] = now
            self._known.move_to_end((alias.device, alias.mdn))
        while len(self._known) > _MOST:
            self._known.popitem(last=False)

    def clear(self) -> None:
        """Forget all pairs."""
        self._known.clear()
