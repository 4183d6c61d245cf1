"""`subscriptions`: events delivered by POST."""

import sys
from typing import Annotated, Any

import typer

from app.cli.client import call, pages
from app.cli.options import AsJson, Url
from app.cli.output import print_error, print_line, show_json, show_table

subscription_commands = typer.Typer(help="Events delivered by POST to a receiver.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="Id of the subscription, as `subscriptions list` shows it")]

_COLUMNS = {
    "id": "Id",
    "name": "Name",
    "url": "Address",
    "state": "State",
    "behind": "Behind",
    "lastAttempt.at": "Last attempt",
    "lastAttempt.status": "Status",
    "problem": "Problem",
}


@subscription_commands.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What the subscription is for")],
    address: Annotated[str, typer.Argument(help="Where deliveries are posted to, over https")],
    event_type: Annotated[
        list[str] | None, typer.Option("--type", help="Only this type, or a family such as location.*; repeat it")
    ] = None,
    account: Annotated[str | None, typer.Option(help="Only events of this account")] = None,
    device: Annotated[list[str] | None, typer.Option(help="Only this IMEI, MEID, ESN or MDN; repeat it")] = None,
    transaction: Annotated[str | None, typer.Option(help="Only events of this transactionID")] = None,
    batch: Annotated[int | None, typer.Option(help="Deliver up to so many events at once")] = None,
    delay: Annotated[float | None, typer.Option(help="Seconds that an event waits for others of its batch")] = None,
    start: Annotated[str, typer.Option(help="latest, earliest, or a cursor of /events")] = "latest",
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Make a subscription, and print the secret that signs its deliveries, this once.

    Example: [bold]location-gateway subscriptions create "fleet map" https://receiver.example.com/hook[/bold]
    """
    if delay is not None and batch is None:
        raise typer.BadParameter("a delay needs --batch")
    given = {
        "name": name,
        "url": address,
        "types": event_type,
        "account": account,
        "devices": device,
        "transactionId": transaction,
        "batch": None if batch is None else {"maxEvents": batch} | ({} if delay is None else {"maxDelay": delay}),
        "start": start,
    }
    body = {member: value for member, value in given.items() if value not in (None, [])}
    answer = call("POST", "/subscriptions", url=url, body=body, as_json=as_json)
    if as_json:
        show_json(answer)
        return
    # The secret alone on standard output, so that it can be taken over by a script.
    print_error(f"{answer['name']}, id {answer['id']}; this secret is not shown again:")
    sys.stdout.write(answer["secret"] + "\n")


@subscription_commands.command("list")
def list_subscriptions(url: Url = None, as_json: AsJson = False) -> None:
    """List the subscriptions with their state; secrets are never shown.

    Example: [bold]location-gateway subscriptions list[/bold]
    """
    found = list(pages("/subscriptions", "subscriptions", url=url, as_json=as_json))
    if as_json:
        show_json({"subscriptions": found})
    else:
        show_table(found, _COLUMNS)


@subscription_commands.command("pause")
def pause(subscription: Id, url: Url = None, as_json: AsJson = False) -> None:
    """Deliver nothing until it is resumed; what happens meanwhile is delivered then.

    Example: [bold]location-gateway subscriptions pause 01JNB4C0M8V4C0M8T5Y6Z7A8B9[/bold]
    """
    _change(subscription, "paused", url=url, as_json=as_json)


@subscription_commands.command("resume")
def resume(subscription: Id, url: Url = None, as_json: AsJson = False) -> None:
    """Go on after a pause, or after the subscription was disabled.

    Example: [bold]location-gateway subscriptions resume 01JNB4C0M8V4C0M8T5Y6Z7A8B9[/bold]
    """
    _change(subscription, "active", url=url, as_json=as_json)


@subscription_commands.command("test")
def try_subscription(subscription: Id, url: Url = None, as_json: AsJson = False) -> None:
    """Deliver a test event now; exit with status 1 when the receiver does not take it.

    Example: [bold]location-gateway subscriptions test 01JNB4C0M8V4C0M8T5Y6Z7A8B9[/bold]
    """
    answer = call("POST", f"/subscriptions/{subscription}/test", url=url, as_json=as_json)
    if as_json:
        show_json(answer)
    else:
        words = answer["error"] or f"the receiver answered {answer['status']}"
        print_line(
            f"{words}, after {answer['durationMs']} ms.", label="Taken:" if answer["delivered"] else "Not taken:"
        )
    if not answer["delivered"]:
        sys.exit(1)


@subscription_commands.command("replay")
def replay(
    subscription: Id,
    since: Annotated[str | None, typer.Option(help="Events at or after this instant: 2026-03-02T08:00:00Z")] = None,
    until: Annotated[str | None, typer.Option(help="Events before this instant; default: now")] = None,
    delivery: Annotated[list[str] | None, typer.Option(help="This delivery; repeat it")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Deliver again under the same ids: the events of a time, or some deliveries.

    Example: [bold]location-gateway subscriptions replay 01JNB4C0M8V4C0M8T5Y6Z7A8B9 --since 2026-03-02T08:00:00Z[/bold]
    """
    given = {"since": since, "until": until, "deliveries": delivery or None}
    body = {member: value for member, value in given.items() if value is not None}
    answer = call("POST", f"/subscriptions/{subscription}/replay", url=url, body=body, as_json=as_json)
    if as_json:
        show_json(answer)
    else:
        print_line(f"{answer['deliveries']} deliveries are sent again.")


@subscription_commands.command("delete")
def delete(subscription: Id, url: Url = None, as_json: AsJson = False) -> None:
    """Delete a subscription; what was not delivered yet is not delivered any more.

    Example: [bold]location-gateway subscriptions delete 01JNB4C0M8V4C0M8T5Y6Z7A8B9[/bold]
    """
    call("DELETE", f"/subscriptions/{subscription}", url=url, as_json=as_json)
    if as_json:
        show_json({"deleted": True, "id": subscription})
    else:
        print_line("Deleted.")


def _change(subscription: str, state: str, *, url: str | None, as_json: bool) -> None:
    answer: dict[str, Any] = call(
        "PATCH", f"/subscriptions/{subscription}", url=url, body={"state": state}, as_json=as_json
    )
    if as_json:
        show_json(answer)
    else:
        show_table([answer], _COLUMNS)
