"""Take in a callback: verify it, decode it, store it, and only then let it be acknowledged."""

import asyncio
from time import time_ns
from typing import Literal, Protocol

import structlog

from app.callbacks.tokens import Address
from app.errors import GatewayError, MalformedJson, Unauthenticated, UnexpectedReply
from app.model import Headers, Report
from app.observability.tracing import Trace
from app.storage.callbacks import OTHER_ACCOUNT
from app.storage.rows import NewCallback, NewReport, from_milliseconds, new_digits, to_row, to_simple_fix_row
from app.storage.writer import Entry, Waiting, Writer

log = structlog.get_logger()

Signature = Literal["valid", "invalid", "missing", "unchecked"]


class Sender(Waiting, Protocol):
    """Who has sent a callback, and is told what became of it."""

    def pass_on(self) -> None:
        """Let the callback be taken in the ordinary way, because there is more to be told."""


class Ingest:
    """Stores callbacks; many that arrive together share a commit."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._arrivals: list[tuple[Address, bytes, Headers, Sender, Trace | None]] = []

    def take(self, address: Address, body: bytes, headers: Headers) -> tuple["asyncio.Future[None]", bool]:
        """Queue a callback to be stored.

        Returns:
            What is done when the callback is committed (it raises `Unavailable` when it cannot be), and whether the
            body could be read at all; one that could not is kept in quarantine.

        Raises:
            Unauthenticated: The signature is enforced, and missing or wrong; nothing is stored.
            Overloaded, Unavailable: Too much is waiting, or the database is away; nothing is stored.
        """
        now_ms = time_ns() // 1_000_000
        callback = arrived(address, accepted_signature(address, body, headers), now_ms)
        kept = address.reader.redacted(body)
        try:
            reports = decode(address, body, callback)
        except GatewayError as error:
            callback.state, callback.reason = "quarantined", error.detail
            entry = Entry(callback=callback, body=kept)
            return self._writer.submit(entry), not isinstance(error, MalformedJson)
        return self._writer.submit(Entry(reports=reports, callback=callback, body=kept)), True

    def take_together(
        self, address: Address, body: bytes, headers: Headers, sender: Sender, trace: Trace | None = None
    ) -> None:
        """Take a callback together with the others that arrive in the same turn of the event loop.

        One after the other in one go, they cost half of what they cost between other work.

        Args:
            sender: Told when the callback is committed or cannot be; or to pass it on, because `take` has to tell
                what is wrong with it, and nothing is stored.
            trace: The trace of the callback, where it has one.
        """
        if not self._arrivals:
            asyncio.get_running_loop().call_soon(self._take_arrivals)
        self._arrivals.append((address, body, headers, sender, trace))

    def _take_arrivals(self) -> None:
        arrivals, self._arrivals = self._arrivals, []
        now_ms = time_ns() // 1_000_000
        for address, body, headers, sender, trace in arrivals:
            try:
                self._writer.submit(_entry(address, body, headers, now_ms), trace, sender)
            except GatewayError:
                sender.pass_on()
            except Exception as error:  # noqa: BLE001 -- a mistake with one must not keep the others waiting
                log.error("callback not taken at once", provider=address.provider, error=type(error).__name__)
                sender.pass_on()


def _entry(address: Address, body: bytes, headers: Headers, now_ms: int) -> Entry:
    """Make an entry of a callback, of an ordinary one in the shortest way.

    Raises:
        Unauthenticated: The signature is enforced, and missing or wrong.
        GatewayError: Nothing can be made of it.
    """
    signature = accepted_signature(address, body, headers)
    report = address.reader.read_simple_fix(body)
    if report is not None and report.account == address.account:
        row = to_simple_fix_row(
            report, body, provider=address.provider, service=address.service, signature=signature, received_ms=now_ms
        )
        return Entry(ordinary=row)
    callback = arrived(address, signature, now_ms)
    return Entry(reports=decode(address, body, callback), callback=callback, body=address.reader.redacted(body))


def arrived(address: Address, signature: Signature, now_ms: int) -> NewCallback:
    """Write down that a callback has arrived, so many milliseconds after 1970."""
    return NewCallback(
        id=new_digits(now_ms),
        received_at=from_milliseconds(now_ms),
        provider=address.provider,
        service=address.service,
        state="stored",
        signature=signature,
        account=address.account,
    )


def accepted_signature(address: Address, body: bytes, headers: Headers) -> Signature:
    """Judge the signature of a callback, and refuse it where that has to be.

    Raises:
        Unauthenticated: The signature is enforced, and missing or wrong.
    """
    signature = verdict(address, body, headers)
    if address.reader.signature_mode == "enforce" and signature != "valid":
        raise Unauthenticated("The callback's signature is missing or wrong.")
    return signature


def verdict(address: Address, body: bytes, headers: Headers) -> Signature:
    """Judge the signature of a callback over its raw bytes."""
    if address.reader.signature_mode == "off" or address.secret is None:
        return "unchecked"
    authentic = address.reader.is_authentic(body, headers, address.secret)
    if authentic is None:
        return "missing"
    return "valid" if authentic else "invalid"


def decode(address: Address, body: bytes, callback: NewCallback) -> tuple[NewReport, ...]:
    """Make rows of what a callback says.

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
    """Make rows of a callback's reports, and mark what names another account than its token's."""
    rows = []
    for report in reports:
        row = to_row(report, received_at=callback.received_at, callback_id=callback.id)
        if row.account is None:
            row.account = address.account
        elif row.account != address.account:
            row.flags = (*report.flags, OTHER_ACCOUNT)
            callback.flags = (OTHER_ACCOUNT,)
        rows.append(row)
    return tuple(rows)
