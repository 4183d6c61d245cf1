"""`GET /events`: pages that give every event once, with filters, and waiting for the first one."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from sqlalchemy import insert

from app.ids import new_id
from app.storage.events import Cursor, NewEvent, append
from app.storage.tables import SessionDeviceRow, SessionRow
from app.storage.writer import Entry
from tests.support.reports import ACCOUNT, IMEI, MDN, NOON, failed, located
from tests.support.shared_gateway import MakeKey

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]
OTHER_IMEI = "990001123456790"
SESSION = {
    "provider": "thingspace",
    "account": ACCOUNT,
    "state": "active",
    "interval_s": 60,
    "count": 5,
    "start_delay_s": 0,
    "max_age_s": 0,
    "devices_total": 1,
    "created_at": NOON,
}


async def store(app: FastAPI, *rows: Any) -> None:
    await app.state.storage.writer.submit(Entry(reports=rows))


async def read(gateway: httpx.AsyncClient, headers: dict[str, str] | None = None, **parameters: Any) -> Json:
    response = await gateway.get("/events", params=parameters, headers=headers)
    assert response.status_code == 200, response.text
    answer: Json = response.json()
    return answer


def times(events: list[Json]) -> list[str]:
    return [event["data"]["location"]["timestamp"][11:16] for event in events]


@pytest_asyncio.fixture(loop_scope="module")
async def now(gateway: httpx.AsyncClient) -> str:
    """The cursor to read from what the test itself stores."""
    cursor: str = (await read(gateway, after="latest"))["next"]
    return cursor


async def test_an_event_is_a_cloud_event_with_the_report_as_reports_has_it(
    gateway: httpx.AsyncClient, gateway_app: FastAPI, now: str
) -> None:
    await store(gateway_app, located())

    (event,) = (await read(gateway, after=now))["events"]
    (report,) = (await gateway.get("/reports")).json()["reports"]

    assert event == {
        "specversion": "1.0",
        "id": report["id"],
        "type": "location.report.located",
        "source": "http://127.0.0.1:8080",
        "subject": f"device/{IMEI}",
        "time": report["receivedAt"],
        "datacontenttype": "application/json",
        "data": report,
    }


async def test_pages_follow_each_other_and_the_last_one_leads_on(
    gateway: httpx.AsyncClient, gateway_app: FastAPI, now: str
) -> None:
    await store(gateway_app, *(located(NOON + timedelta(minutes=number)) for number in range(5)))

    first = await read(gateway, after=now, limit=3)
    second = await read(gateway, after=first["next"], limit=3)
    empty = await read(gateway, after=second["next"])
    await store(gateway_app, located(NOON + timedelta(minutes=9)))
    third = await read(gateway, after=empty["next"])

    pages = [first, second, empty, third]
    assert [times(page["events"]) for page in pages] == [["12:00", "12:01", "12:02"], ["12:03", "12:04"], [], ["12:09"]]


async def test_without_a_cursor_it_begins_with_the_oldest(gateway: httpx.AsyncClient, gateway_app: FastAPI) -> None:
    await store(gateway_app, located())

    assert (
        times((await read(gateway))["events"]) == times((await read(gateway, after="earliest"))["events"]) == ["12:00"]
    )


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        (failed(), "location.report.failed"),
        (located(type="stopped", status="info"), "location.report.other"),
        (located(type="other", status="located"), "location.report.other"),
    ],
)
async def test_what_is_no_position_has_a_type_of_its_own(
    gateway: httpx.AsyncClient, gateway_app: FastAPI, now: str, row: Any, kind: str
) -> None:
    await store(gateway_app, row)

    (event,) = (await read(gateway, after=now))["events"]

    assert event["type"] == kind


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ({"types": "location.report.located"}, ["12:00", "12:01", "12:02", "12:03"]),
        ({"types": "location.*,periodic.started"}, ["12:00", "12:01", "12:02", "12:03"]),
        ({"types": "periodic.*"}, []),
        ({"imei": OTHER_IMEI}, ["12:01"]),
        ({"imei": IMEI, "mdn": MDN}, ["12:00", "12:03"]),
        ({"mdn": "5085550102"}, ["12:01"]),
        ({"account": "another"}, ["12:02"]),
        ({"transactionId": "t-3"}, ["12:03"]),
        ({"sessionId": "01JNB4C0M8T5Y6Z7A8B9CADBEC"}, []),
    ],
)
async def test_filters_choose(
    gateway: httpx.AsyncClient, gateway_app: FastAPI, now: str, parameters: Json, found: list[str]
) -> None:
    await store(
        gateway_app,
        located(),
        located(NOON + timedelta(minutes=1), imei=OTHER_IMEI, mdn="5085550102"),
        located(NOON + timedelta(minutes=2), account="another", imei=None, mdn=None, name="pump"),
        located(NOON + timedelta(minutes=3), transaction="t-3"),
    )

    page = await read(gateway, after=now, **parameters)
    after = await read(gateway, after=page["next"])

    assert times(page["events"]) == found
    assert after["events"] == []


async def test_a_limit_cuts_where_filters_are_too(gateway: httpx.AsyncClient, gateway_app: FastAPI, now: str) -> None:
    devices = [IMEI, OTHER_IMEI] * 4
    await store(gateway_app, *(located(NOON + timedelta(minutes=m), imei=imei) for m, imei in enumerate(devices)))

    first = await read(gateway, after=now, imei=OTHER_IMEI, limit=3)
    second = await read(gateway, after=first["next"], imei=OTHER_IMEI, limit=3)

    assert times(first["events"]) + times(second["events"]) == ["12:01", "12:03", "12:05", "12:07"]


async def test_a_key_sees_the_events_of_its_accounts_and_devices_alone(
    gateway: httpx.AsyncClient, gateway_app: FastAPI, now: str, make_key: MakeKey
) -> None:
    await store(
        gateway_app,
        located(),
        located(NOON + timedelta(minutes=1), account="another"),
        located(NOON + timedelta(minutes=2), imei=OTHER_IMEI),
        located(NOON + timedelta(minutes=3), flags=("account_mismatch",)),
    )
    async with gateway_app.state.storage.database.transaction() as db:
        await append(db, [NewEvent(type="provider.degraded", subject="provider/thingspace", at=NOON, data={})])

    of_account = await read(gateway, await make_key("reports:read", accounts=[ACCOUNT]), after=now)
    of_device = await read(gateway, await make_key("reports:read", devices=[OTHER_IMEI]), after=now)
    of_all = await read(gateway, after=now)

    assert times(of_account["events"]) == ["12:00", "12:02"]
    assert times(of_device["events"]) == ["12:02"]
    assert len(of_all["events"]) == 5


async def test_events_of_a_session_are_found_by_its_devices(
    gateway: httpx.AsyncClient, gateway_app: FastAPI, now: str, make_key: MakeKey
) -> None:
    session = new_id(NOON)
    key = UUID(bytes=session.bytes)
    async with gateway_app.state.storage.database.transaction() as db:
        await db.execute(insert(SessionRow).values(id=key, transaction_id="t-7", **SESSION))
        await db.execute(insert(SessionDeviceRow).values(session_id=key, device=IMEI, mdn=MDN))
    event = NewEvent(
        type="periodic.overdue",
        subject=f"session/{session}",
        at=NOON,
        data={"id": str(session)},
        account=ACCOUNT,
        session_id=key,
    )
    async with gateway_app.state.storage.database.transaction() as db:
        await append(db, [event])

    async def count(headers: dict[str, str] | None = None, **parameters: Any) -> int:
        return len((await read(gateway, headers, after=now, types="periodic.overdue", **parameters))["events"])

    assert await count(imei=IMEI) == await count(mdn=MDN) == await count(sessionId=str(session)) == 1
    assert await count(transactionId="t-7") == 1
    assert await count(imei=OTHER_IMEI) == await count(transactionId="t-0") == 0
    assert await count(await make_key("reports:read", devices=[IMEI])) == 1
    assert await count(await make_key("reports:read", devices=[OTHER_IMEI])) == 0


async def test_waiting_ends_with_the_first_event(gateway: httpx.AsyncClient, gateway_app: FastAPI, now: str) -> None:
    waiting = asyncio.create_task(read(gateway, after=now, wait=20, imei=OTHER_IMEI))
    await asyncio.sleep(0.1)
    await store(gateway_app, located())
    await store(gateway_app, located(imei=OTHER_IMEI))

    page = await asyncio.wait_for(waiting, 5)

    assert [event["subject"] for event in page["events"]] == [f"device/{OTHER_IMEI}"]
    assert (await read(gateway, after=page["next"]))["events"] == []


async def test_waiting_ends_without_events_too(gateway: httpx.AsyncClient, now: str) -> None:
    page = await asyncio.wait_for(read(gateway, after=now, wait=0.2), 5)

    assert page["events"] == []


@pytest.mark.parametrize(
    ("parameters", "pointer"),
    [
        ({"after": "no cursor"}, "/query/after"),
        ({"types": "location.report.found"}, "/query/types"),
        ({"types": ""}, "/query/types"),
        ({"types": "*"}, "/query/types"),
        ({"wait": 31}, "/query/wait"),
        ({"limit": 0}, "/query/limit"),
        ({"sessionId": "x"}, "/query/sessionId"),
        ({"cursor": "x"}, "/query/cursor"),
    ],
)
async def test_what_cannot_be_read_is_refused(gateway: httpx.AsyncClient, parameters: Json, pointer: str) -> None:
    response = await gateway.get("/events", params=parameters)

    assert response.status_code == 422
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]


@pytest.mark.parametrize("path", ["/events", "/events/stream"])
async def test_an_expired_cursor_is_gone(gateway: httpx.AsyncClient, gateway_app: FastAPI, now: str, path: str) -> None:

    of_another = str(Cursor(17, 4))

    response = await gateway.get(path, params={"after": of_another})

    assert (response.status_code, response.json()["code"]) == (410, "CURSOR_EXPIRED")


async def test_reading_events_leaves_an_audit_row(gateway: httpx.AsyncClient, gateway_app: FastAPI, now: str) -> None:
    await store(gateway_app, located())
    await read(gateway, after=now)

    (row,) = (await gateway.get("/audit", params={"action": "events.read", "limit": 1})).json()["entries"]

    assert (row["outcome"], row["subject"]) == ("shown", "1 events of 1 devices")
