"""`create_app` makes the application: the routes, the middleware around them, and its lifespan (see `wiring`)."""

import gc
import operator
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from importlib.metadata import version

import httpx
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api import examples, openapi
from app.api.error_handlers import add_error_handlers
from app.api.layers import Compression, with_cors
from app.api.middleware import Middleware, canonical_path, direct_routes
from app.api.routes import (
    audit,
    callbacks,
    devices,
    docs,
    erasure,
    events,
    keys,
    listeners,
    locate,
    operations,
    periodic,
    positions,
    reports,
    subscriptions,
    tracks,
)
from app.api.routes.map import add_map
from app.api.webhook import Webhook
from app.observability import logs
from app.observability.tracing import CURRENT, Recorder, exporting
from app.provider import ProviderModule
from app.registry import PROVIDERS
from app.settings import Settings
from app.wiring import open_gateway, open_storage

DESCRIPTION = """
Asks one question, *where is this device?*, of two location services: **u-blox CloudLocate** works from the device's own
measurements, **Verizon ThingSpace** from its identifiers.

To see where the devices are, open the [map](map).

To try it, go to [/docs](docs), press **Authorize**, enter your API key, open `POST /locate`, choose an example and
press **Execute**. Errors are RFC 9457 problem documents: `code` is stable, `retryable` states whether the same request
may succeed later, and `errors` points at the fields to change.
"""

ROUTERS = (
    locate.router,
    periodic.router,
    reports.router,
    positions.router,
    devices.router,
    events.router,
    tracks.router,
    callbacks.router,
    listeners.router,
    operations.router,
    erasure.router,
    keys.router,
    audit.router,
    subscriptions.router,
)

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


class GatewayApp(FastAPI):
    """The application, with the webhook and the middleware before the framework's own layers."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        scope["app"] = self
        scope["path"] = canonical_path(scope["path"])
        middleware: ASGIApp = self.state.middleware
        webhook = self.webhook
        await (webhook if webhook.is_callback(scope) else middleware)(scope, receive, send)

    @property
    def webhook(self) -> Webhook:
        """What answers callbacks; the server hands most of them over itself."""
        webhook: Webhook = self.state.gateway.webhook
        return webhook

    def stop_being_ready(self) -> None:
        """Let `/readyz` answer 503 from now on, because the server is about to stop."""
        self.state.gateway.readiness.stop()

    def end_streams(self) -> None:
        """End the answers that would go on for good."""
        self.state.gateway.event_hub.stop()


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
        contact=openapi.CONTACT,
        license_info=openapi.LICENCE,
        openapi_tags=openapi.TAGS,
        servers=openapi.SERVERS,
        generate_unique_id_function=operator.attrgetter("name"),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=examples.problems(*examples.SERVER),
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
    )
    for router in ROUTERS:
        app.include_router(router)
    routes = [context.original_route for router in ROUTERS for context in iter_route_contexts(router.routes)]
    openapi.add_document(app, routes)
    docs.add_docs(app)
    add_map(app, settings.map_style_url)
    add_error_handlers(app, routes)
    middleware = Middleware(Compression(partial(FastAPI.__call__, app)), direct_routes(ROUTERS))
    app.state.middleware = with_cors(middleware, settings.allowed_origins)
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
            app.state.storage = await open_storage(settings, stack, recorder)
            app.state.gateway = await open_gateway(
                settings, providers, app.state.storage, stack, transport=transport, recorder=recorder
            )
            # What exists now lives as long as the process; the collector need not look at it again and again.
            gc.collect()
            gc.freeze()
            gc.set_threshold(50_000, 20, 100)
            yield

    return lifespan
