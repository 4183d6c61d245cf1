"""Which events a reader wants, and which of them it may see.

The same function decides for events that are read from the log and for those that are passed on as they come.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from app.caller import EVERYTHING, Reach
from app.events.types import type_of
from app.identifiers import readings
from app.plausibility import OTHER_ACCOUNT
from app.storage import events
from app.storage.database import Database
from app.storage.events import OtherEvent, SessionMembers, StoredEvent
from app.storage.reports import ReportRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """What a reader asks for; None wants everything, and everything given has to hold.

    Attributes:
        types: Names of types, see `types.matching`.
        device_id: An IMEI, MEID or ESN; finds what came under its MDN alone, too.
        mdn: Finds what states this MDN, or none and comes from a device that was seen with it.
        devices: Identifiers of any kind, of which one is enough; none wants all.
        reach: What the reader may see at all.
    """

    types: frozenset[str] | None = None
    account: str | None = None
    device_id: str | None = None
    mdn: str | None = None
    devices: frozenset[str] = frozenset()
    transaction_id: str | None = None
    session_id: UUID | None = None
    reach: Reach = EVERYTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedDevices:
    """Some devices, as events name them.

    Attributes:
        keys: Under which their reports stand.
        mdns: Their MDNs, where these were asked for.
        keys_of_mdns: Under which reports stand that state no MDN, and would state one of these.
    """

    keys: frozenset[str] = frozenset()
    mdns: frozenset[str] = frozenset()
    keys_of_mdns: frozenset[str] = frozenset()

    def has(self, key: str, mdn: str | None) -> bool:
        """Return whether a device is one of them."""
        return key in self.keys or mdn in self.mdns or (mdn is None and key in self.keys_of_mdns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A filter with what had to be looked up for it; equal ones select the same events.

    Attributes:
        devices: All of these have to hold.
        transactions: The provider's ids of the session that is wanted.
    """

    wanted: EventFilter = field(default_factory=EventFilter)
    devices: tuple[NamedDevices, ...] = ()
    transactions: frozenset[str] = frozenset()

    @property
    def is_everything(self) -> bool:
        """Whether every event is selected."""
        return self == Selection()

    @property
    def is_looked_up(self) -> bool:
        """Whether it may be another one by now, because devices and sessions have been learned."""
        return bool(self.devices) or self.wanted.session_id is not None

    def has(self, event: StoredEvent) -> bool:
        """Return whether an event is wanted and within reach."""
        wanted, what = self.wanted, event.what
        if wanted.types is not None and type_of(event) not in wanted.types:
            return False
        if wanted.account is not None and what.account != wanted.account:
            return False
        return self._has_report(what) if isinstance(what, ReportRecord) else self._has_other(what)

    def _has_report(self, report: ReportRecord) -> bool:
        wanted = self.wanted
        if wanted.transaction_id is not None and report.transaction_id != wanted.transaction_id:
            return False
        if wanted.session_id is not None and not self._is_of_session(report):
            return False
        if not all(named.has(report.device, report.mdn) for named in self.devices):
            return False
        return wanted.reach.is_everything or _is_within(wanted.reach, report)

    def _is_of_session(self, report: ReportRecord) -> bool:
        if report.session_id is not None:
            return report.session_id == self.wanted.session_id
        return report.transaction_id in self.transactions

    def _has_other(self, what: OtherEvent) -> bool:
        wanted, session = self.wanted, what.session
        if wanted.session_id is not None and what.session_id != wanted.session_id:
            return False
        if wanted.transaction_id is not None and (session is None or session.transaction_id != wanted.transaction_id):
            return False
        for named in self.devices:
            if session is None or not any(named.has(*pair) for pair in session.devices):
                return False
        if not wanted.reach.has_account(what.account):
            return False
        return wanted.reach.devices is None or (session is not None and _has_all(wanted.reach, session))


EVERY_EVENT = Selection()


async def selection_of(database: Database, wanted: EventFilter) -> Selection:
    """Look up what a filter needs.

    Raises:
        Unavailable: The database cannot be reached.
    """
    devices = []
    if wanted.device_id is not None:
        devices.append(NamedDevices(keys=await events.keys_of_device(database, wanted.device_id, wanted.reach)))
    if wanted.mdn is not None:
        keys = await events.keys_of_mdn(database, wanted.mdn, wanted.reach)
        devices.append(NamedDevices(mdns=frozenset({wanted.mdn}), keys_of_mdns=keys))
    if wanted.devices:
        devices.append(await _any_of(database, wanted.devices, wanted.reach))
    transactions = frozenset[str]()
    if wanted.session_id is not None:
        transactions = await events.transactions_of(database, wanted.session_id)
    return Selection(wanted=wanted, devices=tuple(devices), transactions=transactions)


async def _any_of(database: Database, texts: Iterable[str], reach: Reach) -> NamedDevices:
    keys, mdns, keys_of_mdns = set[str](), set[str](), set[str]()
    for known in map(readings, texts):
        for device_id in known.ids:
            keys |= await events.keys_of_device(database, device_id, reach)
        if known.mdn is not None:
            mdns.add(known.mdn)
            keys_of_mdns |= await events.keys_of_mdn(database, known.mdn, reach)
    return NamedDevices(keys=frozenset(keys), mdns=frozenset(mdns), keys_of_mdns=frozenset(keys_of_mdns))


def _is_within(reach: Reach, report: ReportRecord) -> bool:
    # What came to the address of another account than it names is for those who may see everything.
    is_own = report.flags is None or OTHER_ACCOUNT not in report.flags
    return is_own and reach.has_account(report.account) and reach.has_key(report.device, report.mdn)


def _has_all(reach: Reach, session: SessionMembers) -> bool:
    """Return whether all devices of a session are within reach; false for one that has lost some."""
    if len(session.devices) != session.total:
        return False
    return all(
        reach.has_key(device, mdn if (device, mdn) in session.vouched else None) for device, mdn in session.devices
    )
