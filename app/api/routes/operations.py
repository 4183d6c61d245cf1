"""Health, readiness, metrics, and the state of the providers; none of them ever calls a provider."""

from typing import Annotated

from fastapi import APIRouter, Path
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from app.api import examples
from app.api.access import caller_of
from app.api.gateway import gateway_of
from app.api.rendering import instant, json_response
from app.api.schemas import operations as schemas
from app.errors import InvalidArgument, NotFound, Unavailable
from app.listeners import Listener
from app.observability.metrics import exposition
from app.provider import Provider

router = APIRouter(tags=["operations"])


@router.get("/healthz", summary="Liveness", response_description="The process is up")
async def healthz() -> schemas.HealthAnswer:
    """Succeeds while the process serves requests."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    summary="Readiness",
    response_model=schemas.ReadinessAnswer,
    responses=examples.problems(Unavailable),
)
async def readyz(request: Request) -> Response:
    """Succeeds if the database can be reached, takes changes and is migrated, and the process is not stopping.

    A stopping process is not ready while it still serves, so that load balancers take it out.
    """
    await gateway_of(request).readiness.check()
    return json_response({"status": "ready"})


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    response_class=Response,
    response_description="The metrics",
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **examples.problems(*examples.ACCESS)},
)
async def metrics(request: Request) -> Response:
    """Return all metrics in the Prometheus text format.

    They cover all processes of this server (`GATEWAY_WORKERS`), and some are read from the database.
    """
    await gateway_of(request).gauges.measure()
    return Response(exposition(), media_type=CONTENT_TYPE_LATEST)


@router.get("/providers", summary="State of the providers", responses=examples.problems(*examples.ACCESS))
async def list_providers(request: Request) -> schemas.ProvidersAnswer:
    """Show the state of each provider: configuration, health, abilities and listeners.

    `listeners` is null while the database cannot be reached; a restricted key is shown those of its accounts.
    """
    gateway, reach = gateway_of(request), caller_of(request).reach
    try:
        listeners: list[Listener] | None = [
            one for one in await gateway.listeners.every() if reach.has_whole_account(one.account)
        ]
    except Unavailable:
        listeners = None
    return {
        "providers": [
            {**to_state(provider), "listeners": _to_checks(provider, listeners)} for provider in gateway.providers
        ]
    }


def _to_checks(provider: Provider, listeners: list[Listener] | None) -> list[schemas.ProviderListenerAnswer] | None:
    """Write what the last check of each of a provider's listeners found."""
    if listeners is None:
        return None
    return [
        {
            "account": one.account,
            "service": one.service,
            "checkedAt": instant(one.checked_at) if one.checked_at else None,
            "problem": one.problem,
        }
        for one in listeners
        if one.provider == provider.name
    ]


@router.post(
    "/providers/{name}/reset",
    summary="Reset a paused provider",
    responses=examples.problems(*examples.ACCESS, NotFound, InvalidArgument),
)
async def reset_provider(
    name: Annotated[str, Path(max_length=64, description="the provider's name, as in `GET /providers`")],
    request: Request,
) -> schemas.ProviderStateAnswer:
    """Forget rejected logins and cool-downs, after their cause has been fixed."""
    for provider in gateway_of(request).providers:
        if provider.name == name:
            await provider.reset()
            return to_state(provider)
    raise NotFound("There is no such provider; see /providers.")


def to_state(provider: Provider) -> schemas.ProviderStateAnswer:
    """Write a provider's state."""
    health = provider.health()
    return {
        "name": provider.name,
        "configured": provider.configured,
        "state": health.state,
        "abilities": [
            ability for ability in ("locator", "tracker", "callbacks", "listeners") if getattr(provider, ability)
        ],
        "cooldownSeconds": health.cooldown_s,
        "tokenAgeSeconds": health.token_age_s,
        "lastError": health.last_error,
        "lastErrorAt": instant(health.last_error_at) if health.last_error_at else None,
        "notes": list(health.notes),
    }
