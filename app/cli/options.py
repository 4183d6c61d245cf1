"""Options that commands share."""

from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]
Url = Annotated[str | None, typer.Option(help="Address of the gateway; default: GATEWAY_HOST and GATEWAY_PORT")]
Account = Annotated[str | None, typer.Option(help="ThingSpace billing account")]
Since = Annotated[str | None, typer.Option(help="At or after this instant: 2026-03-02T08:00:00Z")]
Until = Annotated[str | None, typer.Option(help="Before this instant")]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="How many")]


def given(**members: Any) -> dict[str, Any]:
    """Keep what is not None: options that were not given are not sent."""
    return {name: value for name, value in members.items() if value is not None}
