"""Erasing a device leaves nothing of it: the whole database is searched afterwards, and the log."""

import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import structlog
from fastapi import FastAPI
from sqlalchemy import text

from app.errors import ProviderUnavailable
from app.main import create_app
from app.provider import Provider, Vault
from app.providers import thingspace
from app.storage.database import Database
from app.storage.device_names import Names, without
from tests.support.gateways import asking, settings
from tests.support.trackers import StubTracker, provider_with
from tests.support.vendors import ACCOUNT, CALLBACK_PATH, DEVICE, IMEI, MDN, VARIABLES, WIFI, Vendors, message

OTHER = {"imei": "990001123456790", "mdn": "5085550102"}
_TABLES = text("SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")


class TrackingModule:
    """A provider that tracks by a stub, and reads ThingSpace's callbacks."""

    Settings = thingspace.Settings

    def __init__(self, tracker: StubTracker) -> None:
        self.tracker = tracker

    def build(self, transport: object | None = None, *, vault: Vault | None = None) -> Provider:
        return provider_with(self.tracker)


async def everything(app: FastAPI) -> str:
    """Read every row of every table as text, binary columns included."""
    database = app.state.storage.database
    await database.pending.settled()
    found = []
    async with database.transaction() as session:
        await session.execute(text("SET LOCAL bytea_output = 'escape'"))
        for table in await session.scalars(_TABLES):
            found += list(await session.scalars(text(f"SELECT row_to_json(t)::text || t::text FROM {table} AS t")))  # noqa: S608 -- names of our own tables
    return "\n".join(found)


@pytest.fixture
def vendors(monkeypatch: pytest.MonkeyPatch) -> Vendors:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    return Vendors()


@pytest.fixture
def app(database_url: str, vendors: Vendors) -> FastAPI:
    return create_app(settings(database_url, log_level="debug"), vendors.transport())


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with asking(app) as client:
        yield client


def about(*devices: dict[str, str], **members: Any) -> bytes:
    listed = []
    for device in devices:
        entry = message()["deviceList"][0]
        listed.append({**entry, "id": device["imei"], "deviceId": {"id": device["imei"]}, "mdn": device["mdn"]})
    return json.dumps(message(deviceList=listed, **members)).encode()


async def live_through_a_day(client: httpx.AsyncClient) -> None:
    """Leave traces of the device wherever the gateway keeps anything."""
    await client.post("/locate", json={"device": DEVICE, "maxAge": 0})
    await client.post("/locate", json={"device": {"imei": IMEI, "name": "pump"}, "measurements": WIFI})
    await client.post("/locate/batch", json={"requests": [{"id": "a", "device": DEVICE}]})
    undated = message()
    undated["deviceList"][0]["positionData"].pop("time")
    for body in (about(DEVICE), about(DEVICE, OTHER), json.dumps(undated).encode(), about(DEVICE)[:-9]):
        await client.post(CALLBACK_PATH, content=body)


@pytest.mark.parametrize("identifier", [IMEI, MDN])
async def test_nothing_of_the_device_is_left_in_the_database(
    client: httpx.AsyncClient, app: FastAPI, identifier: str
) -> None:
    await live_through_a_day(client)
    assert IMEI in await everything(app)

    response = await client.delete(f"/devices/{identifier}")

    left = await everything(app)
    assert response.status_code == 200
    assert (IMEI in left, MDN in left) == (False, False)


async def test_the_answer_tells_how_much_went(client: httpx.AsyncClient) -> None:
    await live_through_a_day(client)

    erased = (await client.delete(f"/devices/{IMEI}")).json()["erased"]

    assert erased == {
        "reports": 4,
        "callbacks": 4,
        "positions": 2,
        "idempotencyAnswers": 0,
        "sessionDevices": 0,
        "auditEntries": 3,
        "aliases": 1,
    }


async def test_other_devices_stay_even_in_the_same_callback(client: httpx.AsyncClient, app: FastAPI) -> None:
    await client.post(CALLBACK_PATH, content=about(DEVICE, OTHER))

    await client.delete(f"/devices/{IMEI}")

    callbacks = (await client.get("/callbacks")).json()["callbacks"]
    [kept] = json.loads(callbacks[0]["body"])["deviceList"]
    assert (len(callbacks), kept["id"], callbacks[0]["flags"]) == (1, OTHER["imei"], ["device_erased"])
    assert (await client.get(f"/devices/{OTHER['imei']}/location")).status_code == 200


@pytest.mark.parametrize(
    "spelling", ["99-000112-345678-2", "99000112345678", "9900011234567801", "9.90001123456782E+14"]
)
async def test_a_device_is_found_in_callbacks_by_every_spelling(client: httpx.AsyncClient, spelling: str) -> None:
    for other in ("990001123456790", "x" * 20_000):
        spelt, stranger = {"imei": spelling, "mdn": MDN}, {"imei": other, "mdn": OTHER["mdn"]}
        await client.post(CALLBACK_PATH, content=about(spelt, stranger))

    await client.delete(f"/devices/{IMEI}")

    callbacks = (await client.get("/callbacks")).json()["callbacks"]
    assert [len(json.loads(callback["body"])["deviceList"]) for callback in callbacks] == [1, 1]


