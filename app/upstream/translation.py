"""Turns what the HTTP library and the decoders raise into provider errors; whether the request was sent is kept."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import msgspec
import pydantic

from app.errors import ProviderError, ProviderTimeout, ProviderUnavailable, UnexpectedReply
from app.model import ProviderName
from app.upstream.connection import UnreadableAnswer

NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
"""What is only raised before the first byte of a request has left."""


@contextmanager
def translated_errors(provider: ProviderName) -> Iterator[None]:
    """Turn the HTTP library's and the decoders' exceptions into provider errors.

    Raises:
        ProviderTimeout: The time ran out while the provider had, or may have had, the request.
        ProviderUnavailable: No connection, or it broke.
        UnexpectedReply: The answer could not be decoded.
    """
    try:
        yield
    except ProviderError as error:
        error.provider = error.provider or provider
        raise
    except NEVER_SENT as error:
        raise ProviderUnavailable("No connection could be made.", provider=provider) from error
    except UnreadableAnswer as error:
        raise UnexpectedReply(
            "The answer is no HTTP, or too large.", provider=provider, may_have_been_received=True
        ) from error
    except (httpx.ReadTimeout, httpx.WriteTimeout) as error:
        raise ProviderTimeout("No answer came in time.", provider=provider, may_have_been_received=True) from error
    except httpx.TransportError as error:
        raise ProviderUnavailable(
            "The connection broke before the answer was complete.", provider=provider, may_have_been_received=True
        ) from error
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        raise UnexpectedReply(
            "The answer broke the HTTP protocol.", provider=provider, may_have_been_received=True
        ) from error
    except (pydantic.ValidationError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnexpectedReply(
            "The answer is not in a form the gateway can read.", provider=provider, may_have_been_received=True
        ) from error
