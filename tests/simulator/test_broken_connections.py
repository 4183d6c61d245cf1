"""The faults of the transport, over real sockets where a socket makes the difference."""

import email.utils
import socket
import struct
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import httpx_aiohttp
import pytest
import uvicorn
from starlette.applications import Starlette

from app.simulator import create_simulator, simulator_from_environment
from app.simulator.state import State
from app.simulator.world.clock import RealClock

URL = "/cloudlocate/v1/position"
BODY = b'{"GNSSMeasurements": {"Payload": "tWIChBQAOZMrSy0rH6e9+4zOgOau+ZnY+yKnPg=="}}'
AUTH = ("simulator-thing", "simulator-thing-password")
JSON = {"Content-Type": "application/json"}


class Served:
    def __init__(self, port: int, state: State) -> None:
        self.address = ("127.0.0.1", port)
        self.url = f"http://127.0.0.1:{port}{URL}"
        self.state = state


@pytest.fixture(scope="module", params=["httptools", "h11"])
def running(request: pytest.FixtureRequest) -> Iterator[Served]:
    simulator = create_simulator()
    config = uvicorn.Config(simulator, http=request.param, ws="none", log_level="critical", access_log=False)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        yield Served(listening.getsockname()[1], simulator.state.simulator)
        server.should_exit = True
        thread.join()


@pytest.fixture
def served(running: Served) -> Served:
    running.state.faults.clear()
    running.state.counters.clear()
    return running


def post_raw(served: Served) -> socket.socket:
    request = httpx.Request("POST", served.url, content=BODY, headers=JSON)
    authorization = next(httpx.BasicAuth(*AUTH).auth_flow(request)).headers["Authorization"]
    head = f"POST {URL} HTTP/1.1\r\nHost: simulator\r\nAuthorization: {authorization}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
    connection = socket.create_connection(served.address, timeout=10)
    connection.sendall(head.encode() + BODY)
    return connection


def read_to_end(connection: socket.socket) -> bytes:
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
    return received


@pytest.mark.parametrize("name", ["reset_before", "reset_after", "sim-drop"])
def test_a_reset_is_a_reset_on_the_wire(served: Served, name: str) -> None:
    served.state.faults.put(name)

    with post_raw(served) as connection, pytest.raises(ConnectionResetError):
        read_to_end(connection)


def test_a_reset_before_leaves_nothing_done(served: Served) -> None:
    served.state.faults.put("reset_before")

    with post_raw(served) as connection, pytest.raises(ConnectionResetError):
        read_to_end(connection)

    assert served.state.counters.count("cloudlocate.gnss") == 0
    assert served.state.faults.pending() == []


def test_a_reset_after_leaves_the_work_done(served: Served) -> None:
    served.state.faults.put("reset_after")

    with post_raw(served) as connection, pytest.raises(ConnectionResetError):
        read_to_end(connection)

    assert served.state.counters.count("cloudlocate.gnss") == 1


def test_a_truncated_answer_ends_in_the_middle_of_what_it_promised(served: Served) -> None:
    served.state.faults.put("truncated")

    with post_raw(served) as connection:
        received = read_to_end(connection)

    head, _, body = received.partition(b"\r\n\r\n")
    promised = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    assert head.startswith(b"HTTP/1.1 200 ")
    assert 0 < len(body) < promised


@pytest.mark.parametrize("name", ["reset_before", "reset_after", "truncated"])
@pytest.mark.parametrize("transport", [httpx.AsyncHTTPTransport, httpx_aiohttp.AiohttpTransport])
async def test_real_clients_meet_a_broken_connection_and_recover(
    served: Served, name: str, transport: type[httpx.AsyncBaseTransport]
) -> None:
    served.state.faults.put(name)
    async with httpx.AsyncClient(transport=transport(), auth=AUTH) as client:
        with pytest.raises(httpx.HTTPError):
            await client.post(served.url, content=BODY, headers=JSON)

        recovered = await client.post(served.url, content=BODY, headers=JSON)

    assert recovered.json()["LocationSource"] == "GNSS"


def test_a_hanging_call_ends_when_the_caller_gives_up(served: Served) -> None:
    served.state.faults.put("hang")

    with post_raw(served) as connection:
        connection.settimeout(0.05)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with httpx.Client(auth=AUTH) as client:
        assert client.post(served.url, content=BODY, headers=JSON).status_code == 200


def test_a_served_simulator_answers_properly_without_faults(served: Served) -> None:
    with httpx.Client(auth=AUTH) as client:
        answer = client.post(served.url, content=BODY, headers=JSON)

    assert answer.json()["LocationSource"] == "GNSS"
    assert served.state.counters.calls(URL, status=200) == 1


