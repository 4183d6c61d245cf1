"""The tree of errors, and the statuses they become."""

from collections.abc import Iterator

import pytest

from app import errors
from app.api.problems import STATUSES, problem_response, status_of, to_pointer, to_problem
from app.errors import Attempt, FieldError, GatewayError, ProviderError, RequestError

CONTRACT = {
    400: {"MALFORMED_JSON", "MALFORMED_REQUEST"},
    401: {"UNAUTHENTICATED"},
    403: {"PERMISSION_DENIED", "CONSENT_REQUIRED", "DEVICE_NOT_OWNED"},
    404: {"NOT_FOUND", "IDENTIFIER_NOT_FOUND"},
    405: {"METHOD_NOT_ALLOWED"},
    413: {"BODY_TOO_LARGE"},
    415: {"UNSUPPORTED_MEDIA_TYPE"},
    409: {"INCOMPATIBLE_STATE", "IDEMPOTENCY_IN_PROGRESS"},
    422: {
        "INVALID_ARGUMENT",
        "MISSING_IDENTIFIER",
        "UNSUPPORTED_IDENTIFIER",
        "UNUSABLE_MEASUREMENTS",
        "UNABLE_TO_LOCATE",
        "UNABLE_TO_FULFILL_MAX_AGE",
        "UNABLE_TO_FULFILL_ACCURACY",
        "DEVICE_UNREACHABLE",
        "SERVICE_NOT_APPLICABLE",
        "IDEMPOTENCY_KEY_REUSED",
    },
    429: {"TOO_MANY_REQUESTS", "QUOTA_EXCEEDED"},
    500: {"INTERNAL"},
    502: {"PROVIDER_BAD_RESPONSE", "PROVIDER_REFUSED", "PROVIDER_AUTH_FAILED"},
    503: {"PROVIDER_UNAVAILABLE", "PROVIDER_NOT_CONFIGURED", "UNAVAILABLE"},
    504: {"PROVIDER_TIMEOUT", "OUTCOME_UNKNOWN"},
}
ABSTRACT = {RequestError, ProviderError}


def tree(kind: type[GatewayError] = GatewayError) -> Iterator[type[GatewayError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from tree(child)


CONCRETE = [kind for kind in tree() if kind not in ABSTRACT and kind.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", CONCRETE, ids=lambda kind: kind.__name__)
def test_every_error_has_a_status(kind: type[GatewayError]) -> None:
    assert kind is GatewayError or status_of(kind()) != STATUSES[GatewayError]


def test_every_code_of_the_contract_has_its_status() -> None:
    made: dict[int, set[str]] = {}
    for kind in CONCRETE:
        made.setdefault(status_of(kind()), set()).add(kind.code)

    assert {status: made.get(status) for status in CONTRACT} == CONTRACT


def test_only_refinements_share_a_code() -> None:
    codes = [kind.code for kind in CONCRETE if kind.__base__ is None or kind.code != getattr(kind.__base__, "code", "")]

    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("kind", CONCRETE, ids=lambda kind: kind.__name__)
def test_every_error_is_a_complete_problem(kind: type[GatewayError]) -> None:
    problem = to_problem(kind(), "request-1")

    assert problem.keys() == {"type", "title", "status", "detail", "instance", "code", "retryable"}
    assert problem["instance"] == "request-1"
    assert all(problem[member] != "" for member in problem)


def test_only_refusals_and_unknown_outcomes_are_final() -> None:
    final = {kind.code for kind in CONCRETE if issubclass(kind, ProviderError) and not kind.moves_on}

    assert final == {"CONSENT_REQUIRED", "DEVICE_NOT_OWNED", "SERVICE_NOT_APPLICABLE", "OUTCOME_UNKNOWN"}


def test_what_is_internal_says_nothing_about_it() -> None:
    assert to_problem(GatewayError("secret 42"), "request-1")["detail"] == GatewayError.title


def test_a_problem_carries_fields_provider_attempts_and_hints_where_there_are_some() -> None:
    error = errors.UnableToLocate(
        "No.",
        provider="thingspace",
        vendor_code="X",
        vendor_message="words",
        errors=(FieldError(pointer="/a", code="B", detail="c"),),
    )
    error.attempts = (Attempt(provider="thingspace", outcome="no_position", duration_ms=3, reason="No."),)
    error.hints = ("more",)

    problem = to_problem(error, "request-1")

    assert problem["errors"] == [{"pointer": "/a", "code": "B", "detail": "c"}]
    assert problem["provider"] == {"name": "thingspace", "code": "X", "message": "words"}
    assert problem["attempts"] == [
        {"provider": "thingspace", "outcome": "no_position", "durationMs": 3, "reason": "No."}
    ]
    assert problem["hints"] == ["more"]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(errors.ProviderThrottled(retry_after_s=7.2), "7", id="what the vendor says"),
        pytest.param(errors.Overloaded(retry_after_s=0.1), "1", id="never less than a second"),
        pytest.param(errors.Unavailable(), "5", id="a default for 503"),
        pytest.param(errors.ProviderThrottled(), "5", id="a default for 429"),
        pytest.param(errors.ProviderNotConfigured(), None, id="not where retrying is in vain"),
        pytest.param(errors.InvalidArgument(), None, id="not for requests that must change"),
    ],
)
def test_when_to_come_back(error: GatewayError, expected: str | None) -> None:
    assert problem_response(error, "request-1").headers.get("retry-after") == expected


def test_pointers_escape_as_rfc_6901_says() -> None:
    assert to_pointer(("a/b", 0, "c~d")) == "/a~1b/0/c~0d"
