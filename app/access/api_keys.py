"""Makes, lists, rotates and revokes keys; each change and its audit row are one commit."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from app.access.authentication import PREFIX, digest_of
from app.errors import IncompatibleState, NotFound
from app.ids import from_milliseconds, milliseconds, new_id, public_id
from app.list_page import ListPage
from app.storage import audit, keys
from app.storage.audit import Action, Actor
from app.storage.database import Database
from app.storage.keys import KeyRecord
from app.storage.tables import KeyRow

_MARK_BYTES = 4
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPlan:
    """What a new key shall be allowed; members as in `tables.KeyRow`."""

    name: str
    scopes: tuple[str, ...]
    accounts: tuple[str, ...] | None = None
    devices: tuple[str, ...] | None = None
    rate_per_minute: int | None = None
    daily_fixes: int | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key that has just been made, and its text, which is never shown again."""

    record: KeyRecord
    key: str = field(repr=False)


class KeyStore:
    """Keeps the keys."""

    def __init__(self, database: Database, changed: Callable[[], None] = lambda: None) -> None:
        """Keep them in a database; `changed` is called after each change, for this process to learn of it first."""
        self._database = database
        self._changed = changed

    async def create(self, plan: KeyPlan, by: Actor) -> NewKey:
        """Make a key."""
        now = from_milliseconds(milliseconds(datetime.now(UTC)))
        key, prefix = _new_key()
        row = KeyRow(
            id=UUID(bytes=new_id(now).bytes),
            name=plan.name,
            prefix=prefix,
            digest=digest_of(key),
            scopes=sorted(plan.scopes),
            accounts=None if plan.accounts is None else list(plan.accounts),
            devices=None if plan.devices is None else list(plan.devices),
            rate_per_minute=plan.rate_per_minute,
            daily_fixes=plan.daily_fixes,
            created_at=now,
            expires_at=plan.expires_at,
        )
        async with self._database.transaction() as session:
            await keys.add(session, row)
            await keys.announce(session)
            await audit.add(session, _entry(by, "key.create", row.id))
        self._changed()
        return NewKey(record=KeyRecord.of(row), key=key)

    async def page(self, *, before: UUID | None, limit: int) -> ListPage[KeyRecord]:
        """List keys, newest first, revoked ones included."""
        async with self._database.transaction() as session:
            return ListPage.of(await keys.page(session, before=before, limit=limit + 1), limit)

    async def find(self, key_id: UUID) -> KeyRecord:
        """Find a key.

        Raises:
            NotFound: There is none with this id.
        """
        async with self._database.transaction() as session:
            return KeyRecord.of(_found(await keys.find(session, key_id)))

    async def rotate(self, key_id: UUID, by: Actor) -> NewKey:
        """Replace a key's text by a new one; the old one is refused from now on, limits and records go on.

        Raises:
            NotFound: There is no such key.
            IncompatibleState: It is revoked.
        """
        key, prefix = _new_key()
        async with self._database.transaction() as session:
            row = _found(await keys.locked(session, key_id))
            if row.revoked_at is not None:
                raise IncompatibleState("A revoked key stays revoked; make a new one.")
            row.prefix, row.digest, row.rotated_at = prefix, digest_of(key), datetime.now(UTC)
            await keys.announce(session)
            await audit.add(session, _entry(by, "key.rotate", row.id))
        self._changed()
        return NewKey(record=KeyRecord.of(row), key=key)

    async def revoke(self, key_id: UUID, by: Actor) -> KeyRecord:
        """Revoke a key for good, from now on and everywhere; again, it does nothing.

        Raises:
            NotFound: There is no such key.
        """
        async with self._database.transaction() as session:
            row = _found(await keys.locked(session, key_id))
            if row.revoked_at is None:
                row.revoked_at = datetime.now(UTC)
                await keys.announce(session)
                await audit.add(session, _entry(by, "key.revoke", row.id))
        self._changed()
        return KeyRecord.of(row)


def _new_key() -> tuple[str, str]:
    prefix = PREFIX + secrets.token_hex(_MARK_BYTES)
    return f"{prefix}_{secrets.token_urlsafe(_SECRET_BYTES)}", prefix


def _found(row: KeyRow | None) -> KeyRow:
    if row is None:
        raise NotFound("There is no such key.")
    return row


def _entry(by: Actor, action: Action, key_id: UUID) -> audit.NewAudit:
    return audit.new_row(by, action, "done", subject=public_id(key_id))