@pytest.mark.parametrize(
    ("name", "status", "start", "solved"),
    [
        ("status_500_html", 500, b"<!DOCTYPE html>", 0),
        ("status_500_after", 500, b"", 1),
        ("status_502_xml", 502, b"<?xml", 0),
        ("status_503_empty", 503, b"", 0),
        ("status_504_html", 504, b"<!DOCTYPE html>", 1),
        ("garbage", 200, b'{"Location"', 1),
        ("html_200", 200, b"<!DOCTYPE html>", 1),
        ("redirect", 302, b"", 0),
        ("rate_limited", 429, b'{"message"', 0),
    ],
)
async def test_any_call_can_get_a_canned_answer(
    thing: httpx.AsyncClient, state: State, *, name: str, status: int, start: bytes, solved: int
) -> None:
    state.faults.put(name, path="/cloudlocate")

    answer = await thing.post(URL, content=BODY, headers=JSON)

    assert answer.status_code == status
    assert answer.content.startswith(start)
    assert state.counters.count("cloudlocate.gnss") == solved
    assert state.counters.calls(URL, status=status) == 1


async def test_any_status_can_be_asked_for(thing: httpx.AsyncClient, state: State) -> None:
    state.faults.put("status", value=418)

    assert (await thing.post(URL, content=BODY, headers=JSON)).status_code == 418


@pytest.mark.parametrize(("value", "header"), [(None, None), (7, "7"), ("soon", "soon")])
async def test_a_limit_may_say_when_to_come_back(
    thing: httpx.AsyncClient, state: State, value: object, header: str | None
) -> None:
    state.faults.put("rate_limited", value=value)

    assert (await thing.post(URL, content=BODY, headers=JSON)).headers.get("retry-after") == header


async def test_a_limit_may_name_a_date(thing: httpx.AsyncClient, state: State) -> None:
    state.faults.put("rate_limited", value="date")

    header = (await thing.post(URL, content=BODY, headers=JSON)).headers["retry-after"]

    expected = datetime(2026, 3, 2, 8, 15, tzinfo=UTC) + timedelta(minutes=1)
    assert email.utils.parsedate_to_datetime(header) == expected


async def test_a_slow_call_is_answered_properly(thing: httpx.AsyncClient, state: State) -> None:
    state.faults.put("slow", delay_seconds=0.001)

    answer = await thing.post(URL, content=BODY, headers=JSON)

    assert answer.json()["LocationSource"] == "GNSS"
    assert state.faults.pending() == []


@pytest.mark.parametrize(
    ("name", "error"), [("reset_after", httpx.ReadError), ("truncated", httpx.RemoteProtocolError)]
)
async def test_a_broken_connection_in_memory_is_the_clients_own_error(
    thing: httpx.AsyncClient, state: State, name: str, error: type[httpx.HTTPError]
) -> None:
    state.faults.put(name)

    with pytest.raises(error):
        await thing.post(URL, content=BODY, headers=JSON)

    assert state.counters.calls(URL, status=0) == 1


async def test_the_control_api_is_beyond_the_faults(control: httpx.AsyncClient, state: State) -> None:
    state.faults.put("status_503_empty", times=None)

    assert (await control.get("/control/clock")).status_code == 200
    assert (await control.get("/healthz")).status_code == 200


async def test_the_environment_sets_the_seed_the_fleet_and_the_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMULATOR_SEED", "7")
    monkeypatch.setenv("SIMULATOR_FLEET", "3")
    monkeypatch.setenv("SIMULATOR_SPEED", "60")
    monkeypatch.setenv("SIMULATOR_LATENCY_S", "0.001")

    simulator: Starlette = simulator_from_environment()

    state: State = simulator.state.simulator
    assert isinstance(state.clock, RealClock)
    assert (state.options.seed, state.options.fleet, state.clock.speed) == (7, 3, 60.0)
    transport = httpx.ASGITransport(simulator)
    async with httpx.AsyncClient(transport=transport, base_url="http://simulator", auth=AUTH) as client:
        assert (await client.post(URL, content=BODY, headers=JSON)).status_code == 200


def test_the_simulator_imports_nothing_else_of_the_application() -> None:
    modules = Path(create_simulator.__code__.co_filename).parent.rglob("*.py")

    imports = [line for module in modules for line in module.read_text().splitlines() if "import" in line.split()]

    assert not [line for line in imports if " app." in line and " app.simulator" not in line]
