"""The span of a commit says what became of it."""

from datetime import timedelta

import pytest
from opentelemetry.trace import StatusCode

from app.errors import Unavailable
from app.storage.connections import Connection
from app.storage.database import Database
from app.storage.writer import Entry, Writer
from tests.support.recorders import Recording, attributes, is_below
from tests.support.reports import NOON, located


async def test_a_commit_is_recorded_until_it_is_durable(database: Database) -> None:
    recording = Recording()
    request = recording.recorder.request("POST")

    async with Writer(database.connect, pending=database.pending, recorder=recording.recorder).running() as writer:
        stored = [
            writer.submit(Entry(reports=(located(NOON + timedelta(seconds=number)),)), request) for number in range(20)
        ]
        assert recording.spans == ()
        await stored[-1]
    request.end_request("POST", "/locate", 200)

    commit = recording.the("commit")
    assert is_below(commit, recording.the("POST /locate"))
    assert attributes(commit) == {"db.system.name": "postgresql", "gateway.commit.entries": 20}
    assert commit.status.status_code is StatusCode.UNSET


async def test_a_commit_that_the_database_cannot_take_is_an_error() -> None:
    recording = Recording()

    async def connect() -> Connection:
        raise OSError("text-of-an-exception")

    async with Writer(connect, patience_s=0.0, recorder=recording.recorder).running() as writer:
        with pytest.raises(Unavailable):
            await writer.submit(Entry(reports=(located(),)))

    commit = recording.the("commit")
    assert commit.status.status_code is StatusCode.ERROR
    assert attributes(commit)["error.type"] == "UNAVAILABLE"
    assert "text-of-an-exception" not in commit.to_json()
