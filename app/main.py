"""`create_app` wires the gateway; nowhere else are its parts put together."""

import contextlib
import gc
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version

import asyncpg
import httpx
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from app.access import Authenticator, KeyStore, RateLimits
from app.api.access import Access
from app.api.error_handlers import add_error_handlers
from app.api.gateway import Gateway
from app.api.gauges import Gauges
from app.api.middleware import Middleware, direct_routes
from app.api.paths import canonical_path
from app.api.routes import audit, callbacks, docs, erasure, keys, listeners, locate, operations, periodic, reports
from app.api.webhook import Webhook
from app.callbacks.ingest import Ingest
from app.callbacks.replay import Replay
from app.callbacks.tokens import CallbackTokens
from app.devices.erase import Erase
from app.embedded_postgres import EmbeddedPostgres
from app.listeners import ListenerRegistry, ListenerTest
from app.locate import Locate
from app.observability import logs, metrics
from app.observability.tracing import CURRENT, Recorder, exporting
from app.periodic import Periodic
from app.provider import ProviderModule
from app.registry import PROVIDERS
from app.settings import Settings
from app.storage import partitions, retention
from app.storage.database import AWAY, Database
from app.storage.journal import Journal
from app.storage.migrate import upgrade
from app.storage.seal import Seal
from app.storage.vault import DatabaseVault
from app.storage.writer import Writer
from app.upstream import guarded
from app.worker import Job, running

DESCRIPTION = """
One question, *where is this device?*, and one answer, whoever can give it: **u-blox CloudLocate** from the device's own
measurements, **Verizon ThingSpace** from its identifiers.

To try it, go to [/docs](docs), press **Authorize**, enter your API key, open `POST /locate`, choose an example and
press **Execute**. Errors are RFC 9457 problems: `code` is stable, `retryable` says whether the same request may succeed
later, `errors` points at the fields to change.
"""

ROUTERS = (
    locate.router,
    periodic.router,
    reports.router,
    callbacks.router,
    listeners.router,
    operations.router,
    erasure.router,
    keys.router,
    audit.router,
)

_RETENTION_EVERY_S = 300
_FOLLOW_KEYS_EVERY_S = 0.2

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