async def test_what_the_device_goes_by_is_learned_again(client: httpx.AsyncClient, app: FastAPI) -> None:
    await client.post(CALLBACK_PATH, content=about(DEVICE))
    await client.delete(f"/devices/{IMEI}")

    await client.post(CALLBACK_PATH, content=about(DEVICE))

    assert (await client.delete(f"/devices/{IMEI}")).json()["erased"]["aliases"] == 1


async def test_a_name_of_the_callers_own_can_be_erased(client: httpx.AsyncClient, app: FastAPI) -> None:
    await client.post("/locate", json={"device": {"name": "pump-0417"}, "measurements": WIFI})

    await client.delete("/devices/pump-0417")

    assert "pump-0417" not in await everything(app)


async def test_the_audit_trail_keeps_who_asked_under_another_name(client: httpx.AsyncClient, app: FastAPI) -> None:
    await client.post("/locate", json={"device": DEVICE, "maxAge": 0})

    known_as = (await client.delete(f"/devices/{IMEI}")).json()["auditedAs"]

    await app.state.storage.database.pending.settled()
    async with app.state.storage.database.transaction() as session:
        trail = list(await session.execute(text("SELECT action, outcome, device, subject FROM audit ORDER BY at, id")))
    assert ("locate", "located", known_as, None) in trail
    assert trail[-1] == ("device.erase", "done", None, known_as)


async def test_erasing_what_nobody_knows_is_no_error(client: httpx.AsyncClient) -> None:
    response = await client.delete("/devices/990001123456700")

    assert (response.status_code, set(response.json()["erased"].values())) == (200, {0})


async def test_the_log_names_no_device(app: FastAPI, capfd: pytest.CaptureFixture[str]) -> None:
    async with asking(app) as client:
        await live_through_a_day(client)
        await client.delete(f"/devices/{IMEI}")
        sys.stderr.flush()
        logged = capfd.readouterr().err
    structlog.reset_defaults()

    assert "/devices/{identifier}" in logged
    assert not [secret for secret in (IMEI, MDN, "42.09551", "40.712961") if secret in logged]


@pytest.fixture
async def tracker() -> StubTracker:
    return StubTracker()


@pytest.fixture
async def tracking(database_url: str, tracker: StubTracker) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings(database_url), providers=(TrackingModule(tracker),))
    async with asking(app) as client:
        app.state.gateway.erase._last_word_s = 0
        yield client


START = {"account": ACCOUNT, "devices": [DEVICE], "interval": 300, "count": 6}


async def test_sessions_in_which_it_reports_are_stopped_first(
    tracking: httpx.AsyncClient, tracker: StubTracker
) -> None:
    session = (await tracking.post("/periodic", json=START)).json()["id"]

    response = await tracking.delete(f"/devices/{MDN}")

    assert response.json()["erased"]["sessionDevices"] == 1
    assert (await tracking.get(f"/periodic/{session}")).json()["state"] in ("stopping", "stopped")


async def test_a_device_that_cannot_be_stopped_is_not_erased(tracking: httpx.AsyncClient, tracker: StubTracker) -> None:
    session = (await tracking.post("/periodic", json=START)).json()["id"]
    tracker.refusals[MDN] = ProviderUnavailable("down", provider="thingspace")

    response = await tracking.delete(f"/devices/{IMEI}")

    assert (response.status_code, response.json()["code"]) == (409, "INCOMPATIBLE_STATE")
    assert (await tracking.get(f"/periodic/{session}/devices")).json()["devices"]


async def test_force_erases_it_all_the_same(tracking: httpx.AsyncClient, tracker: StubTracker) -> None:
    await tracking.post("/periodic", json=START)
    tracker.refusals[MDN] = ProviderUnavailable("down", provider="thingspace")

    response = await tracking.delete(f"/devices/{IMEI}", params={"force": "true"})

    assert response.json()["erased"]["sessionDevices"] == 1


async def test_kept_answers_to_its_starts_go(tracking: httpx.AsyncClient) -> None:
    await tracking.post("/periodic", json=START, headers={"Idempotency-Key": '"once"'})

    erased = (await tracking.delete(f"/devices/{IMEI}")).json()["erased"]

    assert erased["idempotencyAnswers"] == 1


async def test_without_a_database_the_caller_is_told_to_come_back(app: FastAPI, client: httpx.AsyncClient) -> None:
    away = Database("postgresql://nobody@127.0.0.1:1/none")
    app.state.gateway.erase._database = away

    response = await client.delete(f"/devices/{IMEI}")
    await away.aclose()

    assert (response.status_code, response.json()["code"]) == (503, "UNAVAILABLE")


