"""Which pairs of the alias book a process has written down already."""

import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from app.storage.rows import NewReport, NewSimpleFix
from app.storage.writer.entries import AliasPair

_MOST = 65_536
_REMEMBERED_S = 300


class NewAlias(msgspec.Struct, gc=False):
    """A device and an MDN of an account, on their way into the database; members are those of the statement."""

    device: str
    mdn: str
    account: str
    device_kind: str
    at: str


class _Known(NamedTuple):
    mdn: str
    until_s: float


class KnownAliases:
    """Keeps callbacks from writing the same pair again and again.

    A pair is written again at once when its device or its number was seen in another pair since, because the newest
    pair counts, and every five minutes all the same: another replica may have seen such a pair, or erased this one.
    """

    def __init__(self) -> None:
        self._mdns: OrderedDict[tuple[str, str], _Known] = OrderedDict()
        self._holders: OrderedDict[tuple[str, str], str] = OrderedDict()

    def new_in(self, reports: Iterable[NewReport | NewSimpleFix]) -> list[NewAlias]:
        """List the pairs that reports teach."""
        now = time.monotonic()
        mdns, holders = self._mdns, self._holders
        new = []
        for report in reports:
            device, mdn, account = report.device, report.mdn, report.account
            if not (report.is_vouched and mdn and account and report.device_kind):
                continue
            known = mdns.get((account, device))
            if known is None or known[0] != mdn or known[1] < now or holders.get((account, mdn)) != device:
                new.append(NewAlias(device, mdn, account, report.device_kind, report.received_at.isoformat()))
        return new

    def remember(self, aliases: Sequence[NewAlias]) -> None:
        """Note that pairs are written down."""
        until_s = time.monotonic() + _REMEMBERED_S
        for alias in aliases:
            self._mdns[alias.account, alias.device] = _Known(alias.mdn, until_s)
            self._mdns.move_to_end((alias.account, alias.device))
            self._holders[alias.account, alias.mdn] = alias.device
            self._holders.move_to_end((alias.account, alias.mdn))
        for known in (self._mdns, self._holders):
            while len(known) > _MOST:
                known.popitem(last=False)

    def forget(self, pairs: Iterable[AliasPair]) -> None:
        """Forget what is known of these devices, and of these numbers."""
        for pair in pairs:
            self._mdns.pop((pair.account, pair.device), None)
            self._holders.pop((pair.account, pair.mdn), None)

    def clear(self) -> None:
        """Forget all pairs."""
        self._mdns.clear()
        self._holders.clear()
