"""A server that is told to stop answers everything that reaches it, and ends when nobody can be left alone."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.config import STARTUP_FAILURE

from app.server import workers
from app.server.protocol import GatewayProtocol
from app.server.shutdown import DrainingServer
from tests.support.pooling import Client
from tests.support.servers import answer_lifespan
from tests.support.waiting import until


class Application:
    """Answers everything, after a moment."""

    def __init__(self) -> None:
        self.is_ready = self.has_streams = True

    def stop_being_ready(self) -> None:
        self.is_ready = False

    def end_streams(self) -> None:
        self.has_streams = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await answer_lifespan(receive, send)
            return
        while (await receive()).get("more_body"):
            pass
        await asyncio.sleep(0.003)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})


@asynccontextmanager
async def told_to_stop(drain_s: float, application: Application) -> AsyncIterator[tuple[DrainingServer, int]]:
    """Run a server until it ends by itself; give it and its port."""
    config = uvicorn.Config(
        application,
        port=0,
        http=GatewayProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
    )
    server = DrainingServer(config, drain_s=drain_s)
    # Signals are pytest's; without capturing them, the server is told by the test.
    serving = asyncio.create_task(server._serve())
    await until(lambda: server.started)
    yield server, server.servers[0].sockets[0].getsockname()[1]
    async with asyncio.timeout(20):
        await serving


def request(_: int) -> tuple[str, bytes]:
    return "POST /", b"x"


async def test_every_request_on_a_connection_that_was_made_is_answered() -> None:
    application = Application()
    async with told_to_stop(0.5, application) as (server, port):
        clients = [Client(port, request) for _ in range(8)]

        async def stop() -> None:
            await until(lambda: all(client.answers for client in clients))
            server.handle_exit(signal.SIGTERM, None)

        async with asyncio.timeout(30):
            await asyncio.gather(stop(), *(client.ask_until_refused() for client in clients))

    assert sum(client.unanswered for client in clients) == 0
    assert not application.is_ready
    assert all(b"connection: close" not in client.answers[0] for client in clients)
    assert all(b"connection: close" in client.answers[-1] for client in clients)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_cuts_the_waiting_short(second: signal.Signals) -> None:
    application = Application()
    async with told_to_stop(3600, application) as (server, _):
        server.handle_exit(signal.SIGTERM, None)
        await until(lambda: not application.is_ready)
        was_serving = server.servers[0].is_serving()

        server.handle_exit(second, None)

    assert was_serving


async def test_it_does_not_wait_for_long_when_nobody_is_connected() -> None:
    application = Application()
    async with told_to_stop(3600, application) as (server, _):
        server.handle_exit(signal.SIGTERM, None)

    assert not application.is_ready


async def test_ctrl_c_ends_it_at_once() -> None:
    application = Application()
    async with told_to_stop(3600, application) as (server, _):
        server.handle_exit(signal.SIGINT, None)

    assert application.is_ready
    assert not application.has_streams


async def test_a_request_that_has_begun_to_arrive_is_answered_before_the_end() -> None:
    async with told_to_stop(0, Application()) as (server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nContent-")
        await until(lambda: server.server_state.connections)
        [listening] = server.servers
        server.handle_exit(signal.SIGTERM, None)
        await until(lambda: not listening.is_serving())
        writer.write(b"Length: 1\r\n\r\nx")
        answer = await reader.read()
        writer.close()

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in answer


async def test_connections_that_wait_to_be_taken_are_served_although_it_stops_listening() -> None:
    async with told_to_stop(0.3, Application()) as (server, port):
        listener = server.servers[0].sockets[0]
        asyncio.get_running_loop().remove_reader(listener.fileno())
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        server.handle_exit(signal.SIGTERM, None)
        await asyncio.sleep(0.4)
        writer.write(b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx")
        answer = await reader.read()
        writer.close()

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in answer


def test_a_port_that_is_taken_is_a_failed_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = uvicorn.Config(Application(), port=taken.getsockname()[1], ws="none", log_config=None)

        with pytest.raises(SystemExit) as ended:
            workers.serve(config, drain_s=0)

    assert ended.value.code == STARTUP_FAILURE
