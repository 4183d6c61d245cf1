"""Every error raised on purpose, as a tree; the class says what went wrong and whether trying again helps.

    GatewayError
    ├── RequestError            the caller has to change something
    │   ├── MalformedRequest, RequestTimeout, HeadersTooLarge, UnsupportedVersion
    │   ├── MalformedJson, UnsupportedMediaType, UnsupportedCoding, BodyTooLarge
    │   ├── InvalidArgument, MissingIdentifier, UnsupportedIdentifier, UnusableMeasurements
    │   ├── Unauthenticated, PermissionDenied, NotFound, CursorExpired, NotAcceptable
    │   └── IncompatibleState, IdempotencyKeyReused, IdempotencyInProgress
    ├── Overloaded, Unavailable our own limits and our own database
    │   ├── RateExceeded                           the key's requests in a minute
    │   ├── TransactionConflict                    two transactions of ours were in each other's way
    │   ├── DatabaseUnusable                       it cannot be reached, refuses us, or is not migrated
    │   ├── SettingsInvalid, AddressUnusable       the gateway cannot start
    │   └── NoGateway, GatewayTimeout              nothing answers the command line
    └── ProviderError           what a provider did, or did not do
        ├── ProviderUnavailable, ProviderTimeout
        │   └── TimeTooShort                           the call was not made, for lack of time
        ├── ProviderThrottled
        │   ├── AllowanceUsedUp                        the account's, at the provider
        │   └── BudgetExceeded                         the key's billed fixes on a day
        ├── ProviderNotConfigured, ProviderMisconfigured, UnexpectedReply, ProviderRefused
        ├── UnableToLocate, DeviceUnreachable, MaxAgeNotMet, AccuracyNotMet
        ├── ConsentRequired, DeviceNotOwned            final: nobody else is asked
        ├── DeviceUnknown, ServiceNotApplicable
        └── OutcomeUnknown                             the provider may have started the work

The HTTP status of each class stands in `api.problems`, in one table.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    import asyncio

Outcome = Literal[
    "located", "no_position", "unavailable", "timeout", "refused", "rejected", "not_configured", "skipped"
]
"""How one attempt at one provider ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldError:
    """One wrong field of a request.

    Attributes:
        pointer: RFC 6901 pointer into the request body; other parts of the request begin with `/query`, `/path` or
            `/header`.
        code: Stable, upper case, e.g. `INVALID_FORMAT`.
        detail: What is wrong and how to put it right; never repeats the value.
    """

    pointer: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try at one provider, as listed in the answer.

    Attributes:
        provider: The provider's name.
        duration_ms: From asking to knowing, in milliseconds.
        reason: Why it did not locate the device, in words; None when it did.
    """

    provider: str
    outcome: Outcome
    duration_ms: int
    reason: str | None = None


class GatewayError(Exception):
    """Anything the gateway refuses or fails to do, with words fit for the caller.

    Attributes:
        code: The stable `code` of the problem document.
        title: A few words that are the same for every problem of this code.
        retryable: Whether the same request may succeed later.
        detail: What happened and how to put it right; holds no identifier, position or secret.
        errors: The fields at fault.
        retry_after_s: When to come back, in seconds; None: a few seconds may do; infinity: nobody knows, or waiting
            alone does not help.
        attempts: What was tried before this.
        hints: What the caller could do better.
    """

    code: ClassVar[str] = "INTERNAL"
    title: ClassVar[str] = "The gateway failed"
    retryable: ClassVar[bool] = False

    def __init__(
        self, detail: str = "", *, errors: tuple[FieldError, ...] = (), retry_after_s: float | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail or self.title
        self.errors = errors
        self.retry_after_s = retry_after_s
        self.attempts: tuple[Attempt, ...] = ()
        self.hints: tuple[str, ...] = ()


class RequestError(GatewayError):
    """The caller has to change the request before sending it again."""


class MalformedRequest(RequestError):
    """What came is no HTTP request; the connection ends."""

    code = "MALFORMED_REQUEST"
    title = "The request is not valid HTTP"


class RequestTimeout(RequestError):
    """The request did not arrive as a whole in time; the connection ends."""

    code = "REQUEST_TIMEOUT"
    title = "The request did not arrive in time"
    retryable = True


class HeadersTooLarge(RequestError):
    """The request line and the headers exceed their limit; the connection ends."""

    code = "HEADERS_TOO_LARGE"
    title = "The headers are too large"


class UnsupportedVersion(RequestError):
    """The request is in a version of HTTP that is not spoken here; the connection ends."""

    code = "HTTP_VERSION_NOT_SUPPORTED"
    title = "This version of HTTP is not supported"


class MalformedJson(RequestError):
    """The body is no JSON."""

    code = "MALFORMED_JSON"
    title = "The body is not valid JSON"


class UnsupportedMediaType(RequestError):
    """The body's media type is none that this route reads."""

    code = "UNSUPPORTED_MEDIA_TYPE"
    title = "Unsupported media type"