@pytest.mark.parametrize(
    ("body", "left"),
    [
        pytest.param(b'{"a": 1}', b'{"a": 1}', id="about nobody"),
        pytest.param(b'{"mdn": 5085550101}', None, id="a number as number"),
        pytest.param(b'{"mdn": "+15085550101"}', None, id="with its country code"),
        pytest.param(b'{"n": "950855501017"}', b'{"n": "950855501017"}', id="digits within others"),
        pytest.param(b'{"l": ["5085550101", "x"]}', b'{"l":["x"]}', id="a bare list"),
        pytest.param(b'{"5085550101": 1}', None, id="a member's name"),
        pytest.param(b'"5085550101', None, id="no JSON"),
        pytest.param(b"[" * 900 + b"5085550101" + b"]" * 900, None, id="deeply nested"),
    ],
)
def test_raw_callbacks_lose_what_is_about_the_device(body: bytes, left: bytes | None) -> None:
    assert without(body, Names(ids=(MDN,))) == left


async def test_a_device_that_has_the_number_now_keeps_its_callbacks_when_the_former_one_is_erased(
    client: httpx.AsyncClient,
) -> None:
    successor = {**OTHER, "mdn": MDN}
    for device in (DEVICE, successor):
        await client.post(CALLBACK_PATH, content=about(device))

    erased = (await client.delete(f"/devices/{IMEI}")).json()["erased"]

    assert (erased["callbacks"], erased["reports"]) == (1, 1)
    [left] = (await client.get("/callbacks")).json()["callbacks"]
    assert OTHER["imei"] in left["body"]
    assert (await client.get(f"/devices/{OTHER['imei']}/location")).status_code == 200


async def test_a_device_that_had_the_number_before_keeps_its_callbacks_when_the_present_one_is_erased(
    client: httpx.AsyncClient,
) -> None:
    successor = {**OTHER, "mdn": MDN}
    for device in (DEVICE, successor):
        await client.post(CALLBACK_PATH, content=about(device))

    await client.delete(f"/devices/{OTHER['imei']}")

    [left] = (await client.get("/callbacks")).json()["callbacks"]
    assert IMEI in left["body"]


async def test_a_pair_that_only_a_caller_has_given_erases_nothing_of_the_other_device(
    client: httpx.AsyncClient,
) -> None:
    await client.post(CALLBACK_PATH, content=about(OTHER))
    await client.post("/locate", json={"device": {"imei": IMEI, "mdn": OTHER["mdn"]}, "measurements": WIFI})
    await client.post("/periodic", json={**START, "devices": [{"imei": IMEI, "mdn": OTHER["mdn"]}]})

    erased = (await client.delete(f"/devices/{IMEI}")).json()["erased"]

    assert (erased["callbacks"], erased["reports"]) == (0, 1)
    assert len((await client.get("/callbacks")).json()["callbacks"]) == 1


@pytest.mark.parametrize("identifier", [IMEI, MDN])
async def test_no_filter_and_no_request_id_in_the_audit_trail_names_an_erased_device(
    client: httpx.AsyncClient, app: FastAPI, identifier: str
) -> None:
    await client.post(CALLBACK_PATH, content=about(DEVICE))
    named = {"Accept": "text/csv", "X-Request-Id": f"export-{identifier}"}
    for query in (f"mdn={MDN}", f"imei={IMEI}"):
        await client.get(f"/reports?{query}", headers=named)
    await client.get("/callbacks", headers=named)
    await client.get(f"/devices/{identifier}/location")

    known_as = (await client.delete(f"/devices/{identifier}")).json()["auditedAs"]

    left = await everything(app)
    assert (IMEI in left, MDN in left) == (False, False)
    entries = (await client.get("/audit", params={"action": "reports.export"})).json()["entries"]
    assert [(entry["device"], entry["requestId"]) for entry in entries] == [(known_as, known_as)] * 2


async def test_who_wants_to_watch_gets_a_line_for_each_step_and_the_answer_in_the_last(
    client: httpx.AsyncClient,
) -> None:
    await client.post(CALLBACK_PATH, json=message())

    response = await client.delete(f"/devices/{IMEI}", headers={"Accept": "application/x-ndjson"})

    *steps, answer = map(json.loads, response.text.splitlines())
    assert answer["erased"]["reports"] == 1
    assert steps[-1]["progress"]["done"] == steps[-1]["progress"]["total"] == len(steps) - 1


async def test_what_is_refused_before_the_first_step_is_an_ordinary_problem(
    client: httpx.AsyncClient,
) -> None:
    response = await client.delete("/devices/%2B447700900123", headers={"Accept": "application/x-ndjson"})

    assert (response.status_code, response.headers["content-type"]) == (422, "application/problem+json")
