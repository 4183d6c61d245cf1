"""What the docs page shows: requests to try, and every problem a route can answer with."""

from typing import Any

from app import errors
from app.api.problems import MEDIA_TYPE, status_of, to_problem
from app.api.rendering import GEOJSON
from app.errors import Attempt, FieldError, GatewayError, ProviderError

_REQUEST_ID = "01JNB3X7Q2V4C0M8T5Y6Z7A8B9"
_EXAMPLE_FIELD = FieldError(pointer="/measurements/gnss/payload", code="INVALID_FORMAT", detail="must be base64")
_EXAMPLE_ATTEMPT = Attempt(provider="thingspace", outcome="unavailable", duration_ms=412, reason="No answer came.")

WIFI = {
    "summary": "A Wi-Fi scan",
    "value": {
        "device": {"name": "pump-0417"},
        "measurements": {
            "wifiAccessPoints": [
                {"macAddress": "3c:37:86:10:22:9a", "signalStrength": -58, "channel": 6},
                {"macAddress": "3c:37:86:10:22:b4", "signalStrength": -71, "channel": 11},
                {"macAddress": "3c:37:86:10:23:05", "signalStrength": -77, "channel": 1},
            ]
        },
    },
}
GNSS = {
    "summary": "A GNSS payload (UBX-RXM-MEAS50)",
    "value": {
        "device": {"name": "pump-0417"},
        "measurements": {
            "gnss": {
                "payload": "tWIChjIAWwLDWtF1QCl6N+kkiCpUoaByVdTe6yNF78Jm0txisDxBql1fwr9l3Kg6dR6mBQZIo5HSug==",
            }
        },
    },
}
CELL = {
    "summary": "A cell scan",
    "value": {
        "measurements": {
            "cellTowers": [
                {
                    "radioType": "lte",
                    "mobileCountryCode": 262,
                    "mobileNetworkCode": 1,
                    "locationAreaCode": 4711,
                    "cellId": 26385408,
                    "physicalCellId": 117,
                    "channel": 1300,
                    "signalStrength": -95,
                    "serving": True,
                }
            ]
        }
    },
}
DEVICE = {
    "summary": "IMEI and MDN",
    "value": {"device": {"imei": "990001123456782", "mdn": "5085550101"}, "maxAge": 300},
}

LOCATE_REQUESTS: dict[str, Any] = {
    "requestBody": {
        "content": {"application/json": {"examples": {"wifi": WIFI, "gnss": GNSS, "cell": CELL, "device": DEVICE}}}
    }
}

_LOCATED = {
    "device": {"name": "pump-0417"},
    "location": {
        "latitude": 40.712961,
        "longitude": -74.006377,
        "accuracy": 27.0,
        "confidence": 68,
        "accuracyBasis": "declared",
        "reported": {"accuracy": 27.0, "confidence": 68},
        "timestamp": "2026-03-02T08:14:55Z",
        "source": "wifi",
        "provider": "cloudlocate",
        "cached": False,
    },
    "attempts": [{"provider": "cloudlocate", "outcome": "located", "durationMs": 412}],
    "hints": [],
}


def links(parameter: str, source: str, **operations: str) -> dict[str, Any]:
    """Document what can be asked next, with a part of this answer as the path's parameter.

    Args:
        parameter: The name in the path.
        source: Where in the answer its value stands, as an OpenAPI runtime expression.
        operations: The operations' ids, by what they do.
    """
    return {name: {"operationId": id_, "parameters": {parameter: source}} for name, id_ in operations.items()}


def problems(*kinds: type[GatewayError]) -> dict[int | str, dict[str, Any]]:
    """Document the problems that a route can answer with, each with an example."""
    documented: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        error = kind()
        if isinstance(error, ProviderError):
            error.provider = "thingspace"
            error.attempts = (_EXAMPLE_ATTEMPT,)
        if kind is errors.InvalidArgument:
            error.errors = (_EXAMPLE_FIELD,)
        status = status_of(error)
        answer = documented.setdefault(
            status,
            {
                "description": "",
                "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemAnswer"}, "examples": {}}},
            },
        )
        answer["description"] = ", ".join(filter(None, (answer["description"], f"`{kind.code}`")))
        answer["content"][MEDIA_TYPE]["examples"][kind.code] = {"value": to_problem(error, _REQUEST_ID)}
    return documented


SERVER = (
    errors.MalformedRequest,
    errors.RequestTimeout,
    errors.HeadersTooLarge,
    errors.Unavailable,
    errors.UnsupportedVersion,
)
"""What every operation may be answered with, because the server answers by itself."""

ACCESS = (errors.Unauthenticated, errors.PermissionDenied, errors.Overloaded, GatewayError, errors.Unavailable)
BODY = (
    errors.MalformedRequest,
    errors.MalformedJson,
    errors.BodyTooLarge,
    errors.UnsupportedMediaType,
    errors.InvalidArgument,
)
PROVIDER = (
    errors.ConsentRequired,
    errors.DeviceNotOwned,
    errors.DeviceUnknown,
    errors.ProviderThrottled,
    errors.UnexpectedReply,
    errors.ProviderRefused,
    errors.ProviderMisconfigured,
    errors.ProviderUnavailable,
    errors.ProviderNotConfigured,
    errors.ProviderTimeout,
)
LOCATING = (
    errors.MissingIdentifier,
    errors.UnsupportedIdentifier,
    errors.UnusableMeasurements,
    errors.UnableToLocate,
    errors.MaxAgeNotMet,
    errors.AccuracyNotMet,
    errors.DeviceUnreachable,
    errors.ServiceNotApplicable,
)

_FEATURE = {
    "type": "Feature",
    "geometry": {"type": "Point", "coordinates": [-74.006377, 40.712961]},
    "properties": {"requestId": _REQUEST_ID, "name": "pump-0417", "accuracy": 27.0, "provider": "cloudlocate"},
}

LOCATE_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Located",
        "content": {
            "application/json": {"example": {"requestId": _REQUEST_ID, **_LOCATED}},
            GEOJSON: {"schema": {"type": "object", "title": "GeoJSON Feature"}, "example": _FEATURE},
        },
    },
    **problems(*ACCESS, *BODY, *LOCATING, *PROVIDER, errors.NotAcceptable),
}
EXPLAIN_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "What would happen",
        "content": {
            "application/json": {
                "example": {
                    "requestId": _REQUEST_ID,
                    "candidates": [
                        {
                            "provider": "cloudlocate",
                            "verdict": "would_be_asked",
                            "reason": None,
                            "expected": {"sources": ["wifi"], "billed": True},
                        },
                        {
                            "provider": "thingspace",
                            "verdict": "unusable",
                            "reason": "it needs the device's identifiers, and none were sent",
                            "expected": None,
                        },
                    ],
                    "stored": None,
                    "ladder": [{"provider": "cloudlocate", "step": "solve", "billed": True}],
                    "budget": {"dailyFixes": 1000, "left": 412, "resetsIn": 55803},
                    "hints": [],
                }
            }
        },
    },
    **problems(*ACCESS, *BODY, errors.UnsupportedIdentifier),
}
BATCH_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Every item's answer or problem",
        "content": {
            "application/json": {
                "example": {
                    "requestId": _REQUEST_ID,
                    "results": [
                        {"id": "a", **_LOCATED},
                        {"id": "b", "problem": to_problem(errors.UnableToLocate(), _REQUEST_ID)},
                    ],
                    "summary": {"located": 1, "failed": 1},
                }
            }
        },
    },
    **problems(*ACCESS, *BODY),
}
