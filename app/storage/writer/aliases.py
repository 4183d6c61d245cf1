"""Which pairs of the alias book a process has written down already."""

import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence

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


class KnownAliases:
    """Keeps callbacks from writing the same pair again and again.

    A pair is written again at once when its device or its number was seen in another pair since, because the newest
    pair counts, and every five minutes all the same: another replica may have seen such a pair, or erased this one.
    """

    def __init__(self) -> None:
        # By account, device and MDN: until when the pair need not be written again. The others lead to its rivals.
        self._known: OrderedDict[tuple[str | None, str, str | None], float] = OrderedDict()
        self._mdns: dict[tuple[str, str], str] = {}
        self._holders: dict[tuple[str, str], str] = {}

    def new_in(self, reports: Iterable[NewReport | NewSimpleFix]) -> list[NewAlias]:
        """List the pairs that reports teach."""
        now, known = time.monotonic(), self._known
        new = []
        for report in reports:
            if known.get((report.account, report.device, report.mdn), 0.0) > now:
                continue
            device, mdn, account = report.device, report.mdn, report.account
            if report.is_vouched and mdn and account and report.device_kind:
                new.append(NewAlias(device, mdn, account, report.device_kind, report.received_at.isoformat()))
        return new

    def remember(self, aliases: Sequence[NewAlias]) -> None:
        """Note that pairs are written down."""
        until_s = time.monotonic() + _REMEMBERED_S
        for alias in aliases:
            self.forget((AliasPair(alias.account, alias.device, alias.mdn),))
            self._known[alias.account, alias.device, alias.mdn] = until_s
            self._mdns[alias.account, alias.device] = alias.mdn
            self._holders[alias.account, alias.mdn] = alias.device
        while len(self._known) > _MOST:
            account, device, mdn = next(iter(self._known))
            self._forget(account or "", device, mdn or "")

    def forget(self, pairs: Iterable[AliasPair]) -> None:
        """Forget what is known of these devices, and of these numbers."""
        for pair in pairs:
            mdn = self._mdns.get((pair.account, pair.device), pair.mdn)
            holder = self._holders.get((pair.account, pair.mdn), pair.device)
            self._forget(pair.account, pair.device, mdn)
            self._forget(pair.account, holder, pair.mdn)

    def _forget(self, account: str, device: str, mdn: str) -> None:
        self._known.pop((account, device, mdn), None)
        self._mdns.pop((account, device), None)
        self._holders.pop((account, mdn), None)

    def clear(self) -> None:
        """Forget all pairs."""
        self._known.clear()
        self._mdns.clear()
        self._holders.clear()
