"""`reports`: what providers reported, as a list or as a file."""

import sys
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import typer

from app.cli.client import call, check, gateway
from app.cli.exported import Format, copy_lines, copy_whole, last_report, part_of, without_heading
from app.cli.options import Account, AsJson, Limit, Since, Until, Url, given
from app.cli.output import print_error, show_json, show_table
from app.errors import NoGateway, Unavailable

report_commands = typer.Typer(help="What providers reported.", no_args_is_help=True)

Transaction = Annotated[str | None, typer.Option(help="Of this transaction of ThingSpace")]
Session = Annotated[str | None, typer.Option(help="Of this periodic session")]
Imei = Annotated[str | None, typer.Option(help="Of the device with this IMEI")]
Mdn = Annotated[str | None, typer.Option(help="Of the device with this number")]
Name = Annotated[str | None, typer.Option(help="Of the device that you call this")]
Type = Annotated[str | None, typer.Option("--type", help="location, stopped, consent or other")]
Status = Annotated[str | None, typer.Option(help="located, failed or info")]
Flag = Annotated[str | None, typer.Option(help="With this flag: late, future_time, time_unreadable, …")]
ReceivedSince = Annotated[str | None, typer.Option(help="Arrived at or after this instant")]
ReceivedUntil = Annotated[str | None, typer.Option(help="Arrived before this instant")]
Order = Annotated[Literal["asc", "desc"], typer.Option(help="asc: oldest fix first")]
Box = Annotated[str | None, typer.Option(help="west,south,east,north in degrees")]

_COLUMNS = {"at": "At", "device": "Device", "mdn": "MDN", "said": "Said"}
_MEDIA_TYPES = {"csv": "text/csv", "ndjson": "application/x-ndjson", "parquet": "application/vnd.apache.parquet"}


@report_commands.command("list")
def list_reports(
    transaction: Transaction = None,
    session: Session = None,
    imei: Imei = None,
    mdn: Mdn = None,
    name: Name = None,
    account: Account = None,
    type_: Type = None,
    status: Status = None,
    flag: Flag = None,
    since: Since = None,
    until: Until = None,
    received_since: ReceivedSince = None,
    received_until: ReceivedUntil = None,
    bbox: Box = None,
    order: Order = "desc",
    limit: Limit = 20,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List reports by the time of the fix, which `--since` and `--until` mean, too.

    Example: [bold]location-gateway reports list --imei 990001123456782 --since 2026-03-02T00:00:00Z[/bold]
    """
    params = given(
        transactionId=transaction,
        sessionId=session,
        imei=imei,
        mdn=mdn,
        name=name,
        account=account,
        type=type_,
        status=status,
        flag=flag,
        since=since,
        until=until,
        receivedSince=received_since,
        receivedUntil=received_until,
        bbox=bbox,
        order=order,
        limit=limit,
    )
    answer = call("GET", "/reports", url=url, params=params, as_json=as_json)
    if as_json:
        show_json(answer)
    else:
        show_table([_row(report) for report in answer["reports"]], _COLUMNS)


def _row(report: dict[str, Any]) -> dict[str, Any]:
    """Sum a report up in a row."""
    device, location, error = report["device"], report["location"], report["error"]
    said = report["status"] if error is None else f"{report['status']}: {error['type'] or error['info'] or ''}"
    if location is not None:
        accuracy = "" if location["accuracy"] is None else f" (within {location['accuracy']:g} m)"
        said = f"{location['latitude']:.6f}, {location['longitude']:.6f}{accuracy}"
    if report["flags"]:
        said = f"{said} [{', '.join(report['flags'])}]"
    return {
        "at": location["timestamp"] if location else report["receivedAt"],
        "device": next((device[kind] for kind in ("imei", "meid", "esn", "name") if device.get(kind)), None),
        "mdn": device.get("mdn"),
        "said": said,
    }


@report_commands.command("export")
def export(
    format_: Annotated[Format, typer.Option("--format", help="csv, ndjson or parquet (GeoParquet)")] = "csv",
    output: Annotated[Path | None, typer.Option(help="File to write; default: standard output")] = None,
    transaction: Transaction = None,
    session: Session = None,
    imei: Imei = None,
    mdn: Mdn = None,
    name: Name = None,
    account: Account = None,
    type_: Type = None,
    status: Status = None,
    flag: Flag = None,
    since: Since = None,
    until: Until = None,
    received_since: ReceivedSince = None,
    received_until: ReceivedUntil = None,
    bbox: Box = None,
    order: Order = "desc",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an interrupted export to this file ended")
    ] = False,
    url: Url = None,
) -> None:
    """Write all reports that match, by the time of the fix.

    A file has its name when it is whole. Until then its name ends in .part; --resume goes on with it, given the same
    filters. A file of Parquet begins anew.

    Example: [bold]location-gateway reports export --since 2026-03-01T00:00:00Z --output march.csv[/bold]
    """
    params = given(
        transactionId=transaction,
        sessionId=session,
        imei=imei,
        mdn=mdn,
        name=name,
        account=account,
        type=type_,
        status=status,
        flag=flag,
        since=since,
        until=until,
        receivedSince=received_since,
        receivedUntil=received_until,
        bbox=bbox,
        order=order,
    )
    if output is None:
        _export(sys.stdout.buffer, format_, params, url)
        return
    part = part_of(output)
    resume = resume and format_ != "parquet"
    with part.open("r+b" if resume and part.exists() else "w+b") as file:
        after = last_report(file, format_) if resume else None
        rows = _export(file, format_, params | given(cursor=after), url)
    part.replace(output)
    count = "The" if rows is None else f"{rows:,}"
    print_error(f"{count} reports {'more ' if after else ''}are in {output}.", style="")


def _export(to: BinaryIO, format_: Format, params: dict[str, Any], url: str | None) -> int | None:
    """Copy the answer of the gateway, and count its reports if they are lines; what goes on has no second heading."""
    is_begun, goes_on, is_csv = False, "cursor" in params, format_ == "csv"
    try:
        with (
            gateway(url) as http,
            http.stream("GET", "/reports", params=params, headers={"Accept": _MEDIA_TYPES[format_]}) as response,
        ):
            check(response, as_json=False)
            is_begun = True
            chunks = response.iter_bytes()
            if format_ == "parquet":
                copy_whole(chunks, to)
                return None
            return copy_lines(without_heading(chunks) if is_csv and goes_on else chunks, to) - (is_csv and not goes_on)
    except NoGateway as error:
        if not is_begun:
            raise
        go_on = "begin anew" if format_ == "parquet" else "go on with --resume"
        raise Unavailable(f"The connection was lost before the end; {go_on}.") from error
