"""What a provider can be asked; plain protocols, so that a new provider is one folder and one line."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal, Protocol

from app.errors import FieldError, GatewayError
from app.model import (
    AccountName,
    Deadline,
    Device,
    Headers,
    Located,
    LocationQuery,
    Mdn,
    PeriodicPlan,
    ProviderName,
    Registration,
    Report,
    SimpleFix,
    Source,
    TransactionId,
)

LocatesBy = Literal["measurements", "device"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStep:
    """One thing that a provider can be asked for.

    Attributes:
        name: Its `cache`, `cache_or_current`, a `current` fix, or to `solve` measurements.
        billed: Whether an answer is charged for; None where that shows only afterwards.
    """

    name: Literal["cache", "cache_or_current", "current", "solve"]
    billed: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """A locator's assessment of a query, before any call is made.

    Attributes:
        usable: Whether a call can lead to a position.
        reason: Why not, in words fit for the caller; empty when usable.
        hints: Parts that are left out, and what would improve the answer.
        errors: The fields for which it is not usable.
        missing_identifier: The query lacks an identifier that the alias book might supply (`id` or `mdn`).
        steps: What would be asked, in order, until one answer is good enough.
        sources: What the position could be worked out from.
    """

    usable: bool
    reason: str = ""
    hints: tuple[str, ...] = ()
    errors: tuple[FieldError, ...] = ()
    missing_identifier: Literal["id", "mdn"] | None = None
    steps: tuple[CallStep, ...] = ()
    sources: tuple[Source, ...] = ()


class Locator(Protocol):
    """Answers "where is this device?" in one exchange."""

    @property
    def locates_by(self) -> LocatesBy:
        """What it works from: the caller's measurements or the device's identifiers."""

    def assess(self, query: LocationQuery) -> Assessment:
        """Assess the query without any call.

        Raises:
            InvalidArgument: A part is malformed; `errors` points at it (`/measurements/...`).
        """

    async def locate(self, query: LocationQuery, *, request_id: str, deadline: Deadline) -> Located:
        """Ask the provider about an assessed, usable query.

        Raises:
            ProviderError: Any of the tree; `provider` is filled in.
        """

    async def locate_many(
        self, queries: Sequence[LocationQuery], *, request_id: str, deadline: Deadline
    ) -> list[Located | GatewayError]:
        """Ask about many usable queries, in as few calls as the provider allows; answers in the order asked.

        What fails for one of them, the gateway's own trouble included, is its answer: others may be paid for.
        """


class Tracker(Protocol):
    """Starts and stops periodic reporting."""

    @property
    def stop_limit(self) -> int:
        """How many devices one stop call takes."""

    async def start(self, plan: PeriodicPlan, *, deadline: Deadline) -> TransactionId:
        """Start periodic reports; sent at most once.

        Raises:
            OutcomeUnknown: The connection broke after the request was sent.
            ProviderError: The provider refused, or was never reached.
        """

    async def stop(
        self, account: AccountName, transaction_id: TransactionId, mdns: Sequence[Mdn], *, deadline: Deadline
    ) -> TransactionId:
        """Stop some devices of a transaction, at most `stop_limit`; safe to repeat. Returns the stop's own id.

        Raises:
            ProviderError: The provider refused or could not be reached.
        """


class Meter(Protocol):
    """Counts the billed fixes of a caller, before they are requested."""

    async def reserve(self, fixes: int) -> date:
        """Count fixes, all or none; return the day that they are counted on.

        Raises:
            BudgetExceeded: There are not so many left.
            Unavailable: They cannot be counted now, so they must not be asked for.
        """

    async def give_back(self, day: date, fixes: int) -> None:
        """Give back fixes that were certainly not billed; if that fails, they stay counted."""


class Reservation:
    """The fixes that a meter has counted for one call; none without a meter."""

    def __init__(self, counting: Meter | None = None, day: date | None = None, fixes: int = 0) -> None:
        self._counting = counting
        self._day = day
        self._left = fixes

    async def give_back(self, fixes: int) -> None:
        """Give back fixes that were certainly not billed, at most as many as were counted."""
        fixes = min(fixes, self._left)
        if self._counting is not None and self._day is not None and fixes:
            self._left -= fixes
            await self._counting.give_back(self._day, fixes)


_METER: ContextVar[Meter | None] = ContextVar("meter", default=None)


def meter() -> Meter | None:
    """Return the meter of the present caller; None if its fixes are not counted.

    A provider asks for it in the one place through which its billed calls go.
    """
    return _METER.get()


@contextmanager
def metered(by: Meter | None) -> Iterator[None]:
    """Have the billed fixes that are asked for in this block, and in tasks that it starts, counted."""
    token = _METER.set(by)
    try:
        yield
    finally:
        _METER.reset(token)


SignatureMode = Literal["off", "log", "enforce"]


class CallbackReader(Protocol):
    """Turns a provider's callbacks into reports, and knows how they are signed."""

    @property
    def signature_mode(self) -> SignatureMode:
        """What a missing or wrong signature leads to: nothing, a mark, or a refusal."""

    @property
    def fixed_token(self) -> str | None:
        """The callback token of a listener registered by hand, for the default account's first service."""

    @property
    def fixed_secret(self) -> str | None:
        """The secret of that listener, where it is known."""

    def read_simple_fix(self, body: bytes) -> SimpleFix | None:
        """Decode a callback that says of one device where it is, exactly as documented; None for any other.

        `read` makes the same report of it, in more time.
        """

    def read(self, body: bytes) -> list[Report]:
        """Decode one callback, leniently.

        Raises:
            MalformedJson: The body is no JSON object; it is quarantined as it is.
            UnexpectedReply: The body is a JSON object of which no report can be made; it is quarantined.
        """

    def is_authentic(self, body: bytes, headers: Headers, secret: str) -> bool | None:
        """Check the signature over the raw bytes in constant time; None when there is no signature at all."""

    def redacted(self, body: bytes) -> bytes:
        """Blot out credentials that the provider repeats in its messages; the rest stays as it is."""

    def sign(self, body: bytes, secret: str) -> Headers:
        """Make the headers that the provider would sign this body with."""

    def test_message(self, account: AccountName, transaction_id: TransactionId) -> bytes:
        """Make a harmless callback that is about no device, to try the way to our listener."""


