"""What is recorded of a trace, what is handed on of it, and when nothing is."""

import io
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode
from structlog.testing import capture_logs

from app.observability import logs
from app.observability.tracing import CURRENT, Commit, Trace, TracingSettings, continued, exporting
from app.settings import Settings
from tests.support.collector import Collector
from tests.support.recorders import Recording, attributes, is_below
from tests.support.servers import serving
from tests.support.waiting import until

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SENT = f"00-{TRACE_ID}-b7ad6b7169203331-01".encode()
UNSAMPLED = f"00-{TRACE_ID}-b7ad6b7169203331-00".encode()
NO_TRACES = [
    None,
    b"",
    b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01",
    b"00-" + TRACE_ID.encode() + b"-" + b"0" * 16 + b"-01",
    SENT.upper(),
    SENT + b"-",
    b"\xff" * 55,
]


@pytest.fixture
def recording() -> Recording:
    return Recording()


@pytest.mark.parametrize("sent", NO_TRACES)
def test_what_is_no_trace_is_neither_continued_nor_a_parent(recording: Recording, sent: bytes | None) -> None:
    recording.recorder.request("GET", sent).end_request("GET", "/healthz", 200)

    assert continued(sent) is None
    assert recording.the("GET /healthz").parent is None


def test_without_a_recorder_the_callers_trace_goes_on_under_a_new_parent() -> None:
    trace = continued(SENT)

    assert trace is not None
    assert trace.trace_id == TRACE_ID
    assert trace.traceparent.startswith(f"00-{TRACE_ID}-")
    assert trace.traceparent.endswith("-01")
    assert "b7ad6b7169203331" not in trace.traceparent


def test_a_request_continues_the_callers_trace(recording: Recording) -> None:
    span = recording.recorder.request("POST", SENT)
    span.end_request("POST", "/locate", 200)

    found = recording.the("POST /locate")
    assert span.trace_id == TRACE_ID
    assert found.parent is not None
    assert (found.parent.span_id, found.parent.is_remote) == (0xB7AD6B7169203331, True)
    assert found.kind is SpanKind.SERVER
    assert attributes(found) == {
        "http.request.method": "POST",
        "http.route": "/locate",
        "http.response.status_code": 200,
    }


def test_a_trace_that_the_caller_does_not_sample_is_handed_on_and_not_recorded(recording: Recording) -> None:
    span = recording.recorder.request("POST", UNSAMPLED)
    call = span.call("cloudlocate locate", {})
    call.end({}, error="timeout")
    span.end_request("POST", "/locate", 200)

    assert recording.spans == ()
    assert call.traceparent.startswith(f"00-{TRACE_ID}-")
    assert call.traceparent.endswith("-00")
    assert call.traceparent != span.traceparent


def test_what_the_sampler_leaves_out_is_not_recorded() -> None:
    recording = Recording(ALWAYS_OFF)

    span = recording.recorder.request("POST", None)
    span.end_request("POST", "/locate", 500)

    assert recording.spans == ()
    assert span.trace_id is not None


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [(200, StatusCode.UNSET, None), (422, StatusCode.UNSET, None), (503, StatusCode.ERROR, "503")],
)
def test_only_our_own_failures_are_errors_of_a_request(
    recording: Recording, status: int, code: StatusCode, error: str | None
) -> None:
    recording.recorder.request("POST").end_request("POST", "/locate", status)

    found = recording.the("POST /locate")
    assert found.status.status_code is code
    assert found.status.description is None
    assert attributes(found).get("error.type") == error


def test_unknown_methods_and_paths_do_not_become_names(recording: Recording) -> None:
    recording.recorder.request("BREW").end_request("BREW", None, 404)

    assert attributes(recording.the("HTTP")) == {"http.request.method": "_OTHER", "http.response.status_code": 404}


def test_what_begins_in_the_background_begins_a_trace(recording: Recording) -> None:
    background = recording.recorder.background()

    background.call("thingspace login", {}).end({})

    assert background.trace_id is None
    assert recording.the("thingspace login").parent is None


def test_a_commit_belongs_to_one_request_and_is_linked_to_the_others(recording: Recording) -> None:
    first, second = recording.recorder.request("POST"), recording.recorder.request("POST")
    commit = Commit()
    for trace in (first, second, first, continued(SENT), recording.recorder.request("POST", UNSAMPLED)):
        commit.join(trace)

    commit.begin(recording.recorder, 5)
    commit.end("UNAVAILABLE")
    for span in (first, second):
        span.end_request("POST", "/locate", 200)

    found = recording.the("commit")
    assert is_below(found, recording.spans[1])
    assert [link.context.span_id for link in found.links] == [second.span.get_span_context().span_id]
    assert attributes(found)["gateway.commit.entries"] == 5
    assert (found.status.status_code, attributes(found)["error.type"]) == (StatusCode.ERROR, "UNAVAILABLE")


