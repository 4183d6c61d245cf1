"""The spans of requests, of calls to providers and of callbacks; and what never stands in them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from opentelemetry.trace import StatusCode

from app.main import create_app
from tests.support.gateways import AUTHORIZED, KEY, asking, settings
from tests.support.recorders import Recording, attributes, is_below
from tests.support.vendors import (
    ACCOUNT,
    CALLBACK_PATH,
    DEVICE,
    IMEI,
    MDN,
    TOKEN,
    VARIABLES,
    WIFI,
    Vendors,
    message,
    refused,
    solved,
)

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def recording() -> Recording:
    return Recording()


@pytest.fixture
def both() -> Vendors:
    return Vendors()


@asynccontextmanager
async def traced(
    database_url: str, vendors: Vendors, recording: Recording | None, **changes: Any
) -> AsyncIterator[httpx.AsyncClient]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in VARIABLES.items():
            patch.setenv(name, value)
        recorder = recording.recorder if recording else None
        app = create_app(settings(database_url, **changes), vendors.transport(), recorder=recorder)
        async with asking(app) as client:
            yield client


@pytest.fixture
async def client(database_url: str, both: Vendors, recording: Recording) -> AsyncIterator[httpx.AsyncClient]:
    async with traced(database_url, both, recording) as client:
        yield client


async def test_a_call_to_a_provider_stands_under_the_request_and_is_continued_there(
    client: httpx.AsyncClient, both: Vendors, recording: Recording
) -> None:
    await client.post("/locate", json={"measurements": WIFI}, headers={"traceparent": PARENT})

    request, call = recording.the("POST /locate"), recording.the("cloudlocate locate")
    assert is_below(call, request)
    assert attributes(call) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "server.address": "localhost",
        "gateway.provider": "cloudlocate",
        "gateway.operation": "locate",
        "gateway.outcome": "answered",
    }
    sent = both.cloudlocate_calls[0].headers["traceparent"]
    assert sent == f"{PARENT[:35]}-{call.context.span_id:016x}-01"
    assert [(event.name, dict(event.attributes or {})) for event in request.events] == [
        ("attempt", {"gateway.provider": "cloudlocate", "gateway.outcome": "located"})
    ]


async def test_logins_have_spans_of_their_own(client: httpx.AsyncClient, recording: Recording) -> None:
    await client.post("/locate", json={"device": DEVICE, "maxAge": 0})

    names = ["thingspace token", "thingspace login", "thingspace locate"]
    assert [name for name in recording.names if name.startswith("thingspace")] == names
    request = recording.the("POST /locate")
    assert {recording.the(name).context.trace_id for name in names} == {request.context.trace_id}


@pytest.mark.parametrize(
    ("reply", "outcome", "error"),
    [
        pytest.param(httpx.Response(503), "refused", "503", id="503"),
        pytest.param(httpx.ReadTimeout("late"), "timeout", "timeout", id="timeout"),
        pytest.param(httpx.ConnectError("down"), "unavailable", "unavailable", id="no connection"),
        pytest.param(httpx.DecodingError("bad"), "failed", "failed", id="broken"),
    ],
)
async def test_a_call_that_fails_is_an_error(
    client: httpx.AsyncClient, both: Vendors, recording: Recording, reply: Any, outcome: str, error: str
) -> None:
    both.cloudlocate = reply

    await client.post("/locate", json={"measurements": WIFI})

    call = recording.the("cloudlocate locate")
    assert (attributes(call)["gateway.outcome"], attributes(call)["error.type"]) == (outcome, error)
    assert call.status.status_code is StatusCode.ERROR
    assert call.events == ()


async def test_a_callback_and_its_commit_make_a_trace_of_their_own(
    client: httpx.AsyncClient, recording: Recording
) -> None:
    await client.post(CALLBACK_PATH, json=message(), headers={"traceparent": PARENT})

    callback, commit = recording.the("POST /callbacks/{provider}/{token}"), recording.the("commit")
    assert callback.parent is None
    assert is_below(commit, callback)
    assert attributes(callback) == {
        "http.request.method": "POST",
        "http.route": "/callbacks/{provider}/{token}",
        "http.response.status_code": 200,
        "gateway.provider": "thingspace",
    }


async def test_a_callback_that_is_refused_says_so(client: httpx.AsyncClient, recording: Recording) -> None:
    await client.post("/callbacks/thingspace/wrong-token", json=message())

    callback = recording.the("POST /callbacks/{provider}/{token}")
    assert attributes(callback)["http.response.status_code"] == 404
    assert "commit" not in recording.names


async def test_callbacks_that_share_commits_all_lead_to_one(client: httpx.AsyncClient, recording: Recording) -> None:
    await asyncio.gather(*(client.post(CALLBACK_PATH, json=message(number)) for number in range(20)))

    commits = [span for span in recording.spans if span.name == "commit"]
    callbacks = {span.context.span_id for span in recording.spans if span.name.startswith("POST /callbacks/")}
    parents = {span.parent.span_id for span in commits if span.parent}
    linked = {link.context.span_id for span in commits for link in span.links}
    assert len(callbacks) == 20
    assert parents | linked == callbacks
    assert sum(attributes(span)["gateway.commit.entries"] for span in commits) == 20


async def test_without_a_recorder_the_trace_is_handed_to_the_provider(database_url: str, both: Vendors) -> None:
    async with traced(database_url, both, None) as client:
        await client.post("/locate", json={"measurements": WIFI}, headers={"traceparent": PARENT})
        await client.post("/locate", json={"measurements": WIFI})

    first, second = both.cloudlocate_calls
    assert first.headers["traceparent"].startswith(PARENT[:36])
    assert first.headers["traceparent"] != PARENT
    assert "traceparent" not in second.headers


async def test_the_trace_stands_in_the_log_without_a_recorder_too(
    database_url: str, both: Vendors, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    async with traced(database_url, both, None, log_level="info", log_format="json") as client:
        await client.get("/healthz", headers={"traceparent": PARENT})

    lines = [json.loads(line) for line in capfdbinary.readouterr().err.splitlines()]
    assert [line["trace_id"] for line in lines if line["event"] == "request"] == [PARENT[3:35]]


async def test_spans_hold_no_positions_identifiers_secrets_or_texts(
    client: httpx.AsyncClient, both: Vendors, recording: Recording
) -> None:
    secret = "text-of-an-exception"
    await client.post("/locate", json={"device": {**DEVICE, "name": "pump-0417"}, "measurements": WIFI})
    await client.post("/locate", json={"device": {**DEVICE, "account": ACCOUNT}, "maxAge": 0})
    await client.post("/locate", content=f'{{"{secret}'.encode())
    await client.get(f"/devices/{IMEI}/location")
    await client.get("/reports", params={"mdn": MDN, "account": ACCOUNT})
    await client.get(f"/nothing/{IMEI}/{secret}")
    await client.post(CALLBACK_PATH, json=message())
    await client.post(CALLBACK_PATH, content=secret.encode())
    await client.post(f"/callbacks/thingspace/{secret}", json=message())
    await client.put(f"/listeners/{ACCOUNT}/DeviceLocation", json={"url": f"https://gateway.example/{TOKEN}"})
    both.thingspace = refused("ACCOUNT_UNKNOWN", f"account {ACCOUNT} {secret}")
    await client.get("/listeners")
    await client.post("/periodic", json={"devices": [DEVICE], "interval": 60, "count": 1})
    both.thingspace = httpx.ConnectError(secret)
    await client.post("/locate", json={"device": DEVICE, "maxAge": 0})
    both.cloudlocate = httpx.Response(500, text=secret)
    await client.post("/locate", json={"measurements": WIFI})

    said = "\n".join(span.to_json() for span in recording.spans)

    assert len(recording.spans) > 20
    numbers = str(solved().json()["Location"]["Lat"]), "42.09551", "71.26483"
    own = VARIABLES["THINGSPACE_PASSWORD"], VARIABLES["THINGSPACE_SECRET"], VARIABLES["CLOUDLOCATE_PASSWORD"]
    names = IMEI, MDN, ACCOUNT, TOKEN, KEY, "pump-0417", WIFI["wifiAccessPoints"][0]["macAddress"], "/nothing"
    assert not [word for word in (secret, *numbers, *own, *names, AUTHORIZED["Authorization"]) if str(word) in said]
    words = {name for span in recording.spans for name in attributes(span)}
    assert words <= {
        "http.request.method",
        "http.route",
        "http.response.status_code",
        "server.address",
        "server.port",
        "error.type",
        "db.system.name",
        "gateway.provider",
        "gateway.operation",
        "gateway.outcome",
        "gateway.commit.entries",
    }
