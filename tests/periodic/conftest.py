from collections.abc import AsyncIterator

import pytest
from stage import Stage

from app.periodic import UnclaimedTransactions
from app.storage.database import Database
from app.storage.writer import Writer
from tests.support.trackers import HandClock, StubTracker


@pytest.fixture
def tracker() -> StubTracker:
    return StubTracker()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def stage(database: Database, tracker: StubTracker, clock: HandClock) -> AsyncIterator[Stage]:
    """The use case with a stub provider, a real database, and a clock of the test's own."""
    unclaimed = UnclaimedTransactions()
    async with Writer(database.connect, pending=database.pending, unclaimed=unclaimed.note).running() as writer:
        stage = Stage(database, writer, tracker, clock, unclaimed)
        async with stage.periodic.running():
            yield stage
