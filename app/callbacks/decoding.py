"""From the bytes of a callback to the entry that stores it; pure, and for large bodies in a thread."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import structlog
from msgspec.structs import replace

from app.callbacks.signatures import Signature
from app.callbacks.tokens import Address
from app.errors import GatewayError, UnexpectedReply
from app.ids import from_milliseconds, new_digits
from app.model import Report
from app.plausibility import OTHER_ACCOUNT
from app.storage.rows import NewCallback, NewReport, to_row, to_simple_fix_row
from app.storage.writer import Entry

log = structlog.get_logger()

T = TypeVar("T")

LARGEST_ON_LOOP = 4096
"""Bytes of a callback that are decoded on the event loop: up to 16 documented devices, or 20 ms of the worst."""


class DecodingThread:
    """Runs what takes long beside the event loop, one at a time: threads that only compute share one core anyway."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore()

    async def run(self, size: int, work: Callable[[], T]) -> T:
        """Return what `work` returns, which takes time in proportion to `size` bytes."""
        if size <= LARGEST_ON_LOOP:
            return work()
        async with self._turn:
            return await asyncio.to_thread(work)


def to_entry(address: Address, body: bytes, signature: Signature, now_ms: int) -> tuple[Entry, GatewayError | None]:
    """Make the entry that stores a callback, and return the error if it goes to quarantine."""
    fix = address.reader.read_simple_fix(body)
    if fix is not None and fix.account == address.account:
        row = to_simple_fix_row(
            fix, body, provider=address.provider, service=address.service, signature=signature, received_ms=now_ms
        )
        return Entry(simple_fix=row), None
    callback = arrived(address, signature, now_ms)
    # Read as it is kept, so that a replay makes the same reports of it.
    kept = address.reader.redacted(body)
    try:
        return Entry(reports=decode(address, kept, callback), callback=callback, body=kept), None
    except GatewayError as error:
        callback.state, callback.reason = "quarantined", error.detail
        return Entry(callback=callback, body=kept), error


def arrived(address: Address, signature: Signature, now_ms: int) -> NewCallback:
    """Make the row of a callback that arrived `now_ms` milliseconds after 1970."""
    return NewCallback(
        id=new_digits(now_ms),
        received_at=from_milliseconds(now_ms),
        provider=address.provider,
        service=address.service,
        state="stored",
        signature=signature,
        account=address.account,
    )


def decode(address: Address, body: bytes, callback: NewCallback) -> tuple[NewReport, ...]:
    """Make rows of the reports of a callback.

    Raises:
        GatewayError: Nothing can be made of it.
    """
    try:
        return to_rows(address, address.reader.read(body), callback)
    except GatewayError:
        raise
    except Exception as error:  # a mistake in a reader must not lose what came in
        log.error("callback reader failed", provider=address.provider, error=type(error).__name__)
        raise UnexpectedReply(f"The reader failed ({type(error).__name__}).", provider=address.provider) from error


def to_rows(address: Address, reports: list[Report], callback: NewCallback) -> tuple[NewReport, ...]:
    """Make rows of a callback's reports; they belong to the account of the token, whatever account they name."""
    return tuple(_to_row(address, report, callback) for report in reports)


def _to_row(address: Address, report: Report, callback: NewCallback) -> NewReport:
    is_ours = address.account is None or report.account in (None, address.account)
    if not is_ours:
        callback.flags = (OTHER_ACCOUNT,)
        # With a content of its own: at the address of the account that it names, the same is no repetition.
        own_key = f"{address.account}|{report.content_key}"
        report = replace(report, content_key=own_key, flags=(*report.flags, OTHER_ACCOUNT))
    row = to_row(report, received_at=callback.received_at, callback_id=callback.id, is_vouched=is_ours)
    row.account = address.account or row.account
    return row
