"""Commands that ask a running gateway."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Table

from app.errors import Unavailable
from app.settings import Settings

listener_commands = typer.Typer(help="Our callback listeners at ThingSpace.", no_args_is_help=True)
callback_commands = typer.Typer(help="What providers sent us, raw.", no_args_is_help=True)
provider_commands = typer.Typer(help="State of the providers.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print the gateway's JSON")]
Url = Annotated[str | None, typer.Option(help="Address of the gateway; default: GATEWAY_HOST and GATEWAY_PORT")]
Account = Annotated[str, typer.Argument(help="ThingSpace billing account")]
Service = Annotated[str, typer.Argument(help="DeviceLocation or Location")]

_TIMEOUT_S = 130
console = Console()


def call(
    method: str, path: str, *, url: str | None = None, body: Any = None, params: Any = None, as_json: bool = False
) -> Any:
    """Ask the gateway, with the key of GATEWAY_API_KEY; exit with status 1 when it answers with a problem.

    Raises:
        Unavailable: There is no gateway at this address.
    """
    settings = Settings()
    base = url or f"http://{settings.host}:{settings.port}"
    headers = {"Authorization": f"Bearer {settings.api_key.get_secret_value()}"} if settings.api_key else {}
    try:
        response = httpx.request(
            method, base.rstrip("/") + path, json=body, params=params, headers=headers, timeout=_TIMEOUT_S
        )
    except httpx.HTTPError as error:
        raise Unavailable(
            f"No gateway answers at {base}; start one with: location-gateway serve, or name it with --url"
        ) from error
    if not response.is_success:
        if as_json and "json" in response.headers.get("content-type", ""):
            show_json(response.json())
        else:
            show_problem(response)
        sys.exit(1)
    return response.json() if response.content else None


def show_problem(response: httpx.Response) -> None:
    """Tell a problem in words, on standard error."""
    errors = Console(stderr=True)
    try:
        problem = response.json()
    except ValueError:
        errors.print(f"[red]HTTP {response.status_code}[/red]: the answer is no JSON; is this a gateway?")
        return
    errors.print(f"[red]{problem.get('code')}[/red] ({response.status_code}): {problem.get('detail')}", soft_wrap=True)
    for field in problem.get("errors", []):
        errors.print(f"  {field['pointer'] or '/'}: {field['detail']}", highlight=False, soft_wrap=True)
    for attempt in problem.get("attempts", []):
        errors.print(f"  {attempt['provider']}: {attempt['outcome']}, {attempt.get('reason', '')}", soft_wrap=True)


def show_json(value: Any) -> None:
    """Print JSON for other programs to read."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def show_table(rows: list[dict[str, Any]], columns: dict[str, str]) -> None:
    """Print rows as a table; `columns` maps members to headings."""
    table = Table()
    for name, heading in columns.items():
        # On a narrow terminal nothing is cut off, and ids, which are there to be copied, are not even wrapped.
        table.add_column(heading, no_wrap=name == "id", overflow="fold")
    for row in rows:
        table.add_row(*("" if row.get(name) is None else str(row[name]) for name in columns))
    console.print(table)


