"""Prepares the start of the gateway: every check once, before worker processes exist."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from app.embedded_postgres import EmbeddedPostgres
from app.errors import DatabaseUnusable
from app.settings import Settings
from app.startup.address import check_address
from app.startup.configuration import Configuration, check_configuration
from app.startup.database import DatabaseState, check_database, explained
from app.startup.settings import refusal
from app.startup.summary import summarise
from app.storage.migrate import upgrade


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """A gateway that can start.

    Attributes:
        summary: What it works with, without secrets.
        configuration: What the checks found in its settings.
    """

    settings: Settings
    summary: dict[str, Any]
    configuration: Configuration


@contextmanager
def prepared(
    options: Mapping[str, Any], *, needs_database: bool = True, on_step: Callable[[str], None] = lambda _: None
) -> Iterator[Preparation]:
    """Prepare a gateway and keep its embedded database while the block runs.

    Args:
        options: Settings that go before the environment's, by the name of their variable; None leaves it alone.
        needs_database: Whether a configured database that cannot be used is an error; it is shown in the summary
            otherwise.
        on_step: Called with a few words about each step that takes time.

    Raises:
        SettingsInvalid: Some settings are not valid.
        AddressUnusable: The address cannot be listened on.
        DatabaseUnusable: The database cannot be used.
        EmbeddedPostgresFailed: The embedded database cannot be used.
    """
    configuration = _configure(options)
    settings = Settings()
    _configure({"GATEWAY_PORT": check_address(settings.host, settings.port)})
    settings = Settings()
    with ExitStack() as stack:
        if settings.database_url is None:
            url = stack.enter_context(embedded_database(settings, on_step))
        else:
            url = settings.direct_database_url or ""
        summary = asyncio.run(_look(settings, url, needs_database=needs_database))
        yield Preparation(settings=settings, summary=summary, configuration=configuration)


def _configure(options: Mapping[str, Any]) -> Configuration:
    # The server's processes read the environment again, so the options have to stand there.
    os.environ.update({name: str(value) for name, value in options.items() if value is not None})
    found = check_configuration()
    if found.invalid:
        raise refusal(found.invalid)
    return found


async def _look(settings: Settings, url: str, *, needs_database: bool) -> dict[str, Any]:
    if settings.database_url is None:
        async with explained(url):
            await upgrade(url)
    try:
        state: DatabaseState | DatabaseUnusable = await check_database(url)
        if settings.database_url is not None and settings.database_direct_url is not None:
            await check_database(settings.database_url.get_secret_value(), is_pooled=True)
    except DatabaseUnusable as error:
        if needs_database:
            raise
        state = error
    return await summarise(settings, url, state)


@contextmanager
def embedded_database(settings: Settings, on_step: Callable[[str], None]) -> Iterator[str]:
    """Run the embedded server as long as the block; the gateway's own processes join it.

    It starts here, before those processes exist, so that a failure is reported once.

    Raises:
        EmbeddedPostgresFailed: It cannot be started.
    """
    server = EmbeddedPostgres(settings.data_dir, bin_dir=settings.postgres_bin, on_step=on_step)
    with _signals_noted() as arrived:
        url = server.start()
    try:
        if arrived:
            sys.exit(0)
        # Until the server has handlers of its own, a signal must not leave Postgres behind either.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        yield url
    finally:
        server.stop()


@contextmanager
def _signals_noted() -> Iterator[list[int]]:
    """Note the signals that ask the process to end, instead of ending it: a half-started server would stay behind."""
    arrived: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        arrived.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield arrived
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