class UnsupportedCoding(UnsupportedMediaType):
    """The body's content coding is none that is undone here."""


class BodyTooLarge(RequestError):
    """The body exceeds the limit for its route."""

    code = "BODY_TOO_LARGE"
    title = "The body is too large"


class InvalidArgument(RequestError):
    """A field is missing, malformed, out of range or unknown."""

    code = "INVALID_ARGUMENT"
    title = "A field is not valid"


class MissingIdentifier(RequestError):
    """The provider needs an identifier that was neither given nor learned earlier."""

    code = "MISSING_IDENTIFIER"
    title = "A device identifier is missing"


class UnsupportedIdentifier(RequestError):
    """The identifier is well formed, but cannot be used for this call."""

    code = "UNSUPPORTED_IDENTIFIER"
    title = "This kind of identifier is not supported here"


class UnusableMeasurements(RequestError):
    """The measurements are well formed and cannot lead to a position; no provider was called."""

    code = "UNUSABLE_MEASUREMENTS"
    title = "The measurements cannot lead to a position"


class Unauthenticated(RequestError):
    """No API key, or one that is unknown, expired or revoked."""

    code = "UNAUTHENTICATED"
    title = "An API key is needed"


class PermissionDenied(RequestError):
    """The API key is known and may not do this."""

    code = "PERMISSION_DENIED"
    title = "This API key may not do that"


class NotFound(RequestError):
    """The thing does not exist in this gateway."""

    code = "NOT_FOUND"
    title = "Not found"


class CursorExpired(RequestError):
    """What comes after the cursor is no longer kept."""

    code = "CURSOR_EXPIRED"
    title = "The cursor has expired"


class MethodNotAllowed(RequestError):
    """The path exists, and not with this method."""

    code = "METHOD_NOT_ALLOWED"
    title = "Method not allowed"


class NotAcceptable(RequestError):
    """The caller takes none of the media types that the answer can be had as."""

    code = "NOT_ACCEPTABLE"
    title = "None of the accepted media types can be served"


class IncompatibleState(RequestError):
    """The thing is in a state in which this cannot be done."""

    code = "INCOMPATIBLE_STATE"
    title = "Not possible in the present state"


class IdempotencyKeyReused(RequestError):
    """The same Idempotency-Key came with another request."""

    code = "IDEMPOTENCY_KEY_REUSED"
    title = "This Idempotency-Key belongs to another request"


class IdempotencyInProgress(RequestError):
    """The first request with this Idempotency-Key is still under way."""

    code = "IDEMPOTENCY_IN_PROGRESS"
    title = "The first request with this Idempotency-Key is still running"
    retryable = True


class Overloaded(GatewayError):
    """A limit of the caller's or of the gateway's is reached."""

    code = "TOO_MANY_REQUESTS"
    title = "Too many requests"
    retryable = True


class RateExceeded(Overloaded):
    """The key has sent as many requests as it may in a minute."""


class Unavailable(GatewayError):
    """Something the gateway itself needs, such as its database, is away."""

    code = "UNAVAILABLE"
    title = "The gateway cannot do that right now"
    retryable = True


class TransactionConflict(Unavailable):
    """Another transaction got in the way of ours, of which nothing was kept; trying again may help at once."""


class DatabaseUnusable(Unavailable):
    """The database cannot be used as it is; the detail says why and what to do.

    Attributes:
        reason: Stable, for programs.
    """

    title = "The database cannot be used"
    reason: Literal["unreachable", "refused", "missing", "unmigrated", "too_old"] = "unreachable"


class SettingsInvalid(Unavailable):
    """Some settings are not valid.

    Attributes:
        problems: Each with the name of its environment variable, without values.
    """

    title = "The settings are not valid"
    problems: tuple[str, ...] = ()


class AddressUnusable(Unavailable):
    """The gateway cannot listen on its address."""

    title = "The address cannot be listened on"


class NoGateway(Unavailable):
    """No gateway answers the command line."""

    title = "No gateway answers"


class GatewayTimeout(Unavailable):
    """The gateway does not answer the command line in time."""

    title = "The gateway does not answer in time"


