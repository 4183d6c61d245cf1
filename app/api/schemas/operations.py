"""Answers of the routes for operators: listeners, callbacks, providers, health and erasure."""

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from app.api.answers import Next, Timestamp


class ListenerAnswer(TypedDict):
    """A registration of our callback address at a provider."""

    provider: str
    account: str | None
    service: str
    url: str | None
    managed: Annotated[bool, Field(description="false if it is fixed by the settings and registered by hand")]
    secretKnown: Annotated[bool, Field(description="whether signatures can be checked")]
    registeredAt: Timestamp | None
    checkedAt: Timestamp | None
    headerNames: list[str]
    problem: Annotated[str | None, Field(description="what the last check found wrong")]


class ListenersAnswer(TypedDict):
    """All listeners."""

    listeners: list[ListenerAnswer]
    next: Next


class ListenerTestAnswer(TypedDict):
    """Whether a synthetic callback arrived."""

    arrived: bool
    status: int | None
    durationMs: int
    transactionId: str
    detail: str | None


CallbackState = Literal["stored", "quarantined"]


class CallbackBodyAnswer(TypedDict, total=False):
    """A body: `body` where it is UTF-8 text, else `bodyBase64`."""

    body: str
    bodyBase64: str


class CallbackAnswer(CallbackBodyAnswer):
    """A callback as received, with its state."""

    id: str
    receivedAt: Timestamp
    provider: str
    account: str | None
    service: str | None
    state: CallbackState
    reason: str | None
    signature: str | None
    flags: list[str]


class CallbacksAnswer(TypedDict):
    """Callbacks, newest first."""

    callbacks: list[CallbackAnswer]
    next: Next


class ReplayedAnswer(TypedDict):
    """The result of replaying a callback."""

    id: str
    state: CallbackState
    reports: Annotated[int, Field(description="how many reports it holds; those already stored are not stored twice")]
    reason: Annotated[str | None, Field(description="why it stays in quarantine")]


class ReplayAnswer(TypedDict):
    """How many replayed callbacks were stored, and how many stayed in quarantine."""

    stored: int
    quarantined: int
    next: NotRequired[
        Annotated[str | None, Field(description="with `limit`: the `cursor` to go on with; null at the end")]
    ]
    total: NotRequired[
        Annotated[
            int | None, Field(description="with `limit` and no `cursor`: how many match; null: a million or more")
        ]
    ]


class HealthAnswer(TypedDict):
    """The process is up."""

    status: Literal["ok"]


class ReadinessAnswer(TypedDict):
    """The gateway can do its work."""

    status: Literal["ready"]


class ProviderListenerAnswer(TypedDict):
    """The result of the last check of a listener."""

    account: str | None
    service: str
    checkedAt: Timestamp | None
    problem: str | None


class ProviderStateAnswer(TypedDict):
    """The state of a provider."""

    name: str
    configured: bool
    state: Literal["ready", "not_configured", "paused", "cooling_down", "failing"]
    abilities: list[Literal["locator", "tracker", "callbacks", "listeners"]]
    cooldownSeconds: float | None
    tokenAgeSeconds: float | None
    lastError: str | None
    lastErrorAt: Timestamp | None
    notes: list[str]


class ProviderAnswer(ProviderStateAnswer):
    """The state of a provider and of our listeners there."""

    listeners: Annotated[
        list[ProviderListenerAnswer] | None, Field(description="null while the database cannot be reached")
    ]


class ProvidersAnswer(TypedDict):
    """All providers."""

    providers: list[ProviderAnswer]


class ErasedAnswer(TypedDict):
    """How much was deleted."""

    erased: dict[str, int]
    auditedAs: Annotated[str, Field(description="the device's name in the audit trail from now on")]
