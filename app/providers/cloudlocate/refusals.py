"""From an HTTP status to an error. The vendor publishes no list, so this one judges by meaning and by wording."""

import math
import re

import httpx

from app.errors import (
    ProviderError,
    ProviderMisconfigured,
    ProviderRefused,
    ProviderThrottled,
    ProviderUnavailable,
    UnableToLocate,
)
from app.providers.cloudlocate import redaction
from app.upstream import retry_after_s, was_declined

_ABOUT_CREDENTIALS = re.compile(r"(?i)(?<!unexpected )token|credential|authori|authenticat")
_ABOUT_POSITIONS = re.compile(r"(?i)\b(position|location)s?\b")

_WRONG_URL = "CloudLocate does not answer at CLOUDLOCATE_URL; compare it with the Thing's details panel."
_WRONG_CREDENTIALS = "CloudLocate rejects the credentials; compare them with the Thing's details panel."


def to_error(response: httpx.Response, *, sent: bytes = b"", known: tuple[str, ...] = ()) -> ProviderError:
    """Translate an answer other than 200 into an error; `sent` and `known` are removed from the vendor's words."""
    message = redaction.read_message(response)
    error = _judge(response, message)
    error.vendor_message = redaction.to_safe(message, sent=sent, known=known)
    error.vendor_code = str(response.status_code)
    return error


def _judge(response: httpx.Response, message: str) -> ProviderError:  # noqa: PLR0911 - one table, one line a row
    match response.status_code:
        # The older services of this family answer bad credentials with 400.
        case 400 if _ABOUT_CREDENTIALS.search(message):
            return ProviderMisconfigured(_WRONG_CREDENTIALS)
        case 401 | 407:
            return ProviderMisconfigured(_WRONG_CREDENTIALS)
        case 402 | 403:
            # Only an operator can change this, so waiting does not help.
            return ProviderUnavailable(
                "CloudLocate does not serve this Thing; see whether it is active and its plan is not used up.",
                retry_after_s=math.inf,
            )
        case 404 if redaction.is_json_object(response) and _ABOUT_POSITIONS.search(message):
            return UnableToLocate(
                "CloudLocate could not work out a position from these measurements.", may_have_been_received=True
            )
        case 404 | 405 | 410 | 300 | 301 | 302 | 303 | 307 | 308:
            return ProviderMisconfigured(_WRONG_URL)
        case 422:
            return UnableToLocate("CloudLocate cannot use these measurements.", may_have_been_received=True)
        case 429:
            return ProviderThrottled("CloudLocate takes no more calls for now.", retry_after_s=retry_after_s(response))
        case status if status >= 500:  # noqa: PLR2004 - the class of server errors
            return ProviderUnavailable(
                f"CloudLocate answered {status}.",
                retry_after_s=retry_after_s(response),
                may_have_been_received=not was_declined(response),
            )
    return ProviderRefused("CloudLocate calls the request wrong.")
