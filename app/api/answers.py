"""Answers on the wire: the types that `rendering` writes and that the OpenAPI document describes.

Members have the names that go over the wire. Answers may grow new members; clients ignore unknown ones.
"""

from typing import Annotated, NotRequired

from pydantic import Field, WithJsonSchema
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from app.accuracy import AccuracyBasis
from app.errors import GatewayError, Outcome
from app.locate import Verdict
from app.model import ReportStatus, ReportType, Source
from app.plausibility import DOUBTS


def _codes(kind: type[GatewayError]) -> set[str]:
    return {kind.code}.union(*map(_codes, kind.__subclasses__()))


Timestamp = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
ProblemCode = Annotated[
    str,
    WithJsonSchema({"type": "string", "enum": sorted(_codes(GatewayError))}),
    Field(description="the kind of problem; stable"),
]
Next = Annotated[str | None, Field(description="`cursor` of the next page; null on the last one")]


QosMet = Annotated[
    bool,
    Field(description="whether the provider says that it met the accuracy asked of it (`qos`); absent otherwise"),
]


AccuracyMet = Annotated[
    bool, Field(description="whether the circle is no wider than `maxAccuracy`; absent where none was sent")
]


class ReportedAccuracy(TypedDict):
    """The provider's own numbers."""

    accuracy: Annotated[float | None, Field(description="metres; null where the provider states no radius")]
    confidence: Annotated[int | None, Field(description="percent; null where the provider states no level")]


class LocationAnswer(TypedDict):
    """A position and how well it is known."""

    latitude: Annotated[float, Field(ge=-90, le=90, description="WGS 84, degrees")]
    longitude: Annotated[float, Field(ge=-180, le=180, description="WGS 84, degrees")]
    accuracy: Annotated[float | None, Field(description="radius in metres of the circle that holds the device")]
    confidence: Annotated[int | None, Field(description="percent; null if the level is unknown")]
    timestamp: Annotated[Timestamp, Field(description="when the device was there")]
    source: Source
    provider: str
    cached: bool
    accuracyBasis: NotRequired[
        Annotated[
            AccuracyBasis,
            Field(
                description="where the level comes from: `declared` by the provider, `scaled` from what it declared, "
                "`assumed` by the operator, or `unknown`"
            ),
        ]
    ]
    reported: NotRequired[ReportedAccuracy]
    stale: NotRequired[Annotated[bool, Field(description="true where `onFailure` brought the last known position")]]
    age: NotRequired[Annotated[float, Field(description="seconds since the device was there, where it is stale")]]


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
    qosMet: NotRequired[QosMet]
    accuracyMet: NotRequired[AccuracyMet]
    problem: NotRequired[ProblemAnswer]


class LocateAnswer(LocatedAnswer):
    """The device's position, and the attempts that led to it."""

    requestId: str


class StepAnswer(TypedDict):
    """One thing that would be asked."""

    provider: str
    step: Annotated[
        str, Field(description="`store`: our own; `cache`, `cache_or_current`, `current`: the network's; `solve`")
    ]
    billed: Annotated[bool | None, Field(description="null where that shows only afterwards")]


class ExpectedAnswer(TypedDict):
    """What an answer of the provider would be like."""

    sources: Annotated[list[Source], Field(description="what the position could be worked out from")]
    billed: Annotated[bool | None, Field(description="null where that shows only afterwards")]


class CandidateAnswer(TypedDict):
    """What would happen with one provider."""

    provider: str
    verdict: Verdict
    reason: Annotated[str | None, Field(description="why, where the verdict does not say it all")]
    expected: Annotated[ExpectedAnswer | None, Field(description="null where it would not be asked")]


class StoredPositionAnswer(TypedDict):
    """The newest stored position of the device."""

    reportId: str
    location: LocationAnswer
    age: Annotated[float, Field(description="seconds since the device was there")]


class BudgetAnswer(TypedDict):
    """What the API key may still spend today (UTC)."""

    dailyFixes: int
    left: int
    resetsIn: Annotated[int, Field(description="seconds")]


class ExplainAnswer(TypedDict):
    """The expected course of a location request; no provider was asked, and nothing was spent."""

    requestId: str
    candidates: Annotated[list[CandidateAnswer], Field(description="all providers, in the order of their turns")]
    stored: StoredPositionAnswer | None
    ladder: Annotated[list[StepAnswer], Field(description="what would be asked, in order, until one is good enough")]
    budget: Annotated[BudgetAnswer | None, Field(description="null where the API key has no limit")]
    hints: list[str]
    problem: NotRequired[ProblemAnswer]


class BatchResult(TypedDict):
    """The answer to one item: `location` with `device`, `attempts` and `hints`, or `problem`."""

    id: str
    device: NotRequired[DeviceAnswer]
    location: NotRequired[LocationAnswer]
    attempts: NotRequired[list[AttemptAnswer]]
    hints: NotRequired[list[str]]
    qosMet: NotRequired[QosMet]
    accuracyMet: NotRequired[AccuracyMet]
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


class ReportDeviceAnswer(TypedDict, total=False):
    """The identifiers stated in the report."""

    imei: str
    meid: str
    esn: str
    mdn: str
    name: str


class ReportErrorAnswer(TypedDict):
    """The provider's reason for not reporting a position."""

    type: str | None
    info: str | None
    timestamp: Timestamp | None


_FLAGS = (
    "anomalies of the report; a fix with one of "
    + ", ".join(f"`{flag}`" for flag in sorted(DOUBTS))
    + " is never a latest position and satisfies no `maxAge`"
)


class ReportAnswer(TypedDict):
    """A provider's report about one device."""

    id: Annotated[
        str, Field(description="derived from the report's time and content: the same content has the same id")
    ]
    transactionId: Annotated[
        str | None, Field(description="the provider's transaction id; null for fixes of `/locate`")
    ]
    sessionId: Annotated[str | None, Field(description="the periodic session that it belongs to")]
    account: str | None
    device: ReportDeviceAnswer
    type: ReportType
    status: Annotated[ReportStatus, Field(description="`info` if the report is not about a position")]
    location: Annotated[LocationAnswer | None, Field(description="null unless located")]
    error: ReportErrorAnswer | None
    provider: str
    reportedAs: Annotated[str | None, Field(description="the report type in the provider's own words")]
    qosMet: Annotated[
        bool | None,
        Field(description="whether the provider says that it met the accuracy asked of it (`qos`); else null"),
    ]
    flags: Annotated[list[str], Field(description=_FLAGS)]
    receivedAt: Timestamp
