"""What the routes work with: one object, made in `wiring`, found through the application."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from starlette.requests import ClientDisconnect, Request

from app.access import AuditLog, AuditTrail, Authenticator, KeyStore, RateLimits
from app.api.access import Access, check_scope
from app.api.event_stream import MOST_FOLLOWERS, MOST_FOLLOWERS_PER_KEY
from app.api.report_streams import MOST_STREAMS, MOST_STREAMS_PER_KEY
from app.api.stream_slots import StreamSlots
from app.api.webhook import Webhook
from app.callbacks.archive import CallbackArchive
from app.callbacks.replay import Replay
from app.callbacks.tokens import CallbackTokens
from app.devices import DeviceReader, Erase, Tracks
from app.events import EventHub, EventReader
from app.health import Gauges, Readiness
from app.listeners import ListenerRegistry, ListenerTest
from app.locate import Locate
from app.observability.tracing import Recorder
from app.periodic import Periodic
from app.provider import Provider
from app.provider_events import ProviderEvents
from app.reports import PositionReader, ReportReader
from app.settings import Settings
from app.subscriptions import Subscriptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """The wired gateway, as long as the application runs."""

    settings: Settings
    providers: Sequence[Provider]
    locate: Locate
    periodic: Periodic
    access: Access
    authenticator: Authenticator
    rate_limits: RateLimits
    keys: KeyStore
    audit: AuditLog
    audit_trail: AuditTrail
    reports: ReportReader
    positions: PositionReader
    devices: DeviceReader
    events: EventReader
    event_hub: EventHub
    tracks: Tracks
    callbacks: CallbackArchive
    replay: Replay
    tokens: CallbackTokens
    listeners: ListenerRegistry
    listener_test: ListenerTest
    erase: Erase
    gauges: Gauges
    readiness: Readiness
    provider_events: ProviderEvents
    subscriptions: Subscriptions
    webhook: Webhook
    recorder: Recorder | None = None
    streams: StreamSlots = field(
        default_factory=lambda: StreamSlots("exports", per_key=MOST_STREAMS_PER_KEY, in_all=MOST_STREAMS)
    )
    event_streams: StreamSlots = field(
        default_factory=lambda: StreamSlots("event streams", per_key=MOST_FOLLOWERS_PER_KEY, in_all=MOST_FOLLOWERS)
    )


def gateway_of(request: Request) -> Gateway:
    """Find the gateway that serves a request."""
    gateway: Gateway = request.app.state.gateway
    return gateway


async def check_still_permitted(request: Request) -> None:
    """Check again, during long work, that the caller's key permits it.

    Raises:
        Unauthenticated, PermissionDenied: It does not, or not any more.
    """
    caller = await gateway_of(request).access.caller(request.headers.get("authorization"))
    check_scope(caller, request.method, request.url.path)


async def check_still_asked(request: Request) -> None:
    """Check, during long work, that the client still waits and that its key still permits it.

    Raises:
        ClientDisconnect: The client has closed the connection.
        Unauthenticated, PermissionDenied: Its key does not permit it any more.
    """
    if await request.is_disconnected():
        raise ClientDisconnect
    await check_still_permitted(request)


def request_id_of(request: Request) -> str:
    """Find the id of a request, the caller's or ours."""
    request_id: str = request.scope["request_id"]
    return request_id
