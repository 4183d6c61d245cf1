"""Makes, shows, changes and removes subscriptions; each change and its audit row are one commit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from app.access import Action, Actor
from app.access.permissions import check_account
from app.caller import Caller
from app.errors import FieldError, InvalidArgument, NotFound
from app.ids import from_milliseconds, milliseconds, new_id, parse_id, public_id
from app.list_page import ListPage
from app.storage import audit, deliveries, subscriptions
from app.storage.database import Database, Transaction
from app.storage.deliveries import DeliveryRecord, DeliveryState
from app.storage.seal import Seal
from app.storage.subscriptions import Subscription
from app.subscriptions.addresses import DeliveryRules
from app.subscriptions.events import EventLog
from app.subscriptions.signatures import new_secret

BOTH_SECRETS_FOR = timedelta(hours=24)
"""How long after a rotation deliveries bear both signatures."""

_PAGES_COUNTED = 5
_RECOVERED: Mapping[str, Any] = {"problem": None, "failures": 0, "failing_since": None, "slow_until": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionPlan:
    """What a new subscription shall be; members as in `tables.SubscriptionRow`.

    Attributes:
        start: `latest`, `earliest` or a cursor.
    """

    name: str
    url: str
    types: Sequence[str] = ()
    account: str | None = None
    devices: Sequence[str] = ()
    transaction_id: str | None = None
    batch_events: int | None = None
    batch_delay_s: float | None = None
    start: str = "latest"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSecret:
    """A subscription, and its secret, which is never shown again."""

    subscription: "SubscriptionView"
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionView:
    """A subscription as callers see it.

    Attributes:
        state: Failing while the last attempt has failed.
        behind: Events that are not delivered yet.
        oldest_at: The time of the oldest of them.
    """

    row: Subscription
    state: Literal["active", "paused", "failing", "disabled"]
    behind: int
    oldest_at: datetime | None
    now: datetime

    @property
    def id(self) -> UUID:
        """The id of the subscription."""
        return self.row.id


class SubscriptionRegistry:
    """Keeps the subscriptions; a caller who is restricted sees those of its own key alone."""

    def __init__(self, database: Database, seal: Seal, events: EventLog, rules: DeliveryRules) -> None:
        self._database = database
        self._seal = seal
        self._events = events
        self._rules = rules

    async def create(self, plan: SubscriptionPlan, caller: Caller, by: Actor) -> NewSecret:
        """Make a subscription, which sees no more than the key that makes it.

        Raises:
            InvalidArgument: Its address is not allowed, or its start no cursor.
            CursorExpired: What comes after the cursor is no longer kept.
            PermissionDenied: The account is out of the caller's reach.
        """
        self._rules.check_url(plan.url)
        if plan.account is not None:
            check_account(caller, plan.account)
        cursor = await self._events.begin(plan.start)
        now = from_milliseconds(milliseconds(self._database.clock.now()))
        key, secret = UUID(bytes=new_id(now).bytes), new_secret()
        row = Subscription(
            id=key,
            name=plan.name,
            url=plan.url,
            types=list(plan.types),
            account=plan.account,
            devices=list(plan.devices),
            transaction_id=plan.transaction_id,
            batch_events=plan.batch_events,
            batch_delay_s=plan.batch_delay_s,
            key_id=caller.key_id,
            api_key=parse_id(caller.key_id),
            reach_accounts=None if caller.reach.accounts is None else sorted(caller.reach.accounts),
            reach_devices=None if caller.reach.devices is None else list(caller.reach.devices),
            state="active",
            problem=None,
            revision=0,
            sealed_secret=self._sealed(key, secret),
            former_sealed_secret=None,
            former_until=None,
            created_at=now,
            cursor=cursor,
            next_place=0,
            failures=0,
            failing_since=None,
            slow_until=None,
            last_success_at=None,
            last_attempt=None,
        )
        async with self._database.transaction() as db:
            await subscriptions.add(db, row)
            await _audit(db, by, "subscription.create", key)
        return NewSecret(subscription=await self._view(row), secret=secret)

    async def page(self, caller: Caller, *, before: UUID | None, limit: int) -> ListPage[SubscriptionView]:
        """List subscriptions, newest first."""
        key_id = None if caller.reach.is_everything else caller.key_id
        async with self._database.transaction() as db:
            found = await subscriptions.every(db, key_id=key_id, before=before, limit=limit + 1)
        listed = ListPage.of(found, limit)
        return ListPage(entries=[await self._view(row, pages=1) for row in listed.entries], next=listed.next)

    async def find(self, key: UUID, caller: Caller) -> SubscriptionView:
        """Show a subscription.

        Raises:
            NotFound: The caller has none with this id.
        """
        async with self._database.transaction() as db:
            row = await self.locked(db, key, caller, is_locked=False)
        return await self._view(row)

    async def change(self, key: UUID, changes: Mapping[str, Any], caller: Caller, by: Actor) -> SubscriptionView:
        """Change a definition; the key that reactivates a disabled one owns it from then on.

        Args:
            changes: New values of members of `Subscription`.

        Raises:
            NotFound: The caller has none with this id.
            InvalidArgument: The address is not allowed.
            PermissionDenied: The account is out of the caller's reach.
        """
        if "url" in changes:
            self._rules.check_url(changes["url"])
        if changes.get("account") is not None:
            check_account(caller, changes["account"])
        async with self._database.transaction() as db:
            row = await self.locked(db, key, caller)
            values = dict(changes)
            if changes.get("state") == "active" and (row.state != "active" or row.failures):
                values |= _RECOVERED
            if changes.get("state") == "active" and row.state == "disabled":
                values |= {"key_id": caller.key_id, "api_key": parse_id(caller.key_id)}
            if changes.get("state") == "paused":
                values["problem"] = None
            changed = await subscriptions.change(db, key, values)
            await _audit(db, by, "subscription.change", key)
        assert changed is not None
        return await self._view(changed)

    async def remove(self, key: UUID, caller: Caller, by: Actor) -> None:
        """Remove a subscription; nothing more is delivered.

        Raises:
            NotFound: The caller has none with this id.
        """
        async with self._database.transaction() as db:
            await self.locked(db, key, caller)
            await subscriptions.remove(db, key)
            await _audit(db, by, "subscription.delete", key)

    async def rotate(self, key: UUID, caller: Caller, by: Actor) -> NewSecret:
        """Replace the secret; the old one signs as well for a day.

        Raises:
            NotFound: The caller has none with this id.
        """
        secret = new_secret()
        async with self._database.transaction() as db:
            row = await self.locked(db, key, caller)
            values = {
                "sealed_secret": self._sealed(key, secret),
                "former_sealed_secret": row.sealed_secret,
                "former_until": self._database.clock.now() + BOTH_SECRETS_FOR,
            }
            changed = await subscriptions.change(db, key, values)
            await _audit(db, by, "subscription.rotate", key)
        assert changed is not None
        return NewSecret(subscription=await self._view(changed), secret=secret)

    async def deliveries(
        self,
        key: UUID,
        caller: Caller,
        *,
        state: DeliveryState | None,
        since: datetime | None,
        until: datetime | None,
        before: UUID | None,
        limit: int,
    ) -> ListPage[DeliveryRecord]:
        """List deliveries, newest first.

        Raises:
            NotFound: The caller has no subscription with this id.
        """
        async with self._database.transaction() as db:
            await self.locked(db, key, caller, is_locked=False)
            found = await deliveries.page(
                db, key, state=state, since=since, until=until, before=before, limit=limit + 1
            )
        return ListPage.of(found, limit)

    async def replay_deliveries(self, key: UUID, ids: Sequence[UUID | None], caller: Caller, by: Actor) -> int:
        """Let deliveries be sent again; return how many they are.

        Args:
            ids: None where a caller named what cannot be an id.

        Raises:
            NotFound: The caller has no subscription with this id.
            InvalidArgument: Some of the deliveries do not exist.
        """
        async with self._database.transaction() as db:
            await self.locked(db, key, caller)
            known = {one.id for one in await deliveries.find(db, key, [one for one in ids if one is not None])}
            _check_known(ids, known)
            count = await deliveries.begin_anew(db, key, sorted(known), self._database.clock.now())
            await subscriptions.change(db, key, {})
            await _audit(db, by, "subscription.replay", key)
        return count

    async def replay_between(
        self, key: UUID, since: datetime, until: datetime | None, caller: Caller, by: Actor
    ) -> int:
        """Let everything be sent again that holds an event of a time; return how many deliveries that are.

        Raises:
            NotFound: The caller has no subscription with this id.
        """
        async with self._database.transaction() as db:
            await self.locked(db, key, caller)
            now = self._database.clock.now()
            count = await deliveries.begin_anew_between(db, key, since, until or now, now)
            await subscriptions.change(db, key, {})
            await _audit(db, by, "subscription.replay", key)
        return count

    def secrets(self, row: Subscription, at: datetime) -> list[str]:
        """Open the secrets that deliveries are signed with at an instant; none where the encryption key was lost."""
        sealed = [row.sealed_secret]
        if row.former_sealed_secret is not None and row.former_until is not None and at < row.former_until:
            sealed.append(row.former_sealed_secret)
        opened = [self._seal.decrypt(one, sealed_with=row.id.bytes) for one in sealed]
        return [secret.decode() for secret in opened if secret is not None]

    async def locked(self, db: Transaction, key: UUID, caller: Caller, *, is_locked: bool = True) -> Subscription:
        """Find a subscription that a caller may see, and keep others from changing it.

        Raises:
            NotFound: The caller has none with this id.
        """
        row = await subscriptions.find(db, key, is_locked=is_locked)
        if row is None or not (caller.reach.is_everything or row.key_id == caller.key_id):
            raise NotFound("There is no such subscription.")
        return row

    def _sealed(self, key: UUID, secret: str) -> bytes:
        return self._seal.encrypt(secret.encode(), sealed_with=key.bytes)

    async def _view(self, row: Subscription, *, pages: int = _PAGES_COUNTED) -> SubscriptionView:
        async with self._database.transaction() as db:
            waiting, oldest_waiting = await deliveries.count_outstanding(db, row.id)
        unread, oldest_unread = await self._events.count(row, pages=pages)
        oldest = [at for at in (oldest_waiting, oldest_unread) if at is not None]
        is_failing = row.state == "active" and row.failures > 0
        return SubscriptionView(
            row=row,
            state="failing" if is_failing else row.state,
            behind=waiting + unread,
            oldest_at=min(oldest, default=None),
            now=self._database.clock.now(),
        )


def _check_known(ids: Sequence[UUID | None], known: set[UUID]) -> None:
    unknown = [place for place, one in enumerate(ids) if one not in known]
    if unknown:
        fields = [
            FieldError(pointer=f"/deliveries/{place}", code="NOT_FOUND", detail="is no delivery of this subscription")
            for place in unknown[:100]
        ]
        raise InvalidArgument("Some deliveries do not exist, or are no longer kept.", errors=tuple(fields))


async def _audit(db: Transaction, by: Actor, action: Action, key: UUID) -> None:
    await audit.add(db, audit.new_row(by, action, "done", subject=public_id(key)))
