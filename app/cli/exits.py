"""How a failed command ends: its error message or its JSON, and its exit status."""

import sys

from app.cli.output import print_error, show_json
from app.errors import AddressUnusable, DatabaseUnusable, GatewayError, GatewayTimeout, NoGateway, SettingsInvalid

STATUSES: dict[type[GatewayError], int] = {
    SettingsInvalid: 3,
    DatabaseUnusable: 4,
    AddressUnusable: 5,
    NoGateway: 7,
    GatewayTimeout: 7,
    GatewayError: 1,
}
"""The exit status of each kind of failure; 2 is a wrong command line, 6 an embedded Postgres that cannot be used."""

HELP = (
    "Exit status: 0 done, 1 failed, 2 wrong command line, 3 settings not valid, 4 database not usable, 5 address not "
    "usable, 6 embedded Postgres not usable, 7 no gateway answers."
)


def fail(error: GatewayError) -> None:
    """Print an error as text, or as JSON where the command line has `--json`, and end the process."""
    status = status_of(error)
    if "--json" in sys.argv:
        show_json(to_json(error, status))
    elif isinstance(error, SettingsInvalid):
        print_error("", label=f"{error.title}:")
        for problem in error.problems:
            print_error(f"  {problem}")
    else:
        print_error(error.detail, label=f"{error.title}:")
        for field in error.errors:
            print_error(f"  {field.pointer or '/'}: {field.detail}")
    sys.exit(status)


def status_of(error: GatewayError) -> int:
    """Look up the exit status of an error, by its class or the nearest one above it."""
    from app.embedded_postgres import EmbeddedPostgresFailed

    statuses = STATUSES | {EmbeddedPostgresFailed: 6}
    return next(statuses[kind] for kind in type(error).__mro__ if kind in statuses)


def to_json(error: GatewayError, status: int) -> dict[str, object]:
    """Write a failure for programs."""
    written: dict[str, object] = {
        "code": error.code,
        "title": error.title,
        "detail": error.detail,
        "retryable": error.retryable,
        "exitStatus": status,
    }
    if isinstance(error, DatabaseUnusable):
        written["reason"] = error.reason
    if isinstance(error, SettingsInvalid):
        written["problems"] = list(error.problems)
    return written
