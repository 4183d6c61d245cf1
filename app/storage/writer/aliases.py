"""Remembers which devices, and which pairs of the alias book, this process has stored already."""

import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence

import msgspec
from cachetools import TTLCache

from app.plausibility import OTHER_ACCOUNT
from app.storage.rows import NewReport, NewSimpleFix
from app.storage.writer.entries import AliasPair

_MOST = 65_536
_REMEMBERED_S = 300


class SeenDevice(msgspec.Struct, gc=False):
    """What a report calls its device, on its way into the database; members are those of the statement.

    Attributes:
        is_pair: Whether the provider says that device and MDN belong together in this account.
    """

    device: str
    account: str
    mdn: str | None
    device_kind: str | None
    name: str | None
    at: str
    is_pair: bool

    @property
    def key(self) -> tuple[str, str, str | None, str | None]:
        """What makes two of them the same."""
        return self.account, self.device, self.mdn, self.name


class KnownDevices:
    """Keeps callbacks from storing the same device, and the same pair, again and again.

    A pair is written again at once when its device or its number was seen in another pair since, because the newest
    pair counts, and everything every five minutes all the same: another replica may have seen such a pair, or erased
    this one.
    """

    def __init__(self) -> None:
        # By account, device and MDN: until when the pair need not be written again. The others lead to its rivals.
        self._known: OrderedDict[tuple[str | None, str, str | None], float] = OrderedDict()
        self._mdns: dict[tuple[str, str], str] = {}
        self._holders: dict[tuple[str, str], str] = {}
        # Devices that were not seen in a pair, or under a name.
        self._seen: TTLCache[tuple[str, str, str | None, str | None], bool] = TTLCache(_MOST, _REMEMBERED_S)

    def new_in(self, reports: Iterable[NewReport | NewSimpleFix]) -> list[SeenDevice]:
        """List the devices and pairs that reports teach."""
        now, known = time.monotonic(), self._known
        new = []
        for report in reports:
            is_known = known.get((report.account, report.device, report.mdn), 0.0) > now
            if is_known and report.name is None:
                continue
            seen = _to_seen(report)
            if seen is not None and ((seen.is_pair and not is_known) or seen.key not in self._seen):
                new.append(seen)
        return new

    def remember(self, seen: Sequence[SeenDevice]) -> None:
        """Note that devices and pairs are written down."""
        until_s = time.monotonic() + _REMEMBERED_S
        for one in seen:
            if one.mdn is not None and one.is_pair:
                self._forget_rivals(AliasPair(one.account, one.device, one.mdn))
                self._known[one.account, one.device, one.mdn] = until_s
                self._mdns[one.account, one.device] = one.mdn
                self._holders[one.account, one.mdn] = one.device
            if one.name is not None or not one.is_pair:
                self._seen[one.key] = True
        while len(self._known) > _MOST:
            account, device, mdn = next(iter(self._known))
            self._forget(account or "", device, mdn or "")

    def forget(self, pairs: Iterable[AliasPair]) -> None:
        """Forget what is known of these devices, and of these numbers."""
        for pair in pairs:
            self._forget_rivals(pair)
        self._seen.clear()

    def _forget_rivals(self, pair: AliasPair) -> None:
        mdn = self._mdns.get((pair.account, pair.device), pair.mdn)
        holder = self._holders.get((pair.account, pair.mdn), pair.device)
        self._forget(pair.account, pair.device, mdn)
        self._forget(pair.account, holder, pair.mdn)

    def _forget(self, account: str, device: str, mdn: str) -> None:
        self._known.pop((account, device, mdn), None)
        self._mdns.pop((account, device), None)
        self._holders.pop((account, mdn), None)

    def clear(self) -> None:
        """Forget everything."""
        self._known.clear()
        self._mdns.clear()
        self._holders.clear()
        self._seen.clear()


def _to_seen(report: NewReport | NewSimpleFix) -> SeenDevice | None:
    """Read what a report calls its device; None where it names none."""
    if not report.device:
        return None
    # What came to the address of another account than it names makes the device no device of that account.
    account = "" if report.flags and OTHER_ACCOUNT in report.flags else report.account or ""
    return SeenDevice(
        device=report.device,
        account=account,
        mdn=report.mdn,
        device_kind=report.device_kind,
        name=report.name,
        at=report.received_at.isoformat(),
        is_pair=bool(report.is_vouched and report.mdn and account and report.device_kind),
    )