def locate(
    imei: Annotated[str | None, typer.Option(help="IMEI of the device")] = None,
    mdn: Annotated[str | None, typer.Option(help="Its ten-digit number")] = None,
    account: Annotated[str | None, typer.Option(help="ThingSpace billing account")] = None,
    measurements: Annotated[
        Path | None, typer.Option(help="File with the `measurements` of a request, - for standard input")
    ] = None,
    max_age: Annotated[int | None, typer.Option(help="How old a fix may be, seconds; 0: a current one")] = None,
    provider: Annotated[str, typer.Option(help="auto, cloudlocate or thingspace")] = "auto",
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Locate a device.

    Example: [bold]location-gateway locate --imei 990001123456782 --mdn 5085550101[/bold]
    """
    device = {name: value for name, value in (("imei", imei), ("mdn", mdn), ("account", account)) if value}
    body: dict[str, Any] = {"provider": provider}
    if device:
        body["device"] = device
    if measurements is not None:
        body["measurements"] = _read_json(measurements)
    if max_age is not None:
        body["maxAge"] = max_age
    answer = call("POST", "/locate", url=url, body=body, as_json=as_json)
    if as_json:
        show_json(answer)
        return
    place = answer["location"]
    accuracy = "unknown accuracy" if place["accuracy"] is None else f"within {place['accuracy']:g} m"
    console.print(f"[bold]{place['latitude']:.6f}, {place['longitude']:.6f}[/bold] ({accuracy}), {place['timestamp']}")
    console.print(f"by {place['provider']} from {place['source']}{', cached' if place['cached'] else ''}")
    for hint in answer["hints"]:
        console.print(f"[dim]{hint}[/dim]", soft_wrap=True)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(sys.stdin.read() if str(path) == "-" else path.read_text())
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"cannot be read as JSON: {error}") from error


_LISTENER_COLUMNS = {
    "account": "Account",
    "service": "Service",
    "url": "Address",
    "managed": "Managed",
    "secretKnown": "Secret known",
    "registeredAt": "Registered",
    "problem": "Problem",
}


@listener_commands.command("list")
def list_listeners(url: Url = None, as_json: AsJson = False) -> None:
    """Show the listeners; secrets are never shown."""
    answer = call("GET", "/listeners", url=url, as_json=as_json)
    if as_json:
        show_json(answer)
    else:
        show_table(answer["listeners"], _LISTENER_COLUMNS)


@listener_commands.command("register")
def register_listener(
    account: Account,
    service: Service = "DeviceLocation",
    address: Annotated[str | None, typer.Option(help="Address to register; default: from GATEWAY_PUBLIC_URL")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Register our listener at ThingSpace, or register it anew.

    Example: [bold]location-gateway listener register 0844559123-00001[/bold]
    """
    body = {"url": address} if address else {}
    answer = call("PUT", f"/listeners/{account}/{service}", url=url, body=body, as_json=as_json)
    if as_json:
        show_json(answer)
    else:
        show_table([answer], _LISTENER_COLUMNS)


@listener_commands.command("remove")
def remove_listener(
    account: Account, service: Service = "DeviceLocation", url: Url = None, as_json: AsJson = False
) -> None:
    """Remove our listener at ThingSpace; its address is unknown from then on."""
    call("DELETE", f"/listeners/{account}/{service}", url=url, as_json=as_json)
    if as_json:
        show_json({"removed": True, "account": account, "service": service})
    else:
        console.print("Removed.")


@listener_commands.command("test")
def try_listener(
    account: Account, service: Service = "DeviceLocation", url: Url = None, as_json: AsJson = False
) -> None:
    """Send a signed synthetic callback through the public address; exit with status 1 when it does not arrive."""
    answer = call("POST", f"/listeners/{account}/{service}/test", url=url, as_json=as_json)
    if as_json:
        show_json(answer)
    else:
        colour = "green" if answer["arrived"] else "red"
        words = "arrived" if answer["arrived"] else "did not arrive"
        console.print(f"[{colour}]The callback {words}[/{colour}] ({answer['durationMs']} ms): {answer['detail']}")
    if not answer["arrived"]:
        sys.exit(1)


@callback_commands.command("list")
def list_callbacks(
    state: Annotated[str | None, typer.Option(help="stored or quarantined")] = None,
    limit: Annotated[int, typer.Option(help="How many, newest first")] = 20,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show what came in.

    Example: [bold]location-gateway callbacks list --state quarantined[/bold]
    """
    params = {"limit": limit} | ({"state": state} if state else {})
    answer = call("GET", "/callbacks", url=url, params=params, as_json=as_json)
    columns = {"id": "Id", "receivedAt": "Received", "account": "Account", "state": "State", "reason": "Reason"}
    if as_json:
        show_json(answer)
    else:
        show_table(answer["callbacks"], columns)


@callback_commands.command("replay")
def replay_callbacks(
    callback: Annotated[str | None, typer.Argument(help="Id of one callback; without it, all in quarantine")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Decode callbacks again, after a fix; what is stored already is not stored twice."""
    path = f"/callbacks/{callback}/replay" if callback else "/callbacks/replay"
    answer = call("POST", path, url=url, as_json=as_json)
    if as_json:
        show_json(answer)
    elif callback:
        console.print(f"{answer['state']}, {answer['reports']} reports {answer['reason'] or ''}")
    else:
        console.print(f"{answer['stored']} stored, {answer['quarantined']} still in quarantine.")


@provider_commands.command("list")
def list_providers(url: Url = None, as_json: AsJson = False) -> None:
    """Show the state of the providers."""
    answer = call("GET", "/providers", url=url, as_json=as_json)
    if as_json:
        show_json(answer)
    else:
        show_table(answer["providers"], {"name": "Provider", "state": "State", "lastError": "Last error"})


@provider_commands.command("reset")
def reset_provider(
    name: Annotated[str, typer.Argument(help="Name of the provider")], url: Url = None, as_json: AsJson = False
) -> None:
    """Let a paused provider try again, after what caused it has been mended."""
    answer = call("POST", f"/providers/{name}/reset", url=url, as_json=as_json)
    if as_json:
        show_json(answer)
    else:
        console.print(f"{answer['name']} is {answer['state']}.")
