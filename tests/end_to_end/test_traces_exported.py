"""Traces over real sockets: a gateway as a process of its own, both vendors, and a collector that decodes."""

import asyncio
import time
from pathlib import Path

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from app.simulator import create_simulator
from tests.support.collector import Collector, Span
from tests.support.gateways import AUTHORIZED, KEY, simulator_variables
from tests.support.servers import running, serving
from tests.support.vendors import CALLBACK_PATH, MDN, TOKEN, WIFI, message
from tests.support.waiting import until

SERVER, CLIENT = 2, 3
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Overheard:
    """The simulator, and the `traceparent` of whatever it was asked."""

    def __init__(self) -> None:
        self.traceparents: dict[str, str] = {}
        self._simulator = create_simulator()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            sent = dict(scope["headers"]).get(b"traceparent", b"")
            self.traceparents[scope["path"]] = sent.decode()
        await self._simulator(scope, receive, send)


def environment(vendor_url: str, database_url: str, port: int, **variables: str) -> dict[str, str]:
    return simulator_variables(vendor_url) | {
        "GATEWAY_DATABASE_URL": database_url,
        "GATEWAY_API_KEY": KEY,
        "GATEWAY_PORT": str(port),
        "THINGSPACE_CALLBACK_TOKEN": TOKEN,
        **variables,
    }


async def ask(port: int) -> tuple[httpx.Response, httpx.Response]:
    """Ask for a location, and post a callback; one that cannot be read as well."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        located = await client.post(
            "/locate", json={"measurements": WIFI}, headers={**AUTHORIZED, "traceparent": PARENT}
        )
        called_back = await client.post(CALLBACK_PATH, json=message())
        await client.post(CALLBACK_PATH, content=b"no JSON")
    return located, called_back


def only(spans: list[Span]) -> Span:
    assert len(spans) == 1, spans
    return spans[0]


async def test_a_question_and_a_callback_are_traced_down_to_their_commits(
    database_url: str, free_port: int, tmp_path: Path
) -> None:
    collector, vendor = Collector(), Overheard()
    async with serving(collector) as collector_url, serving(vendor) as vendor_url:
        variables = environment(vendor_url, database_url, free_port, OTEL_EXPORTER_OTLP_ENDPOINT=collector_url)
        with running(["-m", "app", "serve"], environment=variables, folder=tmp_path) as program:
            await program.answers(f"http://127.0.0.1:{free_port}/readyz")
            located, called_back = await ask(free_port)
            code = await asyncio.to_thread(program.terminate)
            output = program.output()

    assert (located.status_code, called_back.status_code, code) == (200, 200, 0)
    question = only(collector.named("POST /locate"))
    assert (question.kind, question.trace_id, question.parent_id) == (SERVER, PARENT[3:35], PARENT[36:52])
    assert question.attributes["http.route"] == "/locate"
    assert question.attributes["http.response.status_code"] == 200
    call = only(collector.named("cloudlocate locate"))
    assert (call.kind, call.parent_id) == (CLIENT, question.span_id)
    assert call.attributes["server.address"] == "127.0.0.1"
    assert vendor.traceparents["/cloudlocate/v1/position"] == f"00-{question.trace_id}-{call.span_id}-01"
    assert "commit" in {span.name for span in collector.below(question)}

    callback, unreadable = collector.named("POST /callbacks/{provider}/{token}")
    assert unreadable.attributes["http.response.status_code"] == 400
    assert (callback.kind, callback.parent_id) == (SERVER, "")
    assert callback.attributes["gateway.provider"] == "thingspace"
    commit = only([span for span in collector.below(callback) if span.name == "commit"])
    assert commit.attributes["gateway.commit.entries"] == 1

    assert not any(span.is_error for span in collector.spans)
    assert {one["service.name"] for one in collector.resources} == {"location-gateway"}
    assert [line for line in output.splitlines() if '"/locate"' in line and f'"trace_id":"{PARENT[3:35]}"' in line]
    said = "\n".join(collector.texts)
    assert TOKEN not in said
    assert MDN not in said


LOADED = """
import asyncio, sys
import httpx
from app.main import create_app

async def main():
    app = create_app()
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client,
    ):
        located = await client.post("/locate", json={"measurements": MEASUREMENTS}, headers=HEADERS)
        called_back = await client.post(PATH, json=MESSAGE)
    print(located.status_code, called_back.status_code)

asyncio.run(main())
print([name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))])
"""


@pytest.mark.parametrize(
    ("off", "loaded"),
    [
        pytest.param({}, False, id="no endpoint"),
        pytest.param(
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"}, False, id="disabled"
        ),
        pytest.param(
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
            False,
            id="no exporter",
        ),
        pytest.param({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, True, id="an endpoint"),
    ],
)
async def test_the_sdk_is_loaded_only_when_there_is_an_endpoint(
    database_url: str,
    free_port: int,
    tmp_path: Path,
    off: dict[str, str],
    loaded: bool,  # noqa: FBT001 -- a column of the table
) -> None:
    script = f"MEASUREMENTS={WIFI!r}; HEADERS={AUTHORIZED!r}; PATH={CALLBACK_PATH!r}; MESSAGE={message()!r}\n{LOADED}"
    async with serving(create_simulator()) as vendor_url:
        variables = environment(vendor_url, database_url, free_port, **off)
        with running(["-c", script], environment=variables, folder=tmp_path) as program:
            code = await asyncio.to_thread(program.process.wait, 60)
            output = program.output()

    assert code == 0, output
    assert "200 200" in output
    assert ("opentelemetry.sdk.trace" in output) is loaded


async def test_a_collector_that_is_away_slows_nobody_and_its_errors_are_not_quoted(
    database_url: str, free_port: int, tmp_path: Path
) -> None:
    async with serving(create_simulator()) as vendor_url:
        endpoint = "http://user:secret-of-the-collector@127.0.0.1:1"
        variables = environment(vendor_url, database_url, free_port, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
        variables |= {"OTEL_BSP_SCHEDULE_DELAY": "50"}
        with running(["-m", "app", "serve"], environment=variables, folder=tmp_path) as program:
            await program.answers(f"http://127.0.0.1:{free_port}/readyz")
            await ask(free_port)
            await until(lambda: "trouble with traces" in program.output())
            located, called_back = await ask(free_port)
            begun = time.monotonic()
            code = await asyncio.to_thread(program.terminate)
            took_s = time.monotonic() - begun
            output = program.output()

    assert (located.status_code, called_back.status_code, code) == (200, 200, 0)
    assert took_s < 8
    assert "trouble with traces" in output
    assert not [word for word in ("secret-of", "Connection", "Traceback", "Max retries") if word in output], output
