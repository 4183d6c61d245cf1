"""Two and four gateways behind nginx, on one database: what they share is exact, whichever of them is asked."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.simulator import create_simulator
from tests.support.balancing import balancing, needs_nginx
from tests.support.gateways import AUTHORIZED, KEY, any_port, in_background, simulator_variables
from tests.support.postgres import DatabaseServer
from tests.support.servers import running, serving
from tests.support.vendors import ACCOUNT

pytestmark = needs_nginx

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Replicas:
    """Gateways behind a load balancer, and the simulator that they ask."""

    balancer: str
    each: Sequence[str]
    simulator: str


@pytest.fixture(scope="module")
def four(
    database_server: DatabaseServer, template_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[list[int], str]]:
    """Four gateways, and the simulator's URL."""
    folder = tmp_path_factory.mktemp("replicas")
    database_url = database_server.create(template_url)
    ports = [any_port() for _ in range(4)]
    with ExitStack() as stack:
        stack.callback(database_server.drop, database_url)
        simulator = stack.enter_context(in_background(lambda: serving(create_simulator())))
        programs = []
        for port in ports:
            variables = simulator_variables(simulator) | {
                "GATEWAY_API_KEY": KEY,
                "GATEWAY_DATABASE_URL": database_url,
                "GATEWAY_LOG_LEVEL": "warning",
                "GATEWAY_PORT": str(port),
            }
            programs.append(stack.enter_context(running(["-m", "app", "serve"], environment=variables, folder=folder)))
        for program, port in zip(programs, ports, strict=True):
            asyncio.run(program.answers(f"http://127.0.0.1:{port}/readyz"))
        yield ports, simulator


@pytest.fixture(params=[2, 4])
def replicas(request: pytest.FixtureRequest, four: tuple[list[int], str], tmp_path: Path) -> Iterator[Replicas]:
    """The first two of them, or all four, behind a load balancer of their own."""
    ports, simulator = four
    with balancing(ports[: request.param], tmp_path) as balancer:
        yield Replicas(
            balancer=f"http://127.0.0.1:{balancer}",
            each=[f"http://127.0.0.1:{port}" for port in ports[: request.param]],
            simulator=simulator,
        )


def client(url: str, key: str = KEY) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=64)
    return httpx.AsyncClient(
        base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60, limits=limits, trust_env=False
    )


@pytest.fixture
async def gateway(replicas: Replicas) -> AsyncIterator[httpx.AsyncClient]:
    async with client(replicas.balancer) as asking:
        yield asking


@pytest.fixture
async def simulator(replicas: Replicas) -> AsyncIterator[httpx.AsyncClient]:
    async with client(replicas.simulator) as asking:
        yield asking


async def devices(simulator: httpx.AsyncClient, count: int) -> list[Json]:
    listed = (await simulator.get("/control/devices", params={"limit": count * 2})).json()["devices"]
    own = [{"imei": one["imei"], "mdn": one["mdn"]} for one in listed if one["account"] == ACCOUNT]
    assert len(own) >= count
    return own[:count]


async def calls(simulator: httpx.AsyncClient, containing: str) -> int:
    """Count the vendor's calls of routes whose name contains a text."""
    counted = (await simulator.get("/control/counters")).json()["calls"]
    return sum(sum(by_status.values()) for route, by_status in counted.items() if containing in route)


async def billed(simulator: httpx.AsyncClient) -> int:
    counts: dict[str, int] = (await simulator.get("/control/counters")).json()["counts"]
    return counts.get("thingspace.fixes.billed", 0)


async def new_key(gateway: httpx.AsyncClient, **plan: Any) -> tuple[str, str]:
    """Make a key; give its id and its text."""
    made = (await gateway.post("/keys", json={"name": "k", "scopes": ["locate", "reports:read"]} | plan)).json()
    return made["id"], made["key"]


