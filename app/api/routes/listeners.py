"""Our callback listeners at the providers: show, register, remove, test."""

from typing import Annotated, ClassVar

from fastapi import APIRouter, Path
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from app.access.permissions import check_sees_all_devices, check_whole_account
from app.api import examples
from app.api.access import actor_of, caller_of
from app.api.body import JsonRoute
from app.api.gateway import gateway_of
from app.api.rendering import instant, json_response
from app.api.schemas import identifiers
from app.api.schemas import operations as schemas
from app.api.schemas.base import Schema
from app.errors import InvalidArgument, NotFound
from app.listeners import Listener
from app.model import AccountName

router = APIRouter(tags=["listeners"])

Account = Annotated[identifiers.Account, Path(description="the provider's billing account")]
Service = Annotated[str, Path(max_length=64, description="`DeviceLocation` or `Location`")]


class ListenerRequest(Schema):
    """The address to register."""

    body_is_optional: ClassVar[bool] = True

    url: Annotated[
        str | None, Field(min_length=8, max_length=2000, description="default: built from GATEWAY_PUBLIC_URL")
    ] = None


@router.get(
    "/listeners",
    summary="List listeners",
    response_model=schemas.ListenersAnswer,
    responses=examples.problems(*examples.ACCESS),
)
async def list_listeners(request: Request) -> Response:
    """List our listeners, including the one fixed by the settings; secrets are never shown."""
    caller = caller_of(request)
    check_sees_all_devices(caller)
    listed = [one for one in await gateway_of(request).listeners.every() if caller.reach.has_account(one.account)]
    return json_response({"listeners": [to_json(one) for one in listed], "next": None})


@router.delete(
    "/listeners/{account}/{service}",
    summary="Remove a listener",
    status_code=204,
    response_class=Response,
    response_description="Removed",
    responses=examples.problems(*examples.ACCESS, NotFound, InvalidArgument, *examples.PROVIDER),
)
async def delete_listener(account: Account, service: Service, request: Request) -> Response:
    """Remove our registration at the provider; callbacks to its address are then answered 404."""
    async with gateway_of(request).audit.deed(actor_of(request), "listener.remove", account=account, subject=service):
        check_whole_account(caller_of(request), account)
        await gateway_of(request).listeners.remove(AccountName(account), service)
    return Response(status_code=204)


@router.post(
    "/listeners/{account}/{service}/test",
    summary="Test a listener",
    response_model=schemas.ListenerTestAnswer,
    responses=examples.problems(*examples.ACCESS, NotFound, InvalidArgument),
)
async def test_listener(account: Account, service: Service, request: Request) -> Response:
    """Send a signed synthetic callback through the public address, and report whether it arrived."""
    async with gateway_of(request).audit.deed(actor_of(request), "listener.test", account=account, subject=service):
        caller = caller_of(request)
        check_whole_account(caller, account)
        trial = await gateway_of(request).listener_test.one(
            AccountName(account), service, is_admin="admin" in caller.scopes
        )
    return json_response(
        {
            "arrived": trial.arrived,
            "status": trial.status,
            "durationMs": trial.duration_ms,
            "transactionId": trial.transaction_id,
            "detail": trial.detail,
        }
    )


async def put_listener(body: ListenerRequest, request: Request, account: Account, service: Service) -> Response:
    """Register our address at the provider, or replace the registration; its secret is stored and never shown."""
    async with gateway_of(request).audit.deed(actor_of(request), "listener.register", account=account, subject=service):
        caller = caller_of(request)
        check_whole_account(caller, account)
        listener = await gateway_of(request).listeners.register(
            AccountName(account), service, body.url, is_admin="admin" in caller.scopes
        )
    return json_response(to_json(listener))


router.add_api_route(
    "/listeners/{account}/{service}",
    put_listener,
    methods=["PUT"],
    summary="Register a listener",
    response_model=schemas.ListenerAnswer,
    responses=examples.problems(*examples.ACCESS, *examples.BODY, *examples.PROVIDER),
    route_class_override=JsonRoute,
)


def to_json(listener: Listener) -> schemas.ListenerAnswer:
    """Write a listener."""
    return {
        "provider": listener.provider,
        "account": listener.account,
        "service": listener.service,
        "url": listener.url,
        "managed": listener.managed,
        "secretKnown": listener.has_secret,
        "registeredAt": instant(listener.registered_at) if listener.registered_at else None,
        "checkedAt": instant(listener.checked_at) if listener.checked_at else None,
        "headerNames": list(listener.header_names),
        "problem": listener.problem,
    }
