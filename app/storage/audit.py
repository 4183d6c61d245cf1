"""The audit trail: who did what, when, to which device, and with which outcome."""

from dataclasses import dataclass
from datetime import datetime
from time import time_ns
from typing import Literal, NamedTuple, TypedDict, Unpack
from uuid import UUID

import msgspec
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.ids import from_milliseconds, new_digits
from app.storage.tables import AuditRow

Action = Literal[
    "locate",
    "locate.explain",
    "position.read",
    "periodic.start",
    "periodic.stop",
    "listener.register",
    "listener.remove",
    "listener.test",
    "key.create",
    "key.revoke",
    "key.rotate",
    "reports.read",
    "reports.export",
    "events.read",
    "events.stream",
    "callbacks.read",
    "device.erase",
    "subscription.create",
    "subscription.change",
    "subscription.delete",
    "subscription.rotate",
    "subscription.test",
    "subscription.replay",
]


class NewAudit(msgspec.Struct, omit_defaults=True, kw_only=True):
    """An audit row on its way into the database; members are the columns of `audit`.

    Attributes:
        device: The device's key as in `reports`, see `rows.device_key`.
        outcome: `located`, `accepted`, `done`, or the code of a problem.
        billed: Whether the provider is known to charge for it; None where that is not documented.
        report_id: The report that was handed out.
        subject: What else it is about: a key's id, a listener's service, a format.
    """

    at: datetime
    id: str
    key_id: str
    request_id: str
    action: Action
    outcome: str
    account: str | None = None
    device: str | None = None
    provider: str | None = None
    billed: bool | None = None
    report_id: str | None = None
    session_id: str | None = None
    subject: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """The API key that acts, and the request in which it does."""

    key_id: str
    request_id: str


class About(TypedDict, total=False):
    """What an audit row can name beside actor, action and outcome; members as in `NewAudit`."""

    account: str | None
    device: str | None
    provider: str | None
    billed: bool | None
    report_id: str | None
    session_id: str | None
    subject: str | None


def new_row(by: Actor, action: Action, outcome: str, **about: Unpack[About]) -> NewAudit:
    """Make a row about something that has happened just now."""
    now_ms = time_ns() // 1_000_000
    row = NewAudit(
        at=from_milliseconds(now_ms),
        id=new_digits(now_ms),
        key_id=by.key_id,
        request_id=by.request_id,
        action=action,
        outcome=outcome,
        **about,
    )
    # Devices without an identifier have an empty key.
    row.device = row.device or None
    return row


async def add(session: AsyncSession, row: NewAudit) -> None:
    """Add a row in the transaction of the action that it records."""
    values = msgspec.structs.asdict(row)
    ids = {name: UUID(values[name]) for name in ("id", "report_id", "session_id") if values[name] is not None}
    await session.execute(insert(AuditRow).values(**values | ids))


class AuditRecord(NamedTuple):
    """An audit row as it is stored; members are columns of `audit`, see `NewAudit`."""

    id: UUID
    at: datetime
    key_id: str
    request_id: str
    action: str
    outcome: str
    account: str | None
    device: str | None
    provider: str | None
    billed: bool | None
    report_id: UUID | None
    session_id: UUID | None
    subject: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which rows are wanted; None does not restrict.

    Attributes:
        device: An identifier, MDN or name; finds the periodic sessions that it was part of, too.
        since: Included.
        until: Excluded.
        before: Older than the row with this id, for paging.
    """

    key_id: str | None = None
    device: str | None = None
    account: str | None = None
    action: Action | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: UUID | None = None
