"""Manners towards providers: connections, time limits, retries, and the translation of failures."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

import httpx
import httpx_aiohttp
import pydantic
import stamina

from app.errors import ProviderError, ProviderThrottled, ProviderTimeout, ProviderUnavailable, UnexpectedReply
from app.model import Deadline, ProviderName
from app.provider import Slot

T = TypeVar("T")

NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
"""Failures after which the provider cannot have seen the request."""


def http_client(
    transport: httpx.AsyncBaseTransport | None, *, connect_timeout_s: float, max_connections: int
) -> httpx.AsyncClient:
    """Make the client of one provider, with connections of its own; `transport` replaces the network.

    The caller closes it. Redirects are not followed: a provider that redirects is misconfigured, and a
    bearer token must not travel to another host.
    """
    limits = httpx.Limits(max_connections=max_connections, max_keepalive_connections=max_connections)
    return httpx.AsyncClient(
        transport=transport or httpx_aiohttp.AiohttpTransport(limits=limits, verify=ssl.create_default_context()),
        timeout=httpx.Timeout(None, connect=connect_timeout_s),
        follow_redirects=False,
    )
