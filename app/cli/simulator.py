"""`simulator`: stand-ins for both vendors."""

import os
from typing import Annotated

import typer


def simulator(
    host: Annotated[str, typer.Option(help="Address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on")] = 9090,
    seed: Annotated[int, typer.Option(help="The same seed makes the same world")] = 1,
    speed: Annotated[float, typer.Option(help="How many times faster than real its time runs")] = 1.0,
) -> None:
    """Run stand-ins for CloudLocate and ThingSpace, callbacks included; its page lists the faults it can play.

    Example: [bold]location-gateway simulator --port 9090[/bold], then open http://127.0.0.1:9090/
    """
    from app.server.run import run_simulator
    from app.startup.address import check_address

    check_address(host, port)
    os.environ["SIMULATOR_SEED"] = str(seed)
    os.environ["SIMULATOR_SPEED"] = str(speed)
    run_simulator(host, port)
