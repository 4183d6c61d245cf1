"""Where the gateway's parts are connected: the database, then the providers, the use cases, and the background jobs.

Every part gets what it needs when it is made; what has to be closed is left to the exit stack, in reverse order.
"""

import contextlib
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import httpx
from pydantic import SecretStr

from app.access import AuditLog, AuditTrail, Authenticator, KeyStore, RateLimits
from app.api.access import Access
from app.api.cloud_events import CloudEvents
from app.api.gateway import Gateway
from app.api.periodic_rendering import to_session
from app.api.routes import listeners as listener_routes
from app.api.routes import operations as operation_routes
from app.api.webhook import Webhook
from app.callbacks.archive import CallbackArchive
from app.callbacks.ingest import Ingest
from app.callbacks.replay import Replay
from app.callbacks.tokens import CallbackTokens
from app.devices import DeviceReader, Erase, Tracks
from app.embedded_postgres import EmbeddedPostgres
from app.errors import Unavailable
from app.events import Announcer, EventHub, EventReader
from app.health import Gauges, Readiness
from app.listeners import ListenerRegistry, ListenerTest, ListenerUrls
from app.locate import Locate
from app.model import ProviderName
from app.observability import metrics
from app.observability.tracing import Recorder
from app.periodic import Periodic, UnclaimedTransactions
from app.provider import Provider, ProviderModule
from app.provider_events import ProviderEvents
from app.reports import PositionReader, ReportReader
from app.settings import Settings
from app.storage import partition_merges, partitions, retention
from app.storage.database import Database
from app.storage.events import CHANNEL as EVENTS_CHANNEL
from app.storage.migrate import upgrade
from app.storage.seal import Seal
from app.storage.vault import DatabaseVault
from app.storage.writer import Writer
from app.subscriber import HttpReceiver
from app.subscriptions import (
    DeliveryRules,
    Leases,
    SubscribedEvents,
    SubscriptionRegistry,
    Subscriptions,
    SubscriptionTest,
)
from app.upstream import guarded
from app.worker import Job, running

_RETENTION_EVERY_S = 300
_MERGE_EVERY_S = 900
_FOLLOW_KEYS_EVERY_S = 0.2
_WATCH_PRIMARY_EVERY_S = 0.2
_COMPARE_CLOCKS_EVERY_S = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """The database, and what stores into it; routes do not see it.

    Attributes:
        unclaimed: Where the writer notes transactions that belong to no known session.
        announcer: Where the writer notes that there are new events.
    """

    database: Database
    writer: Writer
    seal: Seal
    unclaimed: UnclaimedTransactions
    announcer: Announcer


async def open_gateway(
    settings: Settings,
    modules: Sequence[ProviderModule],
    storage: Storage,
    stack: AsyncExitStack,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    recorder: Recorder | None = None,
) -> Gateway:
    """Connect everything with the storage; the exit stack closes it.

    Args:
        modules: The providers' folders, in the order of preference.
        transport: Replaces the network towards all providers.
        recorder: Makes the spans; None where nothing is traced.
    """
    providers = build_providers(settings, modules, storage, stack, transport)
    gateway = await build_use_cases(settings, providers, storage, stack, recorder)
    await start_jobs(gateway, storage.database, stack)
    return gateway


async def open_storage(settings: Settings, stack: AsyncExitStack, recorder: Recorder | None) -> Storage:
    """Open the configured database, or start the embedded one, and start the writer."""
    database = Database(
        await _database_url(settings, stack),
        direct_url=_secret(settings.database_direct_url),
        read_url=_secret(settings.database_read_url),
        pool_size=settings.database_pool,
    )
    stack.push_async_callback(database.aclose)
    with contextlib.suppress(Unavailable):
        await database.compare_clocks()
    unclaimed = UnclaimedTransactions()
    announcer = await stack.enter_async_context(Announcer(database).running())
    writer = Writer(
        database.connect,
        pending=database.pending,
        unclaimed=unclaimed.note,
        stored=announcer.note,
        bound=settings.callback_queue,
        recorder=recorder,
    )
    await stack.enter_async_context(writer.running())
    with contextlib.suppress(Unavailable):
        await partitions.keep(database)
    seal = Seal(_secret(settings.encryption_key))
    return Storage(database=database, writer=writer, seal=seal, unclaimed=unclaimed, announcer=announcer)


def build_providers(
    settings: Settings,
    modules: Sequence[ProviderModule],
    storage: Storage,
    stack: AsyncExitStack,
    transport: httpx.AsyncBaseTransport | None,
) -> list[Provider]:
    """Build the providers, each behind a circuit breaker unless that is turned off."""
    built = [module.build(transport, vault=DatabaseVault(storage.database, storage.seal)) for module in modules]
    for provider in built:
        stack.push_async_callback(provider.aclose)
    after, cooldown_s = settings.cooldown_after, settings.cooldown_seconds
    return [guarded(provider, after=after, cooldown_s=cooldown_s) for provider in built] if after else built


