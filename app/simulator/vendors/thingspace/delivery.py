"""Callbacks on their way: a bounded queue, a bounded number of keep-alive connections, and tries until acknowledged."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import msgspec

from app.simulator.state import State
from app.simulator.vendors.thingspace.agenda import Agenda
from app.simulator.vendors.thingspace.fault_values import amount
from app.simulator.vendors.thingspace.listeners import ListenerBook, RegisteredListener
from app.simulator.vendors.thingspace.messages import Message
from app.simulator.vendors.thingspace.posting import Poster, PostFailed

FAULTS = {
    "callback_early": "ThingSpace callback: sent and answered before the call that caused it is answered",
    "callback_duplicated": "ThingSpace callback: sent `value` times more (once by default) with the same body",
    "callback_reordered": "ThingSpace callback: held back until the account's next callback is acknowledged",
    "callback_late": "ThingSpace callback: sent `delaySeconds` later (3 simulated hours by default)",
    "callback_lost": "ThingSpace callback: never sent",
    "signature_wrong": "ThingSpace callback: signed with another secret",
    "signature_missing": "ThingSpace callback: not signed",
    "signature_garbage": "ThingSpace callback: the signature is `value` (no hexadecimal digits by default)",
    "body_altered": "ThingSpace callback: the body is changed after it was signed",
    "body_cut": "ThingSpace callback: the body is cut short, no JSON any more, and signed as it is",
}

_QUEUED = 2_000
_LATE_S = 3 * 3600.0


@dataclass(slots=True, kw_only=True)
class Callback:
    """One message for the listener of one account and service; written when it is due, whoever takes it and when."""

    account: str
    service: str
    identifiers: tuple[str, ...]
    write: Callable[[], Message]
    body: bytes = b""
    tries: int = 0
    copies: int = 0
    follower: "Callback | None" = None


class Delivery:
    """Sends callbacks as fast as they are taken."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._agenda = state.part(Agenda)
        self._queue: asyncio.Queue[Callback] = asyncio.Queue(_QUEUED)
        self._held: dict[str, Callback] = {}

    async def send(self, callback: Callback) -> None:
        """Put a callback on its way, or do with it what is asked for; waits while too many are queued."""
        self._count("due")
        callback.body = msgspec.json.encode(callback.write())
        take = partial(self._state.faults.take, device=callback.identifiers, account=callback.account)
        if fault := take("callback_duplicated"):
            callback.copies = int(amount(fault, 1))
        if take("callback_lost"):
            self._count("lost")
        elif fault := take("callback_late"):
            self._agenda.after(fault.delay_s or _LATE_S, partial(self._enqueue, callback))
        elif take("callback_reordered"):
            self._hold(callback)
        else:
            callback.follower = callback.follower or self._held.pop(callback.account, None)
            await self._enqueue(callback)

    async def run(self) -> None:
        """Deliver what is queued, for ever."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._state.options.callback_concurrency):
                tasks.create_task(self._work())

    def _hold(self, callback: Callback) -> None:
        before = self._held.pop(callback.account, None)
        self._held[callback.account] = callback
        if before is not None:
            callback.follower = before
        self._agenda.after(_LATE_S, partial(self._release, callback))

    async def _release(self, callback: Callback) -> None:
        """Send what is still held back because no other callback came after it."""
        if self._held.get(callback.account) is callback:
            del self._held[callback.account]
            await self._enqueue(callback)

    async def _enqueue(self, callback: Callback) -> None:
        self._agenda.begun()
        await self._queue.put(callback)

    async def _work(self) -> None:
        async with Poster(self._state.options.callback_timeout_s) as poster:
            while True:
                callback = await self._queue.get()
                try:
                    await self._deliver(poster, callback)
                finally:
                    self._agenda.finished()

    async def _deliver(self, poster: Poster, callback: Callback) -> None:
        listener = self._state.part(ListenerBook).find(callback.account, callback.service)
        if listener is None:
            self._end(callback, "unaddressed")
            return
        while callback.copies > 0:
            callback.copies -= 1
            await self._post(poster, listener, callback, callback.body)
        if await self._post(poster, listener, callback, callback.body):
            self._end(callback, "acknowledged")
        else:
            self._try_again(callback)

    async def _post(self, poster: Poster, listener: RegisteredListener, callback: Callback, body: bytes) -> bool:
        """Send the callback once and say whether it was acknowledged."""
        self._count("sent")
        body, headers = self._seal(listener, callback, body)
        try:
            status = await poster.post(listener.url, body, headers)
        except PostFailed:
            return False
        return 200 <= status < 300  # noqa: PLR2004 the statuses that acknowledge

    def _seal(self, listener: RegisteredListener, callback: Callback, body: bytes) -> tuple[bytes, dict[str, str]]:
        """Return the bytes to send and their headers, signature included."""
        options = self._state.options
        take = partial(self._state.faults.take, device=callback.identifiers, account=callback.account)
        if take("body_cut"):
            body = body[: len(body) // 2]
        if take("signature_wrong"):
            listener = RegisteredListener(listener.url, f"not {listener.secret}")
        headers = {
            "Content-Type": "application/json",
            options.signature_header: listener.sign(body, options.signature_encoding),
        }
        if take("signature_missing"):
            del headers[options.signature_header]
        if fault := take("signature_garbage"):
            headers[options.signature_header] = str(fault.value or "no hexadecimal digits")
        if take("body_altered"):
            body = body.replace(b"1", b"2", 1)
        return body, headers

    def _try_again(self, callback: Callback) -> None:
        options = self._state.options
        callback.tries += 1
        if callback.tries >= options.callback_tries:
            self._end(callback, "given_up")
            return
        self._count("retried")
        self._agenda.after(options.callback_retry_interval_s, partial(self._enqueue, callback))

    def _end(self, callback: Callback, outcome: str) -> None:
        self._count(outcome)
        if callback.follower is not None:
            # By way of the agenda, for a worker that waited for room in its own queue could wait for ever.
            self._agenda.after(0, partial(self._enqueue, callback.follower))

    def _count(self, what: str) -> None:
        self._state.counters.add(f"thingspace.callbacks.{what}")
