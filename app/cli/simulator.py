"""`simulator`: stand-ins for both vendors."""

import os
from enum import StrEnum
from typing import Annotated

import typer


class ConsentLevel(StrEnum):
    """Who may be located by default."""

    NONE = "none"
    COARSE = "coarse"
    PRECISE = "precise"
    BOTH = "both"


def simulator(
    host: Annotated[str, typer.Option(help="Address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on")] = 9090,
    seed: Annotated[int, typer.Option(envvar="SIMULATOR_SEED", help="The same seed makes the same world")] = 1,
    speed: Annotated[
        float, typer.Option(envvar="SIMULATOR_SPEED", help="How many times faster than real its time runs")
    ] = 1.0,
    fleet: Annotated[int, typer.Option(envvar="SIMULATOR_FLEET", min=1, help="How many devices there are")] = 20_000,
    account: Annotated[
        str, typer.Option(envvar="SIMULATOR_ACCOUNT", help="ThingSpace account of most devices")
    ] = "0844559123-00001",
    other_account: Annotated[
        str, typer.Option(envvar="SIMULATOR_OTHER_ACCOUNT", help="Account of every tenth device")
    ] = "0844559123-00002",
    consent: Annotated[
        ConsentLevel,
        typer.Option(
            envvar="SIMULATOR_CONSENT", help="Consent of devices by default; periodic location needs precise or both"
        ),
    ] = ConsentLevel.COARSE,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse what the vendors' tables forbid")] = False,
    spelling: Annotated[
        list[str] | None, typer.Option(help="Another spelling that the vendors' pages allow; repeat for more")
    ] = None,
) -> None:
    """Run stand-ins for CloudLocate and ThingSpace, callbacks included; its page lists the faults it can play.

    Example: [bold]location-gateway simulator --port 9090 --consent both[/bold], then open http://127.0.0.1:9090/

    Example: [bold]location-gateway simulator --strict --spelling no_mdn --spelling qos_flipped[/bold]
    """
    from app.server.run import run_simulator
    from app.simulator.options import SPELLINGS
    from app.startup.address import check_address

    if unknown := sorted(set(spelling or ()) - set(SPELLINGS)):
        raise typer.BadParameter(f"{', '.join(unknown)}; known are: {', '.join(SPELLINGS)}", param_hint="--spelling")
    check_address(host, port)
    os.environ |= {
        "SIMULATOR_SEED": str(seed),
        "SIMULATOR_SPEED": str(speed),
        "SIMULATOR_FLEET": str(fleet),
        "SIMULATOR_ACCOUNT": account,
        "SIMULATOR_OTHER_ACCOUNT": other_account,
        "SIMULATOR_CONSENT": consent.value,
        "SIMULATOR_STRICT": "true" if strict else "",
        "SIMULATOR_SPELLINGS": ",".join(spelling or ()),
    }
    run_simulator(host, port)
