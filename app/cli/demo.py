"""`demo`: everything at once, with simulated vendors."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    data_dir: Annotated[Path, typer.Option(help="Where the demo's database lies")] = Path(".data/demo"),
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the gateway; another one when it is taken")
    ] = 8080,
    simulator_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the simulator; another one when it is taken")
    ] = 9090,
    duration: Annotated[float | None, typer.Option(help="Seconds to run; default: until Ctrl-C")] = None,
) -> None:
    """Run embedded Postgres, the simulator, the gateway, a registered listener and a small moving fleet.

    Example: [bold]location-gateway demo[/bold]
    """
    from app.demo import run_demo

    run_demo(data_dir.absolute(), port, simulator_port, duration)
