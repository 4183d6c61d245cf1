"""A token that all requests and all replicas share: obtained once, renewed once, given up after two rejections.

Everybody looks into memory first, then into the vault; only who holds the vault's lock, and still finds nothing
usable there, asks ThingSpace. ThingSpace locks a login after five rejections in a row (reference, section 2.2),
so they are counted where all replicas see them, under a name that new credentials change.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

import msgspec
import structlog

from app.errors import GatewayError, ProviderError, ProviderMisconfigured, ProviderUnavailable, Unavailable
from app.model import Deadline
from app.provider import Slot, Vault
from app.providers.thingspace.settings import NAME
from app.providers.thingspace.token_state import Ask, Record, Rejection, to_pause_s, to_place, to_record, to_use_s
from app.upstream import within

REJECTIONS_ALLOWED = 2
REQUEST_LIMIT_S = 30.0
_PATIENCE_S = 1.0
_SAVE_USE_AFTER_S = 300.0

log = structlog.get_logger(__name__)


class SharedToken:
    """One token, its renewal, and the count of rejections."""

    def __init__(
        self,
        name: str,
        *,
        vault: Vault,
        credentials: bytes,
        ask: Ask,
        idle_limit_s: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Share the token that `ask` obtains with `credentials`; other errors of `ask` are no rejections."""
        self.name = name
        self._vault = vault
        self._credentials = credentials
        self._ask = ask
        self._idle_limit_s = idle_limit_s
        self._clock = clock
        self._record = Record()
        self._saved_use_at = 0.0
        self._unsaved_rejections = 0
        self._flight: asyncio.Task[str] | None = None
        self._saving: asyncio.Task[None] | None = None
        self._place = ""

    @property
    def paused(self) -> bool:
        """Whether the credentials were rejected so often that they are not tried again."""
        return max(self._record.rejected, self._unsaved_rejections) >= REJECTIONS_ALLOWED

    @property
    def cooldown_s(self) -> float:
        """How long no request is made, after failures."""
        return self._record.cooldown_s(self._clock())

    @property
    def age_s(self) -> float | None:
        """How long ago the token was obtained; None without one."""
        return max(0.0, self._clock() - self._record.obtained_at) if self._record.token else None

    def usable(self, failed: str | None = None) -> str | None:
        """Return the token from memory, if it is still good and not the one that just failed."""
        return self._usable(self._record, failed)

    def _usable(self, record: Record, failed: str | None) -> str | None:
        now = self._clock()
        if record.token is None or record.token == failed:
            return None
        if record.expires_at is not None and now >= record.expires_at:
            return None
        if self._idle_limit_s is not None and now - record.used_at >= self._idle_limit_s:
            return None
        return record.token

    async def get(self, deadline: Deadline, *, failed: str | None = None) -> str:
        """Return a usable token, obtaining one if need be; `failed` is one that ThingSpace no longer accepts.

        Raises:
            ProviderMisconfigured: The credentials are rejected, or paused after two rejections.
            ProviderError: No token could be obtained.
            Unavailable: A token is needed and the vault cannot be reached.
        """
        if (token := self.usable(failed)) is not None:
            return token
        # A renewal that was under way may not have known of the failure, and bring back what failed; one more is
        # tried then. No more: within its hour ThingSpace hands out the same bearer again and again.
        flight, is_ours = self._renewal(failed)
        async with _not_sent(), within(deadline, NAME):
            token = await asyncio.shield(flight)
            if token == failed and not is_ours:
                flight, _ = self._renewal(failed)
                token = await asyncio.shield(flight)
        return token

    def _renewal(self, failed: str | None) -> tuple[asyncio.Task[str], bool]:
        """Join the renewal under way, or start one; return which."""
        if self._flight is not None and not self._flight.done():
            return self._flight, False
        self._flight = asyncio.create_task(self._renew(failed))
        self._flight.add_done_callback(_observe)
        return self._flight, True

    def accepted(self) -> None:
        """Note that ThingSpace has just accepted the token, and inform the other replicas now and then."""
        now = self._record.used_at = self._clock()
        if self._idle_limit_s is not None and now - self._saved_use_at > _SAVE_USE_AFTER_S:
            self._saved_use_at = now
            self._saving = asyncio.create_task(self._save_use())

    async def reset(self) -> None:
        """Forget rejections and cool-downs, for all replicas."""
        async with self._locked() as slot:
            record = to_record(slot.value)
            record.rejected = record.failures = 0
            record.not_before = 0.0
            await slot.put(msgspec.json.encode(record))
        self._unsaved_rejections = 0
        if self._record.token is None:
            self._record = record
        self._record.rejected = self._record.failures = 0
        self._record.not_before = 0.0

    async def aclose(self) -> None:
        """End what is under way in the background."""
        for task in (self._flight, self._saving):
            if task is not None and not task.done():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, GatewayError):
                    await task

    async def _renew(self, failed: str | None) -> str:
        stored = await self._vault.read(NAME, await self._named(), sealed_with=self._credentials)
        if token := self._adopt(to_record(stored), failed):
            return token
        await asyncio.sleep(self.cooldown_s)
        refusal: ProviderError | None = None
        try:
            async with self._locked() as slot:
                record = to_record(slot.value)
                if token := self._adopt(record, failed):
                    return token
                # Raised only after the lock is released: an error inside could undo what was put.
                refusal = await self._ask_once(record, failed)
                await slot.put(msgspec.json.encode(record))
        except Unavailable:
            # What was learned just now holds here, even if the others cannot be informed.
            if refusal is None and (token := self.usable(failed)) is None:
                raise
            self._unsaved_rejections = self._record.rejected
        if refusal is not None:
            raise refusal
        return self._record.token or ""

    def _adopt(self, record: Record, failed: str | None) -> str | None:
        """Take over what the vault holds, if it can be used."""
        token = self._usable(record, failed)
        if token is None:
            record.rejected = max(record.rejected, self._unsaved_rejections)
            if record.rejected >= REJECTIONS_ALLOWED:
                self._record.rejected = record.rejected
                raise ProviderMisconfigured(
                    "ThingSpace rejected the credentials twice; they are not tried again before they are changed "
                    "or an operator resets the provider.",
                    provider=NAME,
                )
            self._record.rejected = record.rejected
            self._record.failed_at, self._record.not_before = record.failed_at, record.not_before
            if self.cooldown_s > _PATIENCE_S:
                raise ProviderUnavailable(
                    "ThingSpace could not be asked for a token a moment ago.",
                    provider=NAME,
                    retry_after_s=self.cooldown_s,
                )
            return None
        self._record = record
        self._saved_use_at = record.used_at
        return token

    async def _ask_once(self, record: Record, failed: str | None) -> ProviderError | None:
        """Ask ThingSpace for a token and record the outcome; return the error, if any."""
        self._record = record
        if wait_s := record.drop(failed, self._clock()):
            log.error("fresh_tokens_refused", provider=NAME, token=self.name)
            return ProviderUnavailable(
                "ThingSpace refuses the tokens that it has just issued; no other one is requested at the moment.",
                provider=NAME,
                retry_after_s=wait_s,
            )
        try:
            granted = await self._ask(Deadline.after(REQUEST_LIMIT_S))
        except ProviderError as error:
            record.failures += 1
            record.failed_at = self._clock()
            record.not_before = record.failed_at + to_pause_s(error, record.failures)
            return error
        if isinstance(granted, Rejection):
            record.rejected += granted.times
            log.error("credentials_rejected", provider=NAME, token=self.name, times=record.rejected)
            return granted.error
        now = self._clock()
        record.token = granted.token
        record.obtained_at = record.used_at = self._saved_use_at = now
        record.expires_at = None if granted.lasts_s is None else now + to_use_s(granted.lasts_s)
        record.rejected = record.failures = self._unsaved_rejections = 0
        record.not_before = 0.0
        return None

    async def _save_use(self) -> None:
        with contextlib.suppress(GatewayError):
            async with self._locked() as slot:
                record = to_record(slot.value)
                if record.token == self._record.token:
                    record.used_at = max(record.used_at, self._record.used_at)
                    await slot.put(msgspec.json.encode(record))

    @contextlib.asynccontextmanager
    async def _locked(self) -> AsyncIterator[Slot]:
        async with self._vault.locked(NAME, await self._named(), sealed_with=self._credentials) as slot:
            yield slot

    async def _named(self) -> str:
        if not self._place:
            self._place = await asyncio.to_thread(to_place, self.name, self._credentials)
        return self._place


def _observe(flight: asyncio.Task[str]) -> None:
    # If all callers have left, the exception has to be retrieved here.
    if not flight.cancelled():
        flight.exception()


@contextlib.asynccontextmanager
async def _not_sent() -> AsyncIterator[None]:
    """Mark errors raised inside the block: the call itself was never sent."""
    try:
        yield
    except ProviderError as error:
        error.may_have_been_received = False
        raise
