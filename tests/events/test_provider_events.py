"""A provider that is degraded, and has recovered, is told once, however many replicas there are."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import orjson

from app.api.routes.operations import to_state
from app.model import ProviderName
from app.provider import Health, Provider
from app.provider_events import ProviderEvents
from app.storage import events
from app.storage.database import Database
from app.storage.events import OtherEvent

AT_ONCE, LATER = timedelta(0), timedelta(minutes=1)


@dataclass
class Replica:
    """A process that finds a provider in some state."""

    database: Database

    async def finds(self, health: Health, *, hold: timedelta = AT_ONCE) -> None:
        provider = Provider(name=ProviderName("third"), configured=True, health=lambda: health)
        await ProviderEvents(self.database, [provider], to_state).tell(hold=hold)


DEGRADED = Health(state="cooling_down", cooldown_s=30.0)
READY = Health(state="ready")


async def told(database: Database) -> list[str]:
    page = await events.read(database, events.ORIGIN)
    return [event.what.type for event in page.events if isinstance(event.what, OtherEvent)]


async def test_a_provider_that_was_always_ready_is_not_told(database: Database) -> None:
    await Replica(database).finds(READY)

    assert await told(database) == []


async def test_what_is_told_is_the_provider_as_it_is_shown(database: Database) -> None:
    await Replica(database).finds(DEGRADED)

    (event,) = (await events.read(database, events.ORIGIN)).events
    assert isinstance(event.what, OtherEvent)
    data = orjson.loads(event.what.data)
    assert (event.what.subject, event.what.account) == ("provider/third", None)
    assert (data["name"], data["state"], data["cooldownSeconds"]) == ("third", "cooling_down", 30.0)


async def test_each_change_is_told_once(database: Database) -> None:
    replica = Replica(database)
    for health in (DEGRADED, DEGRADED, READY, READY, DEGRADED):
        await replica.finds(health)

    assert await told(database) == ["provider.degraded", "provider.recovered", "provider.degraded"]


async def test_replicas_that_find_the_same_at_the_same_time_tell_it_once(database: Database) -> None:
    replicas = [Replica(database) for _ in range(4)]

    await asyncio.gather(*(replica.finds(DEGRADED) for replica in replicas))
    await asyncio.gather(*(replica.finds(READY) for replica in replicas))

    assert await told(database) == ["provider.degraded", "provider.recovered"]


async def test_a_provider_has_not_recovered_while_another_replica_finds_it_degraded(database: Database) -> None:
    await Replica(database).finds(DEGRADED)
    await Replica(database).finds(READY, hold=LATER)

    assert await told(database) == ["provider.degraded"]


async def test_a_single_failure_does_not_make_a_provider_degraded(database: Database) -> None:
    await Replica(database).finds(Health(state="failing", last_error="PROVIDER_TIMEOUT"))

    assert await told(database) == []
