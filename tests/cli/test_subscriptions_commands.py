"""`location-gateway subscriptions`, with a gateway that runs."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app import cli
from app.cli import output
from app.main import create_app
from tests.support.event_receivers import EventReceiver
from tests.support.gateways import KEY, in_background, settings
from tests.support.postgres import DatabaseServer
from tests.support.servers import serving

NOWHERE = "https://receiver.example.com/hook"


@pytest.fixture(scope="module")
def receiver() -> EventReceiver:
    return EventReceiver()


@pytest.fixture(scope="module")
def address(
    database_server: DatabaseServer,
    template_url: str,
    receiver: EventReceiver,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    @asynccontextmanager
    async def both() -> AsyncIterator[str]:
        async with (
            receiver.listening(),
            serving(create_app(settings(database_url, delivery_allow="127.0.0.1"))) as url,
        ):
            yield url

    database_url = database_server.create(template_url)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("cli"))
        with in_background(both) as url:
            yield url
    database_server.drop(database_url)


@pytest.fixture
def run(address: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("GATEWAY_API_KEY", KEY)

    def command(*arguments: str) -> Result:
        output.console.cache_clear()
        output.errors.cache_clear()
        return CliRunner(env={"COLUMNS": "200"}).invoke(cli.app, ["subscriptions", *arguments, "--url", address])

    return command


def made_with(run: Any, url: str, *options: str) -> dict[str, Any]:
    result = run("create", "a test's", url, *options, "--json")
    assert result.exit_code == 0, result.output
    made: dict[str, Any] = json.loads(result.stdout)
    return made


def test_a_subscription_is_made_with_its_filters(run: Any) -> None:
    options = ("--type", "location.*", "--device", "990001123456782", "--batch", "10", "--delay", "0.5")

    made = made_with(run, NOWHERE, *options)

    assert made["types"] == ["location.*"]
    assert made["devices"] == ["990001123456782"]
    assert made["batch"] == {"maxEvents": 10, "maxDelay": 0.5}


def test_the_secret_stands_alone_on_standard_output(run: Any) -> None:
    result = run("create", "a test's", NOWHERE)

    assert result.stdout.startswith("whsec_")
    assert len(result.stdout.split()) == 1
    assert "not shown again" in result.stderr


def test_subscriptions_are_paused_resumed_and_deleted(run: Any) -> None:
    made = made_with(run, NOWHERE)

    assert json.loads(run("pause", made["id"], "--json").stdout)["state"] == "paused"
    assert json.loads(run("resume", made["id"], "--json").stdout)["state"] == "active"
    assert made["id"] in run("list").stdout
    assert run("delete", made["id"]).exit_code == 0
    assert made["id"] not in run("list").stdout


def test_a_test_tells_by_its_exit_status_whether_the_receiver_took_it(run: Any, receiver: EventReceiver) -> None:
    good, bad = made_with(run, receiver.url), made_with(run, "http://127.0.0.1:1/")

    taken, refused = run("test", good["id"]), run("test", bad["id"])

    assert (taken.exit_code, refused.exit_code) == (0, 1)
    assert taken.stdout.startswith("Taken: the receiver answered 200")
    assert refused.stdout.startswith("Not taken: no connection could be made")


def test_a_time_is_replayed(run: Any) -> None:
    made = made_with(run, NOWHERE)

    result = run("replay", made["id"], "--since", "2026-03-02T08:00:00Z")

    assert result.stdout == "0 deliveries are sent again.\n"


def test_an_address_that_is_not_allowed_is_explained(run: Any) -> None:
    result = run("create", "a test's", "http://10.0.0.1/")

    assert result.exit_code == 1
    assert "/url:" in result.stderr
