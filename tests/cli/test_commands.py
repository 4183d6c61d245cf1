"""The commands that ask a running gateway, and how failures are told."""

import json
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import Any

import gpxpy
import httpx
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from app import cli
from app.cli import output
from app.main import create_app
from app.simulator import create_simulator
from app.simulator.options import Options
from tests.support.gateways import KEY, any_port, in_background, settings, simulator_variables
from tests.support.postgres import DatabaseServer
from tests.support.servers import running, serving
from tests.support.vendors import ACCOUNT, DEVICE, TOKEN, WIFI, message


@pytest.fixture(scope="module")
def gateway_url(
    database_server: DatabaseServer, template_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A gateway in front of the simulator, on sockets."""

    @asynccontextmanager
    async def both() -> AsyncIterator[str]:
        async with serving(create_simulator(Options(consent="both"))) as simulator:
            for name, value in simulator_variables(simulator).items():
                patch.setenv(name, value)
            patch.setenv("THINGSPACE_CALLBACK_TOKEN", TOKEN)
            port = any_port()
            app = create_app(settings(database_url, public_url=f"http://127.0.0.1:{port}"))
            async with serving(app, port=port) as url:
                yield url

    database_url = database_server.create(template_url)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("cli"))
        with in_background(both) as url:
            yield url
    database_server.drop(database_url)


@pytest.fixture
def run(gateway_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("GATEWAY_API_KEY", KEY)

    def command(*arguments: str, standard_input: str | None = None, columns: int = 200) -> Result:
        output.console.cache_clear()
        output.errors.cache_clear()
        runner = CliRunner(env={"COLUMNS": str(columns)})
        return runner.invoke(cli.app, [*arguments, "--url", gateway_url], input=standard_input)

    return command


def test_a_device_is_located_by_its_identifiers(run: Any) -> None:
    result = run("locate", "--imei", DEVICE["imei"], "--mdn", DEVICE["mdn"], "--max-age", "0")

    assert result.exit_code == 0, result.output
    assert "by thingspace from network" in result.output


def test_a_device_is_located_by_a_file_of_measurements(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "scan.json"
    file.write_text(json.dumps(WIFI))

    result = run("locate", "--measurements", str(file))

    assert "by cloudlocate from wifi" in result.output


def test_measurements_may_come_through_a_pipe_and_answers_go_into_one(run: Any) -> None:
    result = run("locate", "--measurements", "-", "--json", standard_input=json.dumps(WIFI))

    assert json.loads(result.output)["location"]["provider"] == "cloudlocate"


def test_measurements_that_are_no_json_are_told_without_a_traceback(run: Any, tmp_path: Path) -> None:
    result = run("locate", "--measurements", str(tmp_path / "missing.json"))

    assert result.exit_code == 2
    assert "cannot be read as JSON" in result.output


def test_a_problem_is_told_in_words(run: Any) -> None:
    result = run("locate", "--imei", "12")

    assert result.exit_code == 1
    assert "INVALID_ARGUMENT (422)" in result.output
    assert "/device/imei: must be 14 to 16 digits" in result.output


def test_a_wrong_key_is_told_in_words(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_API_KEY", "wrong")

    result = run("providers", "list")

    assert result.exit_code == 1
    assert "UNAUTHENTICATED" in result.output


def test_a_listener_from_its_registration_to_its_end(run: Any) -> None:
    registered = run("listener", "register", ACCOUNT, "Location", "--json")
    tried = run("listener", "test", ACCOUNT, "Location")
    listed = run("listener", "list", "--json")
    removed = run("listener", "remove", ACCOUNT, "Location")

    assert json.loads(registered.output)["secretKnown"] is True
    assert (tried.exit_code, "The callback arrived" in tried.output) == (0, True), tried.output
    assert [one["service"] for one in json.loads(listed.output)["listeners"]] == ["Location", "DeviceLocation"]
    assert removed.output.strip() == "Removed."
    assert run("listener", "remove", ACCOUNT, "Location").exit_code == 1


def test_a_listener_that_cannot_be_reached_is_a_failure(run: Any) -> None:
    run("listener", "register", ACCOUNT, "Location", "--address", "http://127.0.0.1:1/x")

    tried = run("listener", "test", ACCOUNT, "Location")

    assert tried.exit_code == 1
    assert "did not arrive" in tried.output
    run("listener", "remove", ACCOUNT, "Location")


def test_callbacks_are_listed_and_replayed(run: Any, gateway_url: str) -> None:
    httpx.post(f"{gateway_url}/callbacks/thingspace/{TOKEN}", content=b"{")
    httpx.post(f"{gateway_url}/callbacks/thingspace/{TOKEN}", json=message())

    listed = run("callbacks", "list", "--state", "quarantined", "--json")
    [callback] = json.loads(listed.output)["callbacks"]
    one = run("callbacks", "replay", callback["id"])
    everything = run("callbacks", "replay")
    table = run("callbacks", "list")

    assert one.output.startswith("quarantined, 0 reports")
    assert "0 stored, 1 still in quarantine." in everything.output
    assert callback["id"] in table.output


def test_providers_are_listed_and_reset(run: Any) -> None:
    listed = run("providers", "list")
    reset = run("providers", "reset", "thingspace")
    unknown = run("providers", "reset", "nobody")

    assert "cloudlocate" in listed.output
    assert "thingspace is ready" in reset.output
    assert (unknown.exit_code, "NOT_FOUND" in unknown.output) == (1, True)


def test_a_session_from_its_start_to_its_stop(run: Any, tmp_path: Path) -> None:
    (tmp_path / "fleet.csv").write_text(f"imei,mdn\n# the only one\n{DEVICE['imei']},{DEVICE['mdn']}\n")

    started = run(
        "periodic", "start", "--devices", str(tmp_path / "fleet.csv"), "--interval", "300", "--unlimited", "--json"
    )
    session = json.loads(started.stdout)["id"]
    listed = run("periodic", "list", "--state", "active")
    shown = run("periodic", "show", session, "--devices")
    stopped = run("periodic", "stop", session)

    assert session in listed.output
    assert ("active" in shown.output, DEVICE["imei"] in shown.output) == (True, True)
    assert (stopped.exit_code, "1 of 1 devices" in stopped.output) == (0, True), stopped.output


def test_a_session_may_be_started_with_devices_on_the_command_line_and_only_once(run: Any) -> None:
    plan = (f"{DEVICE['imei']}:{DEVICE['mdn']}", "--interval", "300", "--count", "3", "--idempotency-key", "only-once")

    first, again = run("periodic", "start", *plan, "--json"), run("periodic", "start", *plan, "--json")

    assert json.loads(first.stdout)["id"] == json.loads(again.stdout)["id"]
    assert json.loads(first.stdout)["count"] == 3


def test_a_start_that_is_asked_for_wrongly_points_at_what_is_wrong(run: Any) -> None:
    result = run("periodic", "start", "12", "--interval", "300", "--count", "3")

    assert result.exit_code == 1
    assert "/devices/0/imei" in result.output


def test_an_unknown_session_is_a_failure(run: Any) -> None:
    result = run("periodic", "show", "nonsense/../x")

    assert (result.exit_code, "NOT_FOUND" in result.output) == (1, True)


def test_reports_are_listed_and_exported(run: Any, gateway_url: str, tmp_path: Path) -> None:
    httpx.post(f"{gateway_url}/callbacks/thingspace/{TOKEN}", json=message())

    listed = run("reports", "list", "--mdn", DEVICE["mdn"])
    exported = run("reports", "export", "--output", str(tmp_path / "all.csv"))
    piped = run("reports", "export", "--format", "ndjson", "--status", "located")

    assert DEVICE["mdn"] in listed.output
    rows = (tmp_path / "all.csv").read_text().splitlines()
    assert f"{len(rows) - 1:,} reports are in" in exported.output
    assert {json.loads(line)["status"] for line in piped.stdout.splitlines()} == {"located"}
    assert not (tmp_path / "all.csv.part").exists()


def test_events_are_listed_with_the_place_to_go_on(run: Any, gateway_url: str) -> None:
    httpx.post(f"{gateway_url}/callbacks/thingspace/{TOKEN}", json=message(77))

    listed = run("events", "--mdn", DEVICE["mdn"], "--limit", "1000")
    page = json.loads(run("events", "--json", "--limit", "1").stdout)

    assert f"location.report.located   device/{DEVICE['imei']}" in listed.output
    assert "Go on with: --after " in listed.output
    assert len(page["events"]) == 1


def test_events_are_followed_as_they_happen(gateway_url: str, tmp_path: Path) -> None:
    arguments = ["-m", "app", "events", "--follow", "--json", "--after", "earliest", "--url", gateway_url]

    with running(arguments, environment={"GATEWAY_API_KEY": KEY}, folder=tmp_path) as program:
        for number in (78, 79):
            httpx.post(f"{gateway_url}/callbacks/thingspace/{TOKEN}", json=message(number))
            text = f'"timestamp": "2026-03-02T12:01:{number - 60}Z"'
            until_s = time.monotonic() + 20
            while text not in program.output() and time.monotonic() < until_s:
                time.sleep(0.05)

            assert text in program.output()


def test_reports_are_listed_by_arrival_and_flag_with_their_flags(run: Any, gateway_url: str) -> None:
    httpx.post(f"{gateway_url}/callbacks/thingspace/{TOKEN}", json=message())
    long_ago = ("--received-until", "2026-03-02T00:00:00Z")

    late = run("reports", "list", "--flag", "late", "--order", "asc", "--limit", "1")
    none = run("reports", "export", "--format", "ndjson", "--flag", "late", *long_ago)

    assert "[late,stale]" in "".join(late.output.split())
    assert none.stdout == ""


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_an_export_that_was_interrupted_goes_on(run: Any, gateway_url: str, tmp_path: Path, form: str) -> None:
    for number in range(4):
        httpx.post(f"{gateway_url}/callbacks/thingspace/{TOKEN}", json=message(transactionid=f"{form}-{number}"))
    whole, again = tmp_path / "whole", tmp_path / "again"
    run("reports", "export", "--format", form, "--output", str(whole))
    (tmp_path / "again.part").write_bytes(whole.read_bytes()[:-20])

    resumed = run("reports", "export", "--format", form, "--output", str(again), "--resume")

    assert "1 reports more are in" in resumed.output
    assert again.read_bytes() == whole.read_bytes()


def test_reports_are_exported_as_geoparquet(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "all.parquet"

    result = run("reports", "export", "--format", "parquet", "--output", str(file))

    assert result.exit_code == 0, result.output
    assert (file.read_bytes()[:4], file.read_bytes()[-4:]) == (b"PAR1", b"PAR1")


def test_devices_are_found_by_a_part_of_an_identifier(run: Any) -> None:
    run("locate", "--imei", DEVICE["imei"], "--mdn", DEVICE["mdn"], "--max-age", "0")

    found = run("devices", "list", DEVICE["imei"][-6:])
    none = run("devices", "list", "nobody")

    assert found.exit_code == none.exit_code == 0, found.output
    assert DEVICE["imei"] in found.output
    assert DEVICE["imei"] not in none.output


def test_a_track_is_written_to_a_file(run: Any, tmp_path: Path) -> None:
    run("locate", "--imei", DEVICE["imei"], "--mdn", DEVICE["mdn"], "--max-age", "0")
    file = tmp_path / "track.gpx"

    written = run("devices", "track", DEVICE["imei"], "--output", str(file))
    unknown = run("devices", "track", "nobody")

    assert written.exit_code == 0, written.output
    assert gpxpy.parse(file.read_text()).get_track_points_no() > 0
    assert (unknown.exit_code, "NOT_FOUND" in unknown.output) == (1, True)


def test_an_export_that_is_refused_says_why_and_leaves_no_file(run: Any, tmp_path: Path) -> None:
    result = run("reports", "export", "--since", "yesterday", "--output", str(tmp_path / "all.csv"))

    assert (result.exit_code, "INVALID_ARGUMENT" in result.output) == (1, True)
    assert not (tmp_path / "all.csv").exists()


def test_who_did_what_is_listed(run: Any) -> None:
    run("locate", "--imei", DEVICE["imei"], "--mdn", DEVICE["mdn"], "--max-age", "0")

    listed = run("audit", "list", "--action", "locate", "--json")

    assert json.loads(listed.stdout)["entries"][0]["action"] == "locate"
    assert "locate" in run("audit", "list").output


@pytest.mark.parametrize(
    "command",
    ["keys list", "periodic list", "reports list", "audit list", "listener list", "callbacks list", "providers list"],
)
def test_tables_fit_a_narrow_terminal(run: Any, command: str) -> None:
    result = run(*command.split(), columns=80)

    assert result.exit_code == 0
    assert max(map(len, result.output.splitlines())) <= 80


def main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["location-gateway", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_without_a_gateway_it_says_how_to_start_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], free_port: int
) -> None:
    status = main(monkeypatch, "providers", "list", "--url", f"http://127.0.0.1:{free_port}")

    assert status == 7
    assert "location-gateway serve" in capsys.readouterr().err


@pytest.mark.parametrize("command", [("serve",), ("migrate",), ("providers", "list")])
def test_wrong_settings_end_a_command_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("GATEWAY_PORT", "many")

    status = main(monkeypatch, *command)

    told = capsys.readouterr().err
    assert status == 3
    assert "GATEWAY_PORT" in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mysql://user:hidden-word@db.example/x", 3),
        ("nonsense hidden-word", 3),
        ("postgresql://u:hidden-word@127.0.0.1:1/x", 4),
    ],
)
def test_a_database_that_cannot_be_migrated_is_told_in_words(
    url: str, expected: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GATEWAY_DATABASE_URL", url)

    status = main(monkeypatch, "migrate")

    told = capsys.readouterr().err
    assert status == expected
    assert "database" in told.lower()
    assert "Traceback" not in told
    assert "hidden-word" not in told


COMMANDS = [
    ("demo",),
    ("serve",),
    ("migrate",),
    ("simulator",),
    ("locate",),
    ("listener",),
    ("listener", "register"),
    ("listener", "list"),
    ("listener", "remove"),
    ("listener", "test"),
    ("callbacks", "list"),
    ("callbacks", "replay"),
    ("providers", "list"),
    ("providers", "reset"),
    ("periodic", "start"),
    ("periodic", "list"),
    ("periodic", "show"),
    ("periodic", "stop"),
    ("reports", "list"),
    ("reports", "export"),
    ("devices", "list"),
    ("devices", "track"),
    ("audit", "list"),
    ("keys", "create"),
    ("keys", "list"),
    ("keys", "rotate"),
    ("keys", "revoke"),
    ("config", "check"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(command: tuple[str, ...]) -> None:
    result = CliRunner(env={"COLUMNS": "120"}).invoke(cli.app, [*command, "--help"])

    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 5
    assert command == ("listener",) or "Example: " in result.output


HEAVY = ("alembic", "asyncio", "asyncpg", "fastapi", "httpx", "pydantic_settings", "sqlalchemy", "uvicorn")


@pytest.mark.parametrize("arguments", [("--help",), ("serve", "--help"), ("keys", "create", "--help"), ("--version",)])
def test_help_imports_nothing_that_takes_long(arguments: tuple[str, ...]) -> None:
    program = "import sys; from app.cli import app; app(sys.argv[1:], standalone_mode=False); print(*sys.modules)"

    with running(["-c", program, *arguments]) as started:
        status, loaded = started.process.wait(30), started.output().split()

    assert status == 0
    assert [name for name in HEAVY if name in loaded] == []


def test_the_version_is_told() -> None:
    result = CliRunner().invoke(cli.app, ["--version"])

    assert result.output.split() == ["location-gateway", version("location-gateway")]


@pytest.mark.parametrize("command", ["serve", "simulator", "demo"])
def test_a_port_that_is_none_is_refused(command: str) -> None:
    result = CliRunner().invoke(cli.app, [command, "--port", "99999"])

    assert result.exit_code == 2
    assert "65535" in result.output


def test_without_a_command_the_help_is_shown() -> None:
    result = CliRunner().invoke(cli.app, [])

    assert "location-gateway demo" in result.output
    assert all(name in result.output for name in ("serve", "migrate", "simulator", "locate", "listener", "callbacks"))


@pytest.mark.parametrize("width", [40, 80])
def test_tables_cut_nothing_off_on_a_narrow_terminal(width: int) -> None:
    written = StringIO()

    output.show_table(
        [{"id": "0" * 26, "device": {"url": "z" * 80}}],
        {"id": "Id", "device.url": "Address"},
        to=Console(width=width, file=written),
    )

    assert "0" * 26 in written.getvalue()
    assert written.getvalue().count("z") == 80
    assert max(map(len, written.getvalue().splitlines())) <= width
