"""Problem documents (RFC 9457): one table from error class to HTTP status, one place that writes them."""

import math
from collections.abc import Sequence
from typing import Any

import orjson
import pydantic
from starlette.responses import Response

from app import errors
from app.api.answers import AttemptAnswer, ProblemAnswer
from app.errors import (
    Attempt,
    FieldError,
    GatewayError,
    InvalidArgument,
    ProviderError,
    RequestError,
    UnsupportedIdentifier,
)

MEDIA_TYPE = "application/problem+json"

STATUSES: dict[type[GatewayError], int] = {
    errors.MalformedRequest: 400,
    errors.MalformedJson: 400,
    errors.Unauthenticated: 401,
    errors.PermissionDenied: 403,
    errors.ConsentRequired: 403,
    errors.DeviceNotOwned: 403,
    errors.NotFound: 404,
    errors.CursorExpired: 410,
    errors.DeviceUnknown: 404,
    errors.MethodNotAllowed: 405,
    errors.NotAcceptable: 406,
    errors.RequestTimeout: 408,
    errors.IncompatibleState: 409,
    errors.IdempotencyInProgress: 409,
    errors.BodyTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.InvalidArgument: 422,
    errors.MissingIdentifier: 422,
    errors.UnsupportedIdentifier: 422,
    errors.UnusableMeasurements: 422,
    errors.UnableToLocate: 422,
    errors.MaxAgeNotMet: 422,
    errors.AccuracyNotMet: 422,
    errors.DeviceUnreachable: 422,
    errors.ServiceNotApplicable: 422,
    errors.IdempotencyKeyReused: 422,
    errors.HeadersTooLarge: 431,
    errors.Overloaded: 429,
    errors.ProviderThrottled: 429,
    errors.UnexpectedReply: 502,
    errors.ProviderRefused: 502,
    errors.ProviderMisconfigured: 502,
    errors.ProviderUnavailable: 503,
    errors.ProviderNotConfigured: 503,
    errors.Unavailable: 503,
    errors.UnsupportedVersion: 505,
    errors.ProviderTimeout: 504,
    errors.OutcomeUnknown: 504,
    GatewayError: 500,
}

_HEADERS: dict[type[GatewayError], dict[str, str]] = {
    errors.Unauthenticated: {"WWW-Authenticate": 'Bearer realm="location-gateway"'},
    errors.UnsupportedMediaType: {"Accept": "application/json"},
    errors.UnsupportedCoding: {"Accept-Encoding": "gzip, deflate"},
}
"""Header fields that RFC 9110 requires with an error: how to authenticate, and what is accepted."""

_DEFAULT_RETRY_AFTER_S = {429: 5, 503: 5}

_CODES = {
    "foreign_number": "UNSUPPORTED",
    "missing": "MISSING",
    "extra_forbidden": "UNKNOWN_FIELD",
    "greater_than": "OUT_OF_RANGE",
    "greater_than_equal": "OUT_OF_RANGE",
    "less_than": "OUT_OF_RANGE",
    "less_than_equal": "OUT_OF_RANGE",
    "finite_number": "OUT_OF_RANGE",
    "int_parsing_size": "OUT_OF_RANGE",
    "too_long": "TOO_MANY",
    "too_short": "TOO_FEW",
    "string_too_long": "TOO_LONG",
    "string_too_short": "TOO_SHORT",
}


def status_of(error: GatewayError) -> int:
    """Look up the HTTP status of an error, by its class or the nearest one above it."""
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def to_problem(error: GatewayError, request_id: str) -> ProblemAnswer:
    """Write an error as the members of a problem document."""
    is_internal = status_of(error) == STATUSES[GatewayError]
    problem: ProblemAnswer = {
        "type": f"urn:location-gateway:problem:{error.code.lower().replace('_', '-')}",
        "title": error.title,
        "status": status_of(error),
        "detail": error.title if is_internal else error.detail,
        "instance": request_id,
        "code": error.code,
        "retryable": error.retryable,
    }
    if error.errors:
        problem["errors"] = [
            {"pointer": field.pointer, "code": field.code, "detail": field.detail} for field in error.errors
        ]
    if isinstance(error, ProviderError) and error.provider:
        problem["provider"] = {"name": error.provider, "code": error.vendor_code, "message": error.vendor_message}
    if error.attempts:
        problem["attempts"] = [to_attempt(attempt) for attempt in error.attempts]
    if error.hints:
        problem["hints"] = list(error.hints)
    return problem


def to_attempt(attempt: Attempt) -> AttemptAnswer:
    """Write an attempt as it stands in answers and problems."""
    written: AttemptAnswer = {
        "provider": attempt.provider,
        "outcome": attempt.outcome,
        "durationMs": attempt.duration_ms,
    }
    if attempt.reason is not None:
        written["reason"] = attempt.reason
    return written


def problem_response(error: GatewayError, request_id: str, *, headers: dict[str, str] | None = None) -> Response:
    """Answer with a problem document, with the headers that belong to its status."""
    status = status_of(error)
    sent = _HEADERS.get(type(error), {}) | (headers or {})
    retry_after_s = error.retry_after_s if error.retry_after_s is not None else _DEFAULT_RETRY_AFTER_S.get(status)
    if retry_after_s is not None and math.isfinite(retry_after_s) and error.retryable:
        sent["Retry-After"] = str(max(1, round(retry_after_s)))
    return Response(orjson.dumps(to_problem(error, request_id)), status, sent, MEDIA_TYPE)


def to_request_error(error: pydantic.ValidationError) -> RequestError:
    """Turn a failed validation into a problem that points at every wrong field and repeats no value."""
    return to_fields_error("Some fields are not valid; `errors` points at each of them.", error.errors())


def to_fields_error(detail: str, found: Sequence[Any]) -> RequestError:
    """Make the problem of what pydantic found wrong; nothing but numbers of other countries is a case of its own."""
    errors = tuple(_to_field_error(one) for one in found)
    if all(one["type"] == "foreign_number" for one in found):
        return UnsupportedIdentifier("The number cannot be an MDN.", errors=errors)
    return InvalidArgument(detail, errors=errors)


def _to_field_error(error: Any) -> FieldError:
    pointer = to_pointer(error["loc"])
    is_member = bool(error["loc"]) and isinstance(error["loc"][-1], str)
    if is_member and error["input"] is None and error["type"] != "extra_forbidden":
        return FieldError(pointer=pointer, code="MISSING", detail="is required")
    return FieldError(pointer=pointer, code=code_of(error["type"]), detail=_words(error))


def _words(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "is not a member known here"
    if error["type"] == "missing":
        return "is required"
    if error["type"] == "int_parsing_size":
        return "has too many digits"
    if error["type"] == "string_pattern_mismatch":
        return "does not have the form that is documented"
    message: str = error["msg"]
    subject, should, what = message.partition(" should ")
    return f"must {what}" if should and subject.isalpha() else message


def code_of(kind: str) -> str:
    """Translate pydantic's kind of error into the code of a field error."""
    return _CODES.get(kind, "INVALID_FORMAT")


def to_pointer(location: tuple[str | int, ...]) -> str:
    """Write a place in a document as an RFC 6901 pointer."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)