class Listeners(Protocol):
    """Keeps our callback address registered at the provider."""

    @property
    def services(self) -> tuple[str, ...]:
        """The callback services that can be listened to; the first carries position reports."""

    async def register(self, account: AccountName, service: str, url: str, *, deadline: Deadline) -> Registration:
        """Register `url`; the reply's secret is in the returned registration and can't be asked for again."""

    async def registered(self, account: AccountName, *, deadline: Deadline) -> list[Registration]:
        """List what the provider has registered for an account."""

    async def remove(self, account: AccountName, service: str, *, deadline: Deadline) -> None:
        """Remove a registration; one that does not exist is removed already."""


class Directory(Protocol):
    """Knows the devices of an account, as the provider lists them."""

    async def find(self, account: AccountName, device: Device, *, deadline: Deadline) -> Device | None:
        """Find a device by the one identifier that is known, and complete it; None when it is not listed.

        Raises:
            ProviderError: The provider refused or could not be reached.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """A provider's state, as operators see it; no secrets.

    Attributes:
        state: `ready`; `not_configured`; `paused` (credentials rejected twice); `cooling_down`; `failing`.
        token_age_s: Age of the oldest token in use, in seconds; None without tokens.
        last_error: The code of the last failure.
        last_error_at: When that was.
        notes: Anything else an operator should read, in words.
    """

    state: Literal["ready", "not_configured", "paused", "cooling_down", "failing"]
    token_age_s: float | None = None
    cooldown_s: float | None = None
    last_error: str | None = None
    last_error_at: datetime | None = None
    notes: tuple[str, ...] = ()


async def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """The sum of a provider's abilities; None says it cannot.

    Attributes:
        configured: Whether its settings are complete enough to call it.
        key_material: What stored secrets are sealed with where the gateway has no key of its own: the credentials.
        default_account: The account used when a query names none; None where accounts mean nothing.
        assumed_confidence_pct: The level that the operator assumes for its circles, because it declares none itself.
        health: Tells its state without calling it.
        reset: Forgets rejected logins and cool-downs; an operator asks for it.
        aclose: Closes its connections.
    """

    name: ProviderName
    configured: bool
    locator: Locator | None = None
    tracker: Tracker | None = None
    callbacks: CallbackReader | None = None
    listeners: Listeners | None = None
    directory: Directory | None = None
    key_material: bytes = field(default=b"", repr=False)
    default_account: AccountName | None = None
    assumed_confidence_pct: int | None = None
    health: Callable[[], Health] = field(default=lambda: Health(state="ready"))
    reset: Callable[[], Awaitable[None]] = _nothing
    aclose: Callable[[], Awaitable[None]] = _nothing


class Slot(Protocol):
    """One locked place in a vault.

    Attributes:
        value: What is kept there now; None when empty or sealed with another key.
    """

    value: bytes | None

    async def put(self, value: bytes | None) -> None:
        """Replace the value; all replicas see it once the lock is released."""


class Vault(Protocol):
    """Keeps a provider's tokens and login counters where all replicas find them, sealed.

    Values are opaque bytes. Providers know this protocol; the table behind it is the gateway's business.
    """

    async def read(self, provider: ProviderName, name: str, *, sealed_with: bytes) -> bytes | None:
        """Read without locking; None when absent or sealed with another key."""

    def locked(self, provider: ProviderName, name: str, *, sealed_with: bytes) -> AbstractAsyncContextManager[Slot]:
        """Hold the place alone among all replicas while the block runs.

        `sealed_with` is used as key material when the gateway has no encryption key of its own: the provider's
        credentials, so that whoever can read the value could have obtained it anyway.

        Raises:
            Unavailable: The database cannot be reached.
        """


class ProviderModule(Protocol):
    """What a provider's folder offers: its settings, and how it is made from them."""

    @property
    def Settings(self) -> type[Any]:  # noqa: N802 -- the name of a class
        """The class of its settings, read from environment variables of its own."""

    def build(self, transport: object | None = None, *, vault: Vault | None = None) -> Provider:
        """Build the provider; `transport` is an `httpx.AsyncBaseTransport`, `vault` defaults to one of its own."""
