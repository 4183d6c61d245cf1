"""Answers on the wire: the types that `rendering` writes and that the OpenAPI document describes.

Members have the names that go over the wire. Answers may grow new members; clients ignore unknown ones.
"""

from typing import Annotated, Literal, NotRequired

from pydantic import Field, WithJsonSchema
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from app.errors import GatewayError, Outcome
from app.model import Source


def _codes(kind: type[GatewayError]) -> set[str]:
    return {kind.code}.union(*map(_codes, kind.__subclasses__()))


Timestamp = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
ProblemCode = Annotated[
    str,
    WithJsonSchema({"type": "string", "enum": sorted(_codes(GatewayError))}),
    Field(description="the kind of problem; stable"),
]
Next = Annotated[str | None, Field(description="`cursor` of the next page; null on the last one")]


class LocationAnswer(TypedDict):
    """A position and how well it is known."""

    latitude: Annotated[float, Field(ge=-90, le=90, description="WGS 84, degrees")]
    longitude: Annotated[float, Field(ge=-180, le=180, description="WGS 84, degrees")]
    accuracy: Annotated[float | None, Field(description="radius in metres of the circle that holds the device")]
    confidence: Annotated[int | None, Field(description="percent; null where the provider states no level")]
    timestamp: Annotated[Timestamp, Field(description="when the device was there")]
    source: Source
    provider: str
    cached: bool


class AttemptAnswer(TypedDict):
    """One attempt at one provider."""

    provider: str
    outcome: Outcome
    durationMs: int
    reason: NotRequired[Annotated[str, Field(description="why the attempt found no position")]]


class DeviceAnswer(TypedDict, total=False):
    """The identifiers of a device that are known."""

    name: str
    imei: str
    meid: str
    esn: str
    mdn: str
    account: str


class FieldErrorAnswer(TypedDict):
    """One invalid field."""

    pointer: Annotated[
        str,
        Field(description="RFC 6901 pointer into the body; `/query`, `/path` and `/header` lead elsewhere"),
    ]
    code: str
    detail: str


class ProviderProblemAnswer(TypedDict):
    """The provider's own code and message."""

    name: str
    code: str | None
    message: str | None


class ProblemAnswer(TypedDict):
    """An RFC 9457 problem document."""

    type: Annotated[str, Field(description="a URN that ends in the code")]
    title: str
    status: int
    detail: Annotated[str, Field(description="what happened and how to fix it")]
    instance: Annotated[str, Field(description="the request's id")]
    code: ProblemCode
    retryable: Annotated[bool, Field(description="whether the same request may succeed later")]
    errors: NotRequired[list[FieldErrorAnswer]]
    provider: NotRequired[ProviderProblemAnswer]
    attempts: NotRequired[list[AttemptAnswer]]
    hints: NotRequired[list[str]]


class LocatedAnswer(TypedDict):
    """A position, and the attempts that led to it."""

    device: DeviceAnswer
    location: LocationAnswer
    attempts: list[AttemptAnswer]
    hints: list[str]


class LocateAnswer(LocatedAnswer):
    """The device's position, and the attempts that led to it."""

    requestId: str


class BatchResult(TypedDict):
    """The answer to one item: `location` with `device`, `attempts` and `hints`, or `problem`."""

    id: str
    device: NotRequired[DeviceAnswer]
    location: NotRequired[LocationAnswer]
    attempts: NotRequired[list[AttemptAnswer]]
    hints: NotRequired[list[str]]
    problem: NotRequired[ProblemAnswer]


class BatchSummary(TypedDict):
    """How many items were located and how many failed."""

    located: int
    failed: int


class BatchAnswer(TypedDict):
    """The results, in the order of the request."""

    requestId: str
    results: list[BatchResult]
    summary: BatchSummary


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
    state: Literal["stored", "quarantined"]
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
    state: Literal["stored", "quarantined"]
    reports: Annotated[int, Field(description="how many reports it holds; those already stored are not stored twice")]
    reason: Annotated[str | None, Field(description="why it stays in quarantine")]


class ReplaySummary(TypedDict):
    """How many replayed callbacks were stored, and how many stayed in quarantine."""

    stored: int
    quarantined: int


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