async def locate_all(gateway: httpx.AsyncClient, wanted: Sequence[Json], key: str = KEY) -> list[httpx.Response]:
    headers = {"Authorization": f"Bearer {key}"}
    questions = [{"device": device, "maxAge": 0} for device in wanted]
    return await asyncio.gather(*(gateway.post("/locate", json=one, headers=headers) for one in questions))


def statuses(answers: Sequence[httpx.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


async def test_all_replicas_share_one_login(
    replicas: Replicas, gateway: httpx.AsyncClient, simulator: httpx.AsyncClient
) -> None:
    answers = await locate_all(gateway, await devices(simulator, 60))

    served = []
    for url in replicas.each:
        async with client(url) as one:
            served.append('route="/locate"' in (await one.get("/metrics")).text)
    assert [answer.text for answer in answers if answer.is_error] == []
    assert all(served)
    assert await calls(simulator, "session/login") == 1


async def test_a_key_for_idempotency_starts_one_session_wherever_it_arrives(
    replicas: Replicas, gateway: httpx.AsyncClient, simulator: httpx.AsyncClient
) -> None:
    [device] = await devices(simulator, 1)
    known = (await gateway.get("/periodic")).json()["sessions"]
    plan = {"devices": [device], "interval": 300, "count": 3}
    starts = await calls(simulator, "periodic")
    headers = {"Idempotency-Key": replicas.balancer}

    answers = await asyncio.gather(*(gateway.post("/periodic", json=plan, headers=headers) for _ in range(40)))
    again = await gateway.post("/periodic", json=plan, headers=headers)

    sessions = (await gateway.get("/periodic")).json()["sessions"]
    assert set(statuses(answers)) <= {202, 409}
    assert {one.json()["code"] for one in answers if one.status_code == 409} <= {"IDEMPOTENCY_IN_PROGRESS"}
    assert {one.json()["id"] for one in [*answers, again] if one.status_code == 202} == {sessions[0]["id"]}
    assert again.status_code == 202
    assert len(sessions) - len(known) == 1
    assert await calls(simulator, "periodic") - starts == 1


async def test_a_daily_budget_is_spent_to_the_last_fix_and_no_further(
    gateway: httpx.AsyncClient, simulator: httpx.AsyncClient
) -> None:
    _, key = await new_key(gateway, dailyFixes=50)
    wanted = await devices(simulator, 200)
    before = await billed(simulator)

    answers = await locate_all(gateway, wanted, key)

    assert statuses(answers) == {200: 50, 429: 150}
    assert {one.json()["code"] for one in answers if one.status_code == 429} == {"QUOTA_EXCEEDED"}
    assert await billed(simulator) - before == 50


async def test_requests_in_a_minute_are_counted_together(gateway: httpx.AsyncClient) -> None:
    _, key = await new_key(gateway, requestsPerMinute=30)
    headers = {"Authorization": f"Bearer {key}"}

    answers = await asyncio.gather(*(gateway.get("/providers", headers=headers) for _ in range(60)))

    assert statuses(answers) == {200: 30, 429: 30}
    assert all(int(one.headers["Retry-After"]) <= 60 for one in answers if one.status_code == 429)


async def test_a_revoked_key_is_refused_by_every_replica(replicas: Replicas, gateway: httpx.AsyncClient) -> None:
    key_id, key = await new_key(gateway)
    before = await ask_each(replicas, key)

    revoked = await gateway.delete(f"/keys/{key_id}")
    after = await ask_each(replicas, key)

    assert revoked.is_success
    assert set(before) == {200}
    assert set(after) == {401}


async def ask_each(replicas: Replicas, key: str) -> list[int]:
    async with httpx.AsyncClient(headers=AUTHORIZED | {"Authorization": f"Bearer {key}"}, trust_env=False) as asking:
        answers = await asyncio.gather(*(asking.get(f"{url}/providers") for url in replicas.each))
    return [answer.status_code for answer in answers]
