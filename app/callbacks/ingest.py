"""Take in a callback: verify it, decode it, store it, and only then let it be acknowledged."""

import asyncio
from collections.abc import Callable
from time import time_ns
from typing import Protocol

import structlog

from app.callbacks.decoding import DecodingThread, to_entry
from app.callbacks.signatures import SignatureLog, check_signature, verdict
from app.callbacks.tokens import Address
from app.errors import GatewayError, MalformedJson
from app.model import Headers
from app.observability.tracing import Trace
from app.storage.writer import CommitListener, Writer

log = structlog.get_logger()


def _system_ms() -> int:
    return time_ns() // 1_000_000


class Sender(CommitListener, Protocol):
    """A callback on the fast path, as the server sees it: exactly one of the methods is called."""

    def take_full_path(self) -> None:
        """Let the callback take the full path: nothing is stored, or there is more to answer than that it is."""


class Ingest:
    """Stores callbacks; many that arrive together share a commit."""

    def __init__(self, writer: Writer, now_ms: Callable[[], int] = _system_ms) -> None:
        """Wire the use case; `now_ms` returns the time, in milliseconds since 1970."""
        self._writer = writer
        self._now_ms = now_ms
        self._thread = DecodingThread()
        self._signatures = SignatureLog()
        self._arrivals: list[tuple[Address, bytes, Headers, Sender, Trace | None]] = []

    async def take(self, address: Address, body: bytes, headers: Headers, *, signed: bytes) -> bool:
        """Store a callback; return whether the body could be read as JSON.

        A body of which no report can be made is kept in quarantine.

        Args:
            signed: The bytes as they came, before their content coding was undone.

        Raises:
            Unauthenticated: The signature is enforced, and missing or wrong; nothing is stored.
            Overloaded, Unavailable: Too much is waiting, or the database is away; nothing is stored.
        """
        now_ms = self._now_ms()
        signature = verdict(address, signed, headers)
        if address.reader.signature_mode != "off":
            self._signatures.note([(address.provider, signature)])
        check_signature(address, signature)
        entry, error = await self._thread.run(len(body), lambda: to_entry(address, body, signature, now_ms))
        await self._writer.submit(entry)
        return not isinstance(error, MalformedJson)

    def take_fast_path(
        self, address: Address, body: bytes, headers: Headers, sender: Sender, trace: Trace | None = None
    ) -> None:
        """Take a callback on the fast path, together with the others that arrive in the same turn of the event loop.

        One after the other in one go, they cost half of what they cost between other work.

        Args:
            body: At most `LARGEST_ON_LOOP` bytes; more take long to decode, which is for `take` to do.
            sender: Called when the callback is committed or cannot be; or when nothing is stored of it, and the full
                path has to answer what is wrong.
            trace: The trace of the callback, where it has one.
        """
        if not self._arrivals:
            asyncio.get_running_loop().call_soon(self._take_arrivals)
        self._arrivals.append((address, body, headers, sender, trace))

    def _take_arrivals(self) -> None:
        arrivals, self._arrivals = self._arrivals, []
        now_ms = self._now_ms()
        judged = []
        for address, body, headers, sender, trace in arrivals:
            try:
                signature = verdict(address, body, headers)
                check_signature(address, signature)
                entry, unreadable = to_entry(address, body, signature, now_ms)
                if isinstance(unreadable, MalformedJson):
                    sender.take_full_path()
                    continue
                self._writer.submit(entry, trace, sender)
                if address.reader.signature_mode != "off":
                    judged.append((address.provider, signature))
            except GatewayError:
                sender.take_full_path()
            except Exception as error:  # noqa: BLE001 -- a mistake with one must not keep the others waiting
                log.error("fast path failed", provider=address.provider, error=type(error).__name__)
                sender.take_full_path()
        # Those that take the full path are noted by `take`.
        self._signatures.note(judged)
