"""Ask a running gateway over HTTP."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from app.cli.output import print_error, show_json
from app.errors import GatewayTimeout, NoGateway

if TYPE_CHECKING:
    import httpx

_TIMEOUT_S = 130


def call(
    method: str,
    path: str,
    *,
    url: str | None = None,
    body: Any = None,
    params: Any = None,
    headers: dict[str, str] | None = None,
    as_json: bool = False,
) -> Any:
    """Ask the gateway, with the key of GATEWAY_API_KEY; exit with status 1 when it answers with a problem.

    Raises:
        NoGateway: There is no gateway at this address.
        GatewayTimeout: The gateway does not answer in time.
    """
    with gateway(url) as http:
        response = http.request(method, path, json=body, params=params, headers=headers)
    check(response, as_json=as_json)
    return response.json() if response.content else None


def pages(path: str, member: str, *, url: str | None, as_json: bool) -> Iterator[dict[str, Any]]:
    """Read a list page by page; `member` names it in each answer."""
    cursor: dict[str, str] = {}
    while True:
        answer = call("GET", path, url=url, params={"limit": 1000, **cursor}, as_json=as_json)
        yield from answer[member]
        if answer["next"] is None:
            return
        cursor = {"cursor": answer["next"]}


@contextmanager
def gateway(url: str | None) -> "Iterator[httpx.Client]":
    """Open a client of the gateway; failures to reach it are raised as the gateway's errors.

    Raises:
        NoGateway: There is no gateway at this address.
        GatewayTimeout: The gateway does not answer in time.
    """
    import httpx

    from app.startup.settings import load_settings

    settings = load_settings()
    base = url or f"http://{settings.host}:{settings.port}"
    headers = {"Authorization": f"Bearer {settings.api_key.get_secret_value()}"} if settings.api_key else {}
    try:
        with httpx.Client(base_url=base, headers=headers, timeout=_TIMEOUT_S) as http:
            yield http
    except httpx.ReadTimeout as error:
        raise GatewayTimeout(
            f"The gateway at {base} did not answer within {_TIMEOUT_S} seconds; it may still be at work."
        ) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NoGateway(
            f"No gateway answers at {base}; start one with: location-gateway serve, or name it with --url"
        ) from error


def check(response: "httpx.Response", *, as_json: bool) -> None:
    """Print the problem that a gateway answered with, and exit with status 1; return if it is none."""
    if response.is_success:
        return
    response.read()
    try:
        problem = response.json()
    except ValueError:
        print_error("the answer is no JSON; is this a gateway?", label=f"HTTP {response.status_code}:")
        sys.exit(1)
    fail_with(problem, as_json=as_json)


def fail_with(problem: dict[str, Any], *, as_json: bool) -> NoReturn:
    """Print a problem, as text on standard error or as JSON, and exit with status 1."""
    if as_json:
        show_json(problem)
        sys.exit(1)
    print_error(f"({problem.get('status')}): {problem.get('detail')}", label=problem.get("code", ""))
    for field in problem.get("errors", []):
        print_error(f"  {field['pointer'] or '/'}: {field['detail']}")
    for attempt in problem.get("attempts", []):
        print_error(f"  {attempt['provider']}: {attempt['outcome']}, {attempt.get('reason', '')}")
    sys.exit(1)
