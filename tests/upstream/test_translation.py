"""What callers are told when an exchange fails, above all whether it may have been received."""

import asyncio
import ssl
from typing import Any

import httpx
import msgspec
import pydantic
import pytest
from peer import OK, Script, Serving, Visit

from app.errors import (
    GatewayError,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    UnableToLocate,
    UnexpectedReply,
)
from app.model import Deadline, ProviderName
from app.upstream import http_client, translated_errors, within

ACME = ProviderName("acme")


async def call(url: str, **limits: float) -> ProviderError:
    """Post to the address, and give the provider error that comes of it."""
    async with http_client(None, connect_timeout_s=5, max_connections=1) as http:
        with pytest.raises(ProviderError) as caught, translated_errors(ACME):
            await http.send(httpx.Request("POST", url, content=b"payload", extensions={"timeout": limits}))
    return caught.value


async def ending(visit: Visit) -> None:
    await visit.request()


async def resetting(visit: Visit) -> None:
    await visit.request()
    visit.reset()


async def hanging(visit: Visit) -> None:
    await visit.request()
    await visit.ended()


async def cutting_off(visit: Visit) -> None:
    await visit.answer(OK[:-1])


async def talking_nonsense(visit: Visit) -> None:
    await visit.answer(b"220 mail server ready\r\n")


async def packing_nonsense(visit: Visit) -> None:
    await visit.answer(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nno")


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (ending, ProviderUnavailable),
        (resetting, ProviderUnavailable),
        (cutting_off, ProviderUnavailable),
        (hanging, ProviderTimeout),
        (talking_nonsense, UnexpectedReply),
        (packing_nonsense, UnexpectedReply),
    ],
)
async def test_a_request_that_left_may_have_been_received(
    serving: Serving, script: Script, error: type[ProviderError]
) -> None:
    peer = await serving(script)

    caught = await call(peer.url, read=0.5 if script is hanging else 10)

    assert type(caught) is error
    assert caught.may_have_been_received
    assert caught.provider == ACME


async def test_a_refused_connection_cannot_have_been_received(free_port: int) -> None:
    caught = await call(f"http://127.0.0.1:{free_port}/")

    assert type(caught) is ProviderUnavailable
    assert not caught.may_have_been_received


async def test_a_certificate_that_is_not_trusted_cannot_have_been_received(
    serving: Serving, server_tls: ssl.SSLContext
) -> None:
    peer = await serving(hanging, server_tls)

    caught = await call(peer.url)

    assert type(caught) is ProviderUnavailable
    assert not caught.may_have_been_received


@pytest.mark.parametrize(
    ("raised", "error", "may_have_been_received"),
    [
        (httpx.ConnectError(""), ProviderUnavailable, False),
        (httpx.ConnectTimeout(""), ProviderUnavailable, False),
        (httpx.PoolTimeout(""), ProviderUnavailable, False),
        (httpx.ProxyError(""), ProviderUnavailable, False),
        (httpx.UnsupportedProtocol(""), ProviderUnavailable, False),
        (httpx.ReadTimeout(""), ProviderTimeout, True),
        (httpx.WriteTimeout(""), ProviderTimeout, True),
        (httpx.ReadError(""), ProviderUnavailable, True),
        (httpx.WriteError(""), ProviderUnavailable, True),
        (httpx.CloseError(""), ProviderUnavailable, True),
        (httpx.RemoteProtocolError(""), ProviderUnavailable, True),
        (httpx.LocalProtocolError(""), ProviderUnavailable, True),
        (httpx.DecodingError(""), UnexpectedReply, True),
        (httpx.TooManyRedirects(""), UnexpectedReply, True),
        (httpx.InvalidURL(""), UnexpectedReply, True),
        (httpx.StreamClosed(), UnexpectedReply, True),
        (msgspec.DecodeError(""), UnexpectedReply, True),
        (msgspec.ValidationError(""), UnexpectedReply, True),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, ""), UnexpectedReply, True),
    ],
)
def test_every_failure_has_its_provider_error(
    raised: Exception, error: type[ProviderError], *, may_have_been_received: bool
) -> None:
    with pytest.raises(ProviderError) as caught, translated_errors(ACME):
        raise raised

    assert type(caught.value) is error
    assert caught.value.may_have_been_received is may_have_been_received
    assert caught.value.provider == ACME
    assert caught.value.__cause__ is raised


def test_a_reply_that_does_not_validate_is_unexpected() -> None:
    with pytest.raises(UnexpectedReply), translated_errors(ACME):
        pydantic.TypeAdapter(int).validate_json(b'"no number"')


@pytest.mark.parametrize(("before", "after"), [("", ACME), ("other", "other")])
def test_a_provider_error_gets_the_name_it_lacks(before: str, after: str) -> None:
    with pytest.raises(UnableToLocate) as caught, translated_errors(ACME):
        raise UnableToLocate(provider=before)

    assert caught.value.provider == after


@pytest.mark.parametrize("error", [KeyError("ours"), GatewayError()])
def test_mistakes_of_our_own_pass_through(error: Exception) -> None:
    with pytest.raises(type(error)), translated_errors(ACME):
        raise error


def test_error_texts_do_not_repeat_the_librarys_words() -> None:
    with pytest.raises(ProviderError) as caught, translated_errors(ACME):
        raise httpx.ConnectError("https://vendor.test/?imei=990001123456782")

    assert "990001123456782" not in caught.value.detail


async def forever() -> Any:
    await asyncio.Event().wait()


@pytest.mark.parametrize(("deadline_s", "limit_s"), [(0.02, None), (0.02, 60), (60, 0.02), (0, None)])
async def test_the_shorter_limit_bounds_the_block(deadline_s: float, limit_s: float | None) -> None:
    with pytest.raises(ProviderTimeout) as caught:
        async with within(Deadline.after(deadline_s), ACME, limit_s=limit_s):
            await forever()

    assert caught.value.may_have_been_received
    assert caught.value.provider == ACME


async def test_a_block_that_ends_in_time_is_left_alone() -> None:
    async with within(Deadline.after(60), ACME):
        pass


async def test_the_caller_may_still_cancel_a_bounded_block() -> None:
    async def bounded() -> None:
        async with within(Deadline.after(60), ACME):
            await forever()

    task = asyncio.create_task(bounded())
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
