"""Subscriptions and deliveries: bodies and answers."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from app import identifiers
from app.api.schemas.base import Instant, Schema
from app.api.schemas.identifiers import Account, Text128, Transaction
from app.events import matching
from app.subscriptions import SubscriptionPlan

_MOST_DEVICES = 1000
_MOST_TYPES = 50
_MOST_REPLAYED = 1000


def _to_type(pattern: str) -> str:
    try:
        matching([pattern])
    except ValueError:
        raise PydanticCustomError(
            "unknown_type", "is no type of events; name one, or a family such as `location.*`"
        ) from None
    return pattern


def _to_device(text: str) -> str:
    found = identifiers.readings(text)
    if not found.ids and found.mdn is None:
        raise PydanticCustomError("identifier", "must be an IMEI, MEID, ESN or MDN")
    return text


Type = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_to_type)]
Device = Annotated[Text128, AfterValidator(_to_device)]
Types = Annotated[
    list[Type] | None,
    Field(max_length=_MOST_TYPES, description="types of events, or families such as `location.*`; empty: all"),
]
Devices = Annotated[
    list[Device] | None,
    Field(max_length=_MOST_DEVICES, description="IMEI, MEID, ESN or MDN of each device; empty: all"),
]
Url = Annotated[str, Field(min_length=1, max_length=2000, description="where deliveries are posted to, over https")]


class BatchOptions(Schema):
    """Several events in one delivery."""

    max_events: Annotated[int, Field(ge=1, le=1000, description="most events in a delivery")] = 100
    max_delay: Annotated[float, Field(ge=0, le=60, description="seconds that an event waits for others")] = 1


class SubscriptionRequest(Schema):
    """A new subscription; filters that are left out do not restrict it beyond what the key may see."""

    name: Annotated[Text128, Field(description="a name to recognise it by")]
    url: Url
    types: Types = None
    account: Account | None = None
    devices: Devices = None
    transaction_id: Transaction | None = None
    batch: Annotated[BatchOptions | None, Field(description="unset: one event per delivery")] = None
    start: Annotated[str, Field(max_length=20_000, description="`latest`, `earliest` or a cursor of `/events`")] = (
        "latest"
    )

    def to_plan(self) -> SubscriptionPlan:
        """Turn it into what is kept."""
        return SubscriptionPlan(
            name=self.name,
            url=self.url,
            types=tuple(dict.fromkeys(self.types or ())),
            account=self.account,
            devices=tuple(dict.fromkeys(self.devices or ())),
            transaction_id=self.transaction_id,
            batch_events=self.batch.max_events if self.batch else None,
            batch_delay_s=self.batch.max_delay if self.batch else None,
            start=self.start,
        )


class SubscriptionChange(Schema):
    """What to change; `null` removes a filter, or the batch."""

    name: Text128 | None = None
    url: Url | None = None
    types: Types = None
    account: Account | None = None
    devices: Devices = None
    transaction_id: Transaction | None = None
    batch: BatchOptions | None = None
    state: Annotated[Literal["active", "paused"] | None, Field(description="`paused` to pause, `active` to resume")] = (
        None
    )

    def to_changes(self) -> dict[str, Any]:
        """List the new values by member of what is kept."""
        changes: dict[str, Any] = {}
        for name in self.model_fields_set:
            value = getattr(self, name)
            if name == "batch":
                changes["batch_events"] = value.max_events if value else None
                changes["batch_delay_s"] = value.max_delay if value else None
            elif name in {"types", "devices"}:
                changes[name] = list(dict.fromkeys(value or ()))
            elif value is not None or name in {"account", "transaction_id"}:
                changes[name] = value
        return changes


class ReplayRequest(Schema):
    """What to deliver again: some deliveries, or all with events of a time."""

    since: Annotated[Instant | None, Field(description="events at or after this instant")] = None
    until: Annotated[Instant | None, Field(description="events before this instant; default: now")] = None
    deliveries: Annotated[list[Annotated[str, Field(max_length=64)]] | None, Field(max_length=_MOST_REPLAYED)] = None

    @model_validator(mode="after")
    def _names_one_way(self) -> Self:
        if (self.since is None) == (self.deliveries is None) or (self.until is not None and self.since is None):
            raise PydanticCustomError("one_way", "send either since (and until), or deliveries")
        if self.since is not None and self.since >= (self.until or datetime.now(UTC)):
            raise PydanticCustomError("empty_time", "until must be later than since")
        return self


class AttemptOfDelivery(TypedDict):
    """One try: the time, the receiver's status and answer, or why there was none."""

    at: str
    status: int | None
    durationMs: int
    answer: Annotated[str, Field(description="the first 1,000 characters")]
    error: str | None


class BatchOfDelivery(TypedDict):
    """Several events in one delivery."""

    maxEvents: int
    maxDelay: float


class SubscriptionAnswer(Schema):
    """A subscription, without its secret."""

    id: str
    name: str
    url: str
    types: list[str]
    account: str | None
    devices: list[str]
    transaction_id: str | None
    batch: BatchOfDelivery | None
    state: Annotated[
        Literal["active", "paused", "failing", "disabled"],
        Field(description="`failing`: active, and the last attempt has failed"),
    ]
    problem: Annotated[str | None, Field(description="why it is disabled")]
    behind: Annotated[
        int, Field(description="events that are not delivered yet; beyond 5,000 (1,000 in a list) at least so many")
    ]
    oldest: Annotated[float | None, Field(description="age of the oldest of them, in seconds")]
    last_attempt: AttemptOfDelivery | None
    last_success_at: datetime | None
    slow_until: Annotated[datetime | None, Field(description="nothing is sent before, because the receiver is busy")]
    key: Annotated[str, Field(description="the key that answers for it")]
    created_at: datetime


class NewSubscriptionAnswer(SubscriptionAnswer):
    """A subscription with its new secret."""

    secret: Annotated[str, Field(description="signs the deliveries (Standard Webhooks); shown only now")]


class SubscriptionsAnswer(Schema):
    """A page of subscriptions, newest first."""

    subscriptions: list[SubscriptionAnswer]
    next: str | None


class SubscriptionTestAnswer(Schema):
    """What the receiver made of a test event."""

    delivered: bool
    status: int | None
    answer: str
    error: Annotated[str | None, Field(description="why there is no answer")]
    duration_ms: int


class DeliveryAnswer(Schema):
    """A delivery and its attempts."""

    id: str
    webhook_id: Annotated[str, Field(description="the `webhook-id` of all its attempts")]
    events: Annotated[list[str], Field(description="ids of the events in it")]
    state: Literal["delivered", "retrying", "dead"]
    attempts: list[AttemptOfDelivery]
    next_attempt_at: datetime | None
    created_at: datetime


class DeliveriesAnswer(Schema):
    """A page of deliveries, newest first."""

    deliveries: list[DeliveryAnswer]
    next: str | None


class DeliveriesReplayed(Schema):
    """How many deliveries are sent again."""

    deliveries: int