async def build_use_cases(
    settings: Settings,
    providers: Sequence[Provider],
    storage: Storage,
    stack: AsyncExitStack,
    recorder: Recorder | None,
) -> Gateway:
    """Build what the routes call."""
    database, writer = storage.database, storage.writer
    audit = AuditLog(writer)
    locate, periodic = await build_locating(settings, providers, storage, stack)
    tokens = CallbackTokens(providers, database, storage.seal)
    urls = ListenerUrls(public=settings.public_url, allowed=settings.listener_urls)
    registry = ListenerRegistry(providers, database, storage.seal, tokens, urls=urls, describe=listener_routes.to_json)
    events = CloudEvents(settings.address)
    hub = EventHub(database, events.render, storage.announcer)
    await stack.enter_async_context(hub.running())
    subscribed = await build_subscriptions(settings, storage, events, audit, stack)
    authenticator = build_authenticator(settings, database, hub, subscribed)
    posting = [provider.name for provider in providers if provider.callbacks]
    return Gateway(
        settings=settings,
        providers=providers,
        locate=locate,
        periodic=periodic,
        access=Access(settings, authenticator, posting),
        authenticator=authenticator,
        rate_limits=RateLimits(database),
        keys=KeyStore(database, authenticator.forget),
        audit=audit,
        audit_trail=AuditTrail(database),
        reports=ReportReader(database, audit),
        positions=PositionReader(database, audit),
        devices=DeviceReader(database, audit, periodic.clock),
        events=EventReader(database, audit, hub),
        event_hub=hub,
        tracks=Tracks(database),
        callbacks=CallbackArchive(database, audit, tokens),
        replay=Replay(database, writer, tokens),
        tokens=tokens,
        listeners=registry,
        listener_test=ListenerTest(providers, database, tokens, registry, urls=urls),
        erase=Erase(database, writer, periodic, locate),
        gauges=Gauges(database, providers, periodic.clock),
        readiness=Readiness(database, writer),
        provider_events=ProviderEvents(database, providers, operation_routes.to_state),
        subscriptions=subscribed,
        webhook=build_webhook(settings, storage, tokens, posting, recorder),
        recorder=recorder,
    )


async def build_locating(
    settings: Settings, providers: Sequence[Provider], storage: Storage, stack: AsyncExitStack
) -> tuple[Locate, Periodic]:
    """Build what asks the providers, now and periodically."""
    database, writer = storage.database, storage.writer
    locate = Locate(
        providers,
        database,
        writer,
        recent_s=settings.recent_seconds,
        reuse_s=settings.reuse_seconds,
        late_s=settings.late_answer_seconds,
    )
    await stack.enter_async_context(locate.running())
    periodic = Periodic(providers, database, writer, settings, unclaimed=storage.unclaimed, describe=to_session)
    await stack.enter_async_context(periodic.running())
    return locate, periodic


def build_authenticator(
    settings: Settings, database: Database, hub: EventHub, subscribed: Subscriptions
) -> Authenticator:
    """Build what knows the keys; events are announced on the same connection as changes of keys."""

    def learn_of_events() -> None:
        hub.announce()
        subscribed.leases.notify()

    return Authenticator(database, _secret(settings.api_key), channels={EVENTS_CHANNEL: learn_of_events})


def build_webhook(
    settings: Settings,
    storage: Storage,
    tokens: CallbackTokens,
    posting: list[ProviderName],
    recorder: Recorder | None,
) -> Webhook:
    """Build what answers callbacks of the providers that post them."""
    ingest = Ingest(storage.writer, storage.database.clock.now_ms)
    return Webhook(ingest, tokens, posting, limit=settings.callback_max_body_bytes, recorder=recorder)


async def build_subscriptions(
    settings: Settings, storage: Storage, events: CloudEvents, audit: AuditLog, stack: AsyncExitStack
) -> Subscriptions:
    """Build what makes subscriptions, and delivers to them."""
    database, rules = storage.database, DeliveryRules(allowed=settings.delivery_allow)
    receiver = HttpReceiver(rules)
    stack.push_async_callback(receiver.aclose)
    log = SubscribedEvents(database, events.render)
    registry = SubscriptionRegistry(database, storage.seal, log, rules)
    leases = Leases(database, log, receiver, registry.secrets)
    storage.announcer.tell(leases.notify)
    await stack.enter_async_context(leases.running())
    return Subscriptions(
        registry=registry, test=SubscriptionTest(database, audit, registry, receiver, settings.address), leases=leases
    )


async def start_jobs(gateway: Gateway, database: Database, stack: AsyncExitStack) -> None:
    """Start what every process does again and again; each job bears running in several processes."""
    settings = gateway.settings
    jobs = [
        *gateway.periodic.jobs(),
        *gateway.subscriptions.leases.jobs(),
        Job(name="API keys", every_s=_FOLLOW_KEYS_EVERY_S, run=gateway.authenticator.follow),
        *(Job(name="primary", every_s=_WATCH_PRIMARY_EVERY_S, run=watch.follow) for watch in database.watches),
        Job(name="clock", every_s=_COMPARE_CLOCKS_EVERY_S, run=database.compare_clocks),
        Job(name="daily budgets", every_s=3600, run=gateway.rate_limits.forget_old),
        Job(name="partitions", every_s=3600, run=lambda: partitions.keep(database)),
        Job(
            name="partition merges",
            every_s=_MERGE_EVERY_S,
            run=lambda: partition_merges.run(database, settings.retention()),
        ),
        Job(name="retention", every_s=_RETENTION_EVERY_S, run=lambda: retention.run(database, settings.retention())),
        Job(name="callback addresses", every_s=10, run=gateway.tokens.refresh),
        gateway.provider_events.job(),
        Job(name="listener check", every_s=30, run=gateway.listeners.check),
    ]
    if metrics.SHARED_FOLDER in os.environ:
        jobs.append(Job(name="gauges", every_s=5, run=gateway.gauges.measure_process))
    await stack.enter_async_context(running(jobs))


def _secret(setting: SecretStr | None) -> str | None:
    return setting.get_secret_value() if setting is not None else None


async def _database_url(settings: Settings, stack: AsyncExitStack) -> str:
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    server = await stack.enter_async_context(EmbeddedPostgres(settings.data_dir, bin_dir=settings.postgres_bin))
    await upgrade(server.url)
    await stack.enter_async_context(server.watched())
    return server.url
