"""What a subscription has to deliver, in memory: which delivery may be sent now, and what has become of it. Pure.

Deliveries stand in the order of the log. One that shares a device with an earlier unfinished one waits for it, which
keeps each device's events in order while others go on.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any
from uuid import UUID

from app.ids import from_milliseconds, milliseconds, new_id, public_id
from app.instants import to_text
from app.storage.deliveries import DeliveryRecord, DeliveryState
from app.subscriptions.events import DeliverableEvent
from app.subscriptions.receiver import Answer

BATCH_MARK = "batch_"
"""How the `webhook-id` of a batch begins."""

_MOST_ATTEMPTS_KEPT = 50
_ID_BYTES = 16


@dataclass(slots=True, kw_only=True, eq=False)
class Parcel:
    """A delivery on its way.

    Attributes:
        devices: What it shares with the deliveries that it has to wait for.
        is_saved: Whether it is a row already.
        version, saved_version: Differ while its row, or what is to become one, has yet to learn of something.
        is_sent: Whether an attempt is being made at this moment.
        began_at: When it came into memory.
        events: The events themselves, where they are at hand.
    """

    row: DeliveryRecord
    devices: frozenset[str]
    began_at: datetime
    is_saved: bool
    version: int = 0
    saved_version: int = 0
    is_sent: bool = False
    state: DeliveryState = "retrying"
    due_at: datetime | None
    failed: int = 0
    attempts: list[dict[str, Any]] = field(default_factory=list)
    events: Sequence[DeliverableEvent] | None = None

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.state != "retrying"

    @property
    def is_changed(self) -> bool:
        """Whether its row has yet to learn of something."""
        return self.version != self.saved_version

    @property
    def size(self) -> int:
        """How many events it holds."""
        return len(self.row.event_ids)

    def note(self, answer: Answer, at: datetime, retry_in: Callable[[int], timedelta | None]) -> None:
        """Note how an attempt ended, and what follows."""
        self.is_sent = False
        self.version += 1
        self.attempts = [*self.attempts, to_attempt(answer, at)][-_MOST_ATTEMPTS_KEPT:]
        if answer.is_delivered:
            self.finish("delivered")
            return
        self.failed += 1
        delay = retry_in(self.failed)
        if delay is None:
            self.finish("dead")
        else:
            self.due_at = at + timedelta(milliseconds=answer.duration_ms) + delay

    def finish(self, state: DeliveryState) -> None:
        """Let nothing be left to do."""
        self.state, self.due_at, self.events = state, None, None
        self.version += 1

    def to_row(self) -> DeliveryRecord:
        """Write it as it is to be kept."""
        row = self.row
        return DeliveryRecord(
            created_at=row.created_at,
            id=row.id,
            subscription_id=row.subscription_id,
            place=row.place,
            webhook_id=row.webhook_id,
            event_ids=row.event_ids,
            devices=row.devices,
            first_at=row.first_at,
            last_at=row.last_at,
            state=self.state,
            due_at=self.due_at,
            failed=self.failed,
            attempts=self.attempts,
        )


@dataclass(slots=True, kw_only=True, eq=False)
class _Stretch:
    """What was read of the log at once, and where the log goes on behind it."""

    next: str
    began_at: datetime
    parcels: list[Parcel]


_Kept = tuple[Parcel, DeliveryRecord, int]
"""A delivery, the row that it becomes, and the version that the row is of."""


@dataclass(slots=True, kw_only=True)
class Unkept:
    """What has to be kept in one commit.

    Attributes:
        cursor: Where the log was read up to; None where that stays.
        stretches: How many stretches of the log end before the cursor.
    """

    new: list[_Kept] = field(default_factory=list)
    changed: list[_Kept] = field(default_factory=list)
    cursor: str | None = None
    stretches: int = 0

    @property
    def has_deliveries(self) -> bool:
        """Whether there is more to keep than the cursor."""
        return bool(self.new or self.changed)


class Outbox:
    """The deliveries of one subscription, as its leader holds them."""

    def __init__(self) -> None:
        self._parcels: dict[UUID, Parcel] = {}
        self._stretches: list[_Stretch] = []

    def __len__(self) -> int:
        return len(self._parcels)

    def __iter__(self) -> Iterator[Parcel]:
        return iter(self._parcels.values())

    @property
    def in_flight(self) -> int:
        """How many attempts are being made at this moment."""
        return sum(parcel.is_sent for parcel in self)

    def load(self, rows: Iterable[DeliveryRecord], now: datetime) -> None:
        """Take over rows that are to be tried again; those that are known already may have been asked for anew."""
        for row in rows:
            known = self._parcels.get(row.id)
            if known is not None and not known.is_finished and known.due_at is not None:
                known.due_at = min(known.due_at, row.due_at or now)
                known.failed = min(known.failed, row.failed)
            elif known is None:
                self._parcels[row.id] = Parcel(
                    row=row,
                    devices=frozenset(row.devices),
                    began_at=now,
                    is_saved=True,
                    due_at=row.due_at or now,
                    failed=row.failed,
                    attempts=list(row.attempts),
                )
        self._parcels = dict(sorted(self._parcels.items(), key=lambda item: item[1].row.place))

    def add(self, parcels: Sequence[Parcel], cursor: str, now: datetime) -> None:
        """Add what was read of the log; `cursor` is behind it."""
        self._parcels.update((parcel.row.id, parcel) for parcel in parcels)
        if not parcels and self._stretches and not self._stretches[-1].parcels:
            self._stretches[-1].next = cursor
            return
        self._stretches.append(_Stretch(next=cursor, began_at=now, parcels=list(parcels)))

    def busy_devices(self) -> set[str]:
        """List what unfinished deliveries are about."""
        return {device for parcel in self if not parcel.is_finished for device in parcel.devices}

    def ready(self, now: datetime, limit: int) -> list[Parcel]:
        """List what may be sent now, in the order of the log."""
        found: list[Parcel] = []
        busy: set[str] = set()
        for parcel in self:
            if len(found) >= limit:
                break
            if parcel.is_finished:
                continue
            is_due = parcel.due_at is not None and parcel.due_at <= now
            if is_due and not parcel.is_sent and busy.isdisjoint(parcel.devices):
                found.append(parcel)
            busy |= parcel.devices
        return found

    def next_due(self) -> datetime | None:
        """Return when the next delivery may become ready, apart from those that wait for others."""
        busy: set[str] = set()
        dues = []
        for parcel in self:
            if parcel.is_finished:
                continue
            if not parcel.is_sent and parcel.due_at is not None and busy.isdisjoint(parcel.devices):
                dues.append(parcel.due_at)
            busy |= parcel.devices
        return min(dues, default=None)

    def hurry(self, now: datetime) -> None:
        """Let everything be tried at once, because the receiver is well again."""
        for parcel in self:
            if not parcel.is_finished and parcel.due_at is not None and parcel.due_at > now:
                parcel.due_at = now
                parcel.version += 1

    def to_save(self, now: datetime, patience: timedelta) -> "Unkept":
        """Collect what has to be kept, and the cursor that may be kept with it.

        The cursor goes behind what was read once all of it is finished, or will be a row: because it has failed, waits
        for what has failed, or takes longer than `patience`.
        """
        stuck = {device for parcel in self if parcel.is_saved or parcel.failed for device in parcel.devices}
        unkept = Unkept()
        for stretch in self._stretches:
            is_late = now - stretch.began_at >= patience
            if not is_late and not all(_is_settled(parcel, stuck) for parcel in stretch.parcels):
                break
            unkept.cursor = stretch.next
            unkept.stretches += 1
            unkept.new += [(parcel, parcel.to_row(), parcel.version) for parcel in stretch.parcels]
        unkept.changed = [
            (parcel, parcel.to_row(), parcel.version) for parcel in self if parcel.is_saved and parcel.is_changed
        ]
        return unkept

    def saved(self, kept: "Unkept") -> None:
        """Note what is kept by now; the finished deliveries go. Meanwhile some may have changed again."""
        del self._stretches[: kept.stretches]
        for parcel, _, version in (*kept.new, *kept.changed):
            parcel.is_saved, parcel.saved_version = True, version
            if parcel.is_finished and not parcel.is_changed:
                self._parcels.pop(parcel.row.id, None)

    @property
    def unsaved(self) -> int:
        """How many deliveries are not rows and not finished yet."""
        return sum(not parcel.is_saved and not parcel.is_finished for parcel in self)

    @property
    def oldest_unsaved(self) -> datetime | None:
        """When the oldest part of the log was read that is not kept yet."""
        return self._stretches[0].began_at if self._stretches else None


def _is_settled(parcel: Parcel, stuck: Collection[str]) -> bool:
    return parcel.is_finished or parcel.failed > 0 or not parcel.devices.isdisjoint(stuck)


def new_parcel(
    subscription_id: UUID, place: int, events: Sequence[DeliverableEvent], now: datetime, *, is_batch: bool
) -> Parcel:
    """Make a delivery of events."""
    ids = [event.id for event in events]
    devices = list(dict.fromkeys(event.subject for event in events))
    # An id leads to its day, so the two have to agree.
    created_at = from_milliseconds(milliseconds(now))
    row = DeliveryRecord(
        created_at=created_at,
        id=UUID(bytes=new_id(created_at).bytes),
        subscription_id=subscription_id,
        place=place,
        webhook_id=batch_id(subscription_id, ids) if is_batch else public_id(ids[0]),
        event_ids=ids,
        devices=devices,
        first_at=min(event.at for event in events),
        last_at=max(event.at for event in events),
        state="retrying",
        due_at=now,
        failed=0,
        attempts=[],
    )
    return Parcel(row=row, devices=frozenset(devices), began_at=now, is_saved=False, due_at=now, events=list(events))


def batch_id(subscription_id: UUID, ids: Collection[UUID]) -> str:
    """Name a batch by all that is in it, so that the same batch has the same name even after a crash.

    The first event alone would not do: a batch that has grown since is another one, and a receiver that knows the name
    would ignore what is new in it.
    """
    digest = blake2b(digest_size=_ID_BYTES, key=subscription_id.bytes)
    for one in ids:
        digest.update(one.bytes)
    return BATCH_MARK + digest.hexdigest()


def to_attempt(answer: Answer, at: datetime) -> dict[str, Any]:
    """Write an attempt as it is kept, and shown."""
    return {
        "at": to_text(at),
        "status": answer.status,
        "durationMs": answer.duration_ms,
        "answer": answer.text,
        "error": answer.error,
    }
