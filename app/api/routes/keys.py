"""API keys, for holders of the scope `admin`."""

from datetime import UTC, datetime
from typing import Annotated, Any, cast

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from app.access import KeyRecord, NewKey
from app.api import examples
from app.api.access import actor_of
from app.api.body import JsonRoute
from app.api.gateway import gateway_of
from app.api.parameters import Cursor, Limit, id_of, place_of, refuse_unknown
from app.api.rendering import instant, json_response, page_response
from app.api.schemas import access as schemas
from app.errors import IncompatibleState, InvalidArgument, NotFound
from app.ids import public_id
from app.scopes import Scope

router = APIRouter(tags=["keys"])
_changes = APIRouter(route_class=JsonRoute)

Id = Annotated[str, Path(max_length=64, description="the key's id, not the key")]
_EXAMPLE = {
    "name": "fleet map",
    "scopes": ["locate", "reports:read"],
    "accounts": ["0844559123-00001"],
    "devices": ["9900011234567*", "pump-*"],
    "requestsPerMinute": 600,
    "dailyFixes": 1000,
    "expiresAt": "2030-01-01T00:00:00Z",
}


_CREATED: dict[str, Any] = {
    "description": "Created",
    "links": examples.links(
        "id",
        "$response.body#/id",
        show="get_key",
        rotate="rotate_key",
        revoke="revoke_key",
    ),
}


@_changes.post(
    "/keys",
    status_code=201,
    summary="Create a key",
    response_model=schemas.NewKeyAnswer,
    responses={**examples.problems(*examples.ACCESS, *examples.BODY), 201: _CREATED},
    openapi_extra={"requestBody": {"content": {"application/json": {"examples": {"restricted": {"value": _EXAMPLE}}}}}},
)
async def create_key(body: schemas.KeyRequest, request: Request) -> Response:
    """Create an API key; it is shown once, and only its hash is kept."""
    made = await gateway_of(request).keys.create(body.to_plan(), actor_of(request))
    return json_response(to_new_key(made), 201, headers={"Cache-Control": "no-store"})


router.include_router(_changes)


@router.get(
    "/keys",
    summary="List keys, newest first",
    response_model=schemas.KeysAnswer,
    responses=examples.problems(*examples.ACCESS, InvalidArgument),
)
async def list_keys(request: Request, cursor: Cursor = None, limit: Limit = 100) -> Response:
    """List all keys, including revoked and expired ones, without the secret keys themselves."""
    refuse_unknown(request, ("cursor", "limit"))
    found = await gateway_of(request).keys.page(before=place_of(cursor), limit=limit)
    return page_response("keys", found, to_key)


@router.get(
    "/keys/{id}",
    summary="One key",
    response_model=schemas.KeyAnswer,
    responses=examples.problems(*examples.ACCESS, NotFound, InvalidArgument),
)
async def get_key(id: Id, request: Request) -> Response:  # noqa: A002 -- the name in the path
    """Show a key's permissions, limits and state."""
    refuse_unknown(request, ())
    return json_response(to_key(await gateway_of(request).keys.find(id_of(id, "key"))))


@router.post(
    "/keys/{id}/rotate",
    summary="Rotate a key",
    response_model=schemas.NewKeyAnswer,
    responses=examples.problems(*examples.ACCESS, NotFound, IncompatibleState, InvalidArgument),
)
async def rotate_key(id: Id, request: Request) -> Response:  # noqa: A002 -- the name in the path
    """Replace the secret key; the old one is refused at once. Id, limits, counts and records stay."""
    refuse_unknown(request, ())
    made = await gateway_of(request).keys.rotate(id_of(id, "key"), actor_of(request))
    return json_response(to_new_key(made), headers={"Cache-Control": "no-store"})


@router.delete(
    "/keys/{id}",
    summary="Revoke a key",
    response_model=schemas.KeyAnswer,
    responses=examples.problems(*examples.ACCESS, NotFound, InvalidArgument),
)
async def revoke_key(id: Id, request: Request) -> Response:  # noqa: A002 -- the name in the path
    """Revoke a key permanently; every replica refuses it at once. Safe to repeat."""
    refuse_unknown(request, ())
    return json_response(to_key(await gateway_of(request).keys.revoke(id_of(id, "key"), actor_of(request))))


def to_key(row: KeyRecord) -> schemas.KeyAnswer:
    """Write a key, without the key itself."""
    state: schemas.KeyState = "active"
    if row.revoked_at is not None:
        state = "revoked"
    elif row.expires_at is not None and row.expires_at <= datetime.now(UTC):
        state = "expired"
    return {
        "id": public_id(row.id),
        "name": row.name,
        "prefix": row.prefix,
        "state": state,
        "scopes": cast("list[Scope]", row.scopes),
        "accounts": None if row.accounts is None else list(row.accounts),
        "devices": None if row.devices is None else list(row.devices),
        "requestsPerMinute": row.rate_per_minute,
        "dailyFixes": row.daily_fixes,
        "createdAt": instant(row.created_at),
        "rotatedAt": instant(row.rotated_at) if row.rotated_at else None,
        "expiresAt": instant(row.expires_at) if row.expires_at else None,
        "revokedAt": instant(row.revoked_at) if row.revoked_at else None,
    }


def to_new_key(made: NewKey) -> schemas.NewKeyAnswer:
    """Write a key that has just been made, with the key itself."""
    return {**to_key(made.record), "key": made.key}