class GatewayApp(FastAPI):
    """The application, with the door for callbacks and the front before the framework's own layers."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        scope["app"] = self
        scope["path"] = canonical_path(scope["path"])
        front: Middleware = self.state.front
        door = self.webhook
        await (door if door.opens(scope) else front)(scope, receive, send)

    @property
    def webhook(self) -> Webhook:
        """Where callbacks come in, for a server that brings them there itself."""
        door: Webhook = self.state.gateway.webhook
        return door

    def stop_being_ready(self) -> None:
        """Let `/readyz` say from now on that no new work should be sent here, because the server is about to stop."""
        self.state.gateway.stopping.set()


def create_app(
    settings: Settings | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    *,
    providers: Sequence[ProviderModule] = PROVIDERS,
    recorder: Recorder | None = None,
) -> FastAPI:
    """Make the application; everything is connected when its lifespan begins, and closed when it ends.

    Args:
        settings: Default: from the environment.
        transport: Replaces the network towards all providers.
        providers: The providers' folders, in the order of preference.
        recorder: Records traces; default: where the environment names an endpoint, one that exports to it.
    """
    settings = settings or Settings()
    app = GatewayApp(
        title="Location gateway",
        description=DESCRIPTION,
        version=version("location-gateway"),
        lifespan=_lifespan(settings, transport, providers, recorder),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
    )
    for router in ROUTERS:
        app.include_router(router)
    docs.add_docs(app)
    add_error_handlers(app, [route for router in ROUTERS for route in router.routes])
    app.state.front = Middleware(partial(FastAPI.__call__, app), direct_routes(ROUTERS))
    return app


def _lifespan(
    settings: Settings,
    transport: httpx.AsyncBaseTransport | None,
    providers: Sequence[ProviderModule],
    given: Recorder | None,
) -> Lifespan:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        logs.configure_logs(settings)
        async with AsyncExitStack() as stack:
            recorder = given or await stack.enter_async_context(exporting())
            # The background tasks, which begin from here, take it with them.
            CURRENT.set(recorder.background() if recorder else None)
            stack.callback(CURRENT.set, None)
            app.state.gateway = await _open(settings, transport, providers, stack, recorder)
            # What exists now lives as long as the process; the collector need not look at it again and again.
            gc.collect()
            gc.freeze()
            gc.set_threshold(50_000, 20, 100)
            yield

    return lifespan


async def _open(
    settings: Settings,
    transport: httpx.AsyncBaseTransport | None,
    modules: Sequence[ProviderModule],
    stack: AsyncExitStack,
    recorder: Recorder | None,
) -> Gateway:
    database = Database(await _database_url(settings, stack), pool_size=settings.database_pool)
    stack.push_async_callback(database.aclose)
    seal = Seal(settings.encryption_key.get_secret_value() if settings.encryption_key else None)
    built = [module.build(transport, vault=DatabaseVault(database, seal)) for module in modules]
    for provider in built:
        stack.push_async_callback(provider.aclose)
    if settings.cooldown_after:
        built = [
            guarded(provider, after=settings.cooldown_after, cooldown_s=settings.cooldown_seconds) for provider in built
        ]
    writer = await stack.enter_async_context(
        Writer(database.connect, bound=settings.callback_queue, recorder=recorder).running()
    )
    locate = Locate(built, database, writer, recent_s=settings.recent_seconds, reuse_s=settings.reuse_seconds)
    periodic = await stack.enter_async_context(Periodic(built, database, writer, settings).running())
    writer.unclaimed = periodic.claim
    with contextlib.suppress(*AWAY, asyncpg.UndefinedTableError):
        await _keep_partitions(database)
    addresses = CallbackTokens(built, database, seal)
    registering = ListenerRegistry(built, database, seal, addresses, public_url=settings.public_url)
    ring = Authenticator(database, settings.api_key.get_secret_value() if settings.api_key else None)
    limiting = RateLimits(database)
    jobs = [
        *periodic.jobs(),
        Job(name="API keys", every_s=_FOLLOW_KEYS_EVERY_S, run=ring.follow),
        Job(name="daily budgets", every_s=3600, run=limiting.forget_old),
        Job(name="partitions", every_s=3600, run=lambda: _keep_partitions(database)),
        Job(name="retention", every_s=_RETENTION_EVERY_S, run=lambda: retention.run(database, settings.retention())),
        Job(name="callback addresses", every_s=10, run=addresses.refresh),
        Job(name="listener check", every_s=30, run=registering.check),
    ]
    measuring = Gauges(database, built)
    if metrics.SHARED_FOLDER in os.environ:
        jobs.append(Job(name="gauges", every_s=5, run=measuring.measure_process))
    await stack.enter_async_context(running(jobs))
    return Gateway(
        settings=settings,
        providers=built,
        database=database,
        writer=writer,
        locate=locate,
        periodic=periodic,
        access=Access(settings, ring),
        limiting=limiting,
        keys=KeyStore(database, ring.forget),
        journal=Journal(writer),
        replay=Replay(database, writer, addresses),
        registering=registering,
        trying=ListenerTest(built, database, addresses, registering),
        erase=Erase(database, writer, periodic, locate),
        measuring=measuring,
        webhook=Webhook(
            Ingest(writer),
            addresses,
            [provider.name for provider in built if provider.callbacks],
            limit=settings.callback_max_body_bytes,
            recorder=recorder,
        ),
        recorder=recorder,
    )


async def _database_url(settings: Settings, stack: AsyncExitStack) -> str:
    """Find the configured database, or start the embedded one, migrated and watched over."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    server = await stack.enter_async_context(EmbeddedPostgres(settings.data_dir, bin_dir=settings.postgres_bin))
    await upgrade(server.url)
    await stack.enter_async_context(server.watched())
    return server.url


async def _keep_partitions(database: Database) -> None:
    connection = await database.connect()
    try:
        await partitions.keep_ready(connection, datetime.now(UTC))
    finally:
        await connection.close()