class ProviderError(GatewayError):
    """What a provider did or did not do.

    Attributes:
        provider: The provider's name; filled in by `upstream` or the use case.
        vendor_code: The provider's own code, where it sent one.
        vendor_message: The provider's own words, already safe to show.
        may_have_been_received: Whether the provider may have started, and billed, the work.
        moves_on: Whether another provider may be asked after this.
        outcome: How the attempt is listed in `attempts`.
    """

    moves_on: ClassVar[bool] = True
    outcome: ClassVar[Outcome] = "unavailable"

    def __init__(
        self,
        detail: str = "",
        *,
        provider: str = "",
        vendor_code: str | None = None,
        vendor_message: str | None = None,
        may_have_been_received: bool = False,
        errors: tuple[FieldError, ...] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(detail, errors=errors, retry_after_s=retry_after_s)
        self.provider = provider
        self.vendor_code = vendor_code
        self.vendor_message = vendor_message
        self.may_have_been_received = may_have_been_received


class ProviderUnavailable(ProviderError):
    """The connection failed, the provider answered 5xx, or it is cooling down after failures."""

    code = "PROVIDER_UNAVAILABLE"
    title = "The provider is not available"
    retryable = True


class ProviderTimeout(ProviderError):
    """The provider did not answer in time.

    Attributes:
        is_hasty: The caller gave less time than the provider may need; that says nothing about the provider.
        late: The result of the call where it goes on: a `Located`, or the `GatewayError` that it ends with.
        expected_at: When that may be expected at the latest, on the clock of `time.monotonic`.
    """

    code = "PROVIDER_TIMEOUT"
    title = "The provider did not answer in time"
    retryable = True
    outcome: ClassVar[Outcome] = "timeout"
    is_hasty: bool = False
    late: "asyncio.Future[Any] | None" = None
    expected_at: float = 0.0


class TimeTooShort(ProviderTimeout):
    """So little time is left that the call was not made; nothing is billed."""

    outcome = "skipped"
    is_hasty = True


class ProviderThrottled(ProviderError):
    """The provider answered 429, or its allowance is used up."""

    code = "QUOTA_EXCEEDED"
    title = "The provider's quota is exhausted"
    retryable = True


class AllowanceUsedUp(ProviderThrottled):
    """The account's allowance at the provider is used up; when it is renewed is not known."""

    title = "The account's allowance at the provider is used up"

    def __init__(self, detail: str = "", *, retry_after_s: float | None = math.inf, **members: Any) -> None:
        super().__init__(detail, retry_after_s=retry_after_s, **members)


class BudgetExceeded(ProviderThrottled):
    """The caller's key has used up the billed fixes that it has for a day; the provider was not asked.

    Attributes:
        left: How many fixes are left; too few for what was asked.
    """

    title = "This API key's daily budget of fixes is used up"
    left: int = 0


class ProviderNotConfigured(ProviderError):
    """The settings of this provider are incomplete."""

    code = "PROVIDER_NOT_CONFIGURED"
    title = "The provider is not configured"
    outcome = "not_configured"


class ProviderMisconfigured(ProviderError):
    """The provider rejects the gateway's credentials, or they are paused after two rejections."""

    code = "PROVIDER_AUTH_FAILED"
    title = "The provider rejects the gateway's credentials"


class UnexpectedReply(ProviderError):
    """What the provider sent could not be read."""

    code = "PROVIDER_BAD_RESPONSE"
    title = "The provider's answer could not be read"
    retryable = True


class ProviderRefused(ProviderError):
    """The provider calls the request wrong, or does not serve this account."""

    code = "PROVIDER_REFUSED"
    title = "The provider rejected the request"
    outcome = "rejected"


class UnableToLocate(ProviderError):
    """The provider answered, and has no position that it can be asked to stand by.

    Attributes:
        obtained: What is stored all the same, because it may have been paid for: a `Located`, or a `NotLocated`.
    """

    obtained: object = None

    code = "UNABLE_TO_LOCATE"
    title = "No position was found"
    outcome = "no_position"


class DeviceUnreachable(UnableToLocate):
    """The network cannot reach the device right now."""

    code = "DEVICE_UNREACHABLE"
    title = "The device cannot be reached"
    retryable = True


class MaxAgeNotMet(UnableToLocate):
    """Even the newest fix to be had is older than the caller's `maxAge`, or of unknown age."""

    code = "UNABLE_TO_FULFILL_MAX_AGE"
    title = "No fix is as fresh as asked"


class AccuracyNotMet(UnableToLocate):
    """The device was located, in a wider circle than the caller's `maxAccuracy`, and that must not be exceeded."""

    code = "UNABLE_TO_FULFILL_ACCURACY"
    title = "No fix is as accurate as asked"


class ConsentRequired(ProviderError):
    """The device's owner has not consented to being located; final."""

    code = "CONSENT_REQUIRED"
    title = "Consent to locate this device is missing"
    moves_on = False
    outcome = "refused"


class DeviceNotOwned(ProviderError):
    """The account may not locate this device; final."""

    code = "DEVICE_NOT_OWNED"
    title = "The account may not locate this device"
    moves_on = False
    outcome = "refused"


class DeviceUnknown(ProviderError):
    """The provider does not know the device."""

    code = "IDENTIFIER_NOT_FOUND"
    title = "The provider does not know this device"
    outcome = "rejected"


class ServiceNotApplicable(ProviderError):
    """The provider does not offer this service for this device."""

    code = "SERVICE_NOT_APPLICABLE"
    title = "The service does not apply to this device"
    outcome = "refused"
    moves_on = False


class OutcomeUnknown(ProviderError):
    """The connection broke after the request was sent: the work may have begun."""

    code = "OUTCOME_UNKNOWN"
    title = "It is not known whether the provider accepted the request"
    outcome = "timeout"
    moves_on = False