def test_a_commit_of_thousands_has_a_bounded_number_of_links(recording: Recording) -> None:
    commit = Commit()
    for _ in range(1000):
        commit.join(recording.recorder.request("POST"))

    commit.begin(recording.recorder, 1000)
    commit.end()

    assert len(recording.the("commit").links) == 64


def test_a_commit_for_nobody_in_particular_begins_a_trace(recording: Recording) -> None:
    commit = Commit()
    commit.join(None)

    commit.begin(recording.recorder, 1)
    commit.end()

    assert recording.the("commit").parent is None


def test_a_commit_that_never_began_leaves_no_span(recording: Recording) -> None:
    Commit().end("UNAVAILABLE")

    assert recording.spans == ()


@pytest.mark.parametrize(
    ("variables", "is_on"),
    [
        ({}, False),
        ({"ENDPOINT": ""}, False),
        ({"ENDPOINT": "http://127.0.0.1:1"}, True),
        ({"TRACES_ENDPOINT": "http://127.0.0.1:1"}, True),
    ],
)
def test_an_endpoint_turns_traces_on(
    variables: dict[str, str],
    is_on: bool,  # noqa: FBT001 -- a column of the table
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", value)

    assert TracingSettings().is_on is is_on


@pytest.mark.parametrize("said", ["true", " TRUE "])
def test_the_sdk_can_be_disabled(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_SDK_DISABLED", said)

    assert not TracingSettings().is_on


@pytest.fixture
def _as_before() -> Iterator[None]:
    yield
    CURRENT.set(None)
    structlog.reset_defaults()


@pytest.mark.usefixtures("_as_before")
@pytest.mark.parametrize("trace", [continued(SENT), Recording().recorder.request("POST", SENT)])
def test_the_trace_stands_in_the_log(trace: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr("sys.stderr", io.TextIOWrapper(written))
    logs.configure_logs(Settings(log_format="json"))

    structlog.get_logger().info("before")
    CURRENT.set(trace)
    structlog.get_logger().info("during")
    CURRENT.set(Recording().recorder.background())
    structlog.get_logger().info("in the background")

    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [line.get("trace_id") for line in lines] == [None, TRACE_ID, None]


async def test_a_collector_that_hangs_holds_up_the_end_for_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
        async with exporting(flush_s=0.2) as recorder:
            assert recorder is not None
            recorder.request("POST").end_request("POST", "/locate", 200)
            begun = time.monotonic()
        took_s = time.monotonic() - begun

    assert 0.2 <= took_s < 0.9


async def test_what_goes_wrong_is_logged_once_and_without_the_texts_of_libraries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:secret@127.0.0.1:1")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    structlog.reset_defaults()  # other tests log errors alone

    with capture_logs() as lines:
        async with exporting(flush_s=0.2) as recorder:
            assert recorder is not None
            recorder.request("POST").end_request("POST", "/locate", 200)
            await until(lambda: lines)

    assert [line["event"] for line in lines] == ["trouble with traces", "the last traces were not sent in time"]
    assert lines[0]["where"].startswith("opentelemetry.exporter.otlp.proto.http.")
    assert lines[0].keys() == {"event", "where", "log_level"}


async def test_the_env_file_configures_the_sdk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collector = Collector()
    async with serving(collector) as url:
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        }
        for name in variables:
            monkeypatch.setenv(name, "")
            monkeypatch.delenv(name)
        (tmp_path / ".env").write_text("\n".join(f"{name}={value}" for name, value in variables.items()))
        async with exporting() as recorder:
            assert recorder is not None
            recorder.request("POST").end_request("POST", "/locate", 200)

    (resource,) = collector.resources
    assert [span.name for span in collector.spans] == ["POST /locate"]
    assert (resource["service.name"], resource["deployment.environment.name"]) == ("location-gateway", "test")
    assert {"service.version", "service.instance.id"} <= resource.keys()


async def test_the_service_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    collector = Collector()
    async with serving(collector) as url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{url}/v1/traces")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "locations-of-the-north")
        async with exporting() as recorder:
            assert recorder is not None
            recorder.request("POST").end_request("POST", "/locate", 200)

    assert [resource["service.name"] for resource in collector.resources] == ["locations-of-the-north"]


async def test_settings_that_the_sdk_cannot_use_leave_the_gateway_without_traces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1000000")

    async with exporting() as recorder:
        assert recorder is None
