"""API keys, for holders of the scope `admin`."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Path
from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError
from starlette.requests import Request
from starlette.responses import Response

from app.access import KeyPlan, KeyRecord, NewKey
from app.api import examples
from app.api.access import actor_of
from app.api.body import JsonRoute
from app.api.gateway import gateway_of
from app.api.parameters import Cursor, Limit, id_of, place_of, refuse_unknown
from app.api.rendering import instant, json_response, page_response
from app.api.schemas.base import Instant, Schema
from app.api.schemas.identifiers import Account, Text128
from app.errors import IncompatibleState, InvalidArgument, NotFound
from app.ids import public_id
from app.scopes import Scope

router = APIRouter(tags=["keys"])
_changes = APIRouter(route_class=JsonRoute)

Id = Annotated[str, Path(max_length=64, description="the key's id, not the key")]
_MOST_NAMED = 1000
_MOST_STARS = 8
_EXAMPLE = {
    "name": "fleet map",
    "scopes": ["locate", "reports:read"],
    "accounts": ["0844559123-00001"],
    "devices": ["9900011234567*", "pump-*"],
    "requestsPerMinute": 600,
    "dailyFixes": 1000,
    "expiresAt": "2030-01-01T00:00:00Z",
}


def _check_stars(pattern: str) -> str:
    if pattern.count("*") > _MOST_STARS:
        raise PydanticCustomError(
            "too_many_stars", f"must hold at most {_MOST_STARS} `*`; list several patterns instead"
        )
    return pattern


DevicePattern = Annotated[Text128, AfterValidator(_check_stars)]


class KeyRequest(Schema):
    """The permissions and limits of a new key; members that are left out do not restrict it."""

    name: Annotated[Text128, Field(description="a name to recognise it by")]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=7, description="its permissions")]
    accounts: Annotated[
        list[Account] | None,
        Field(
            min_length=1,
            max_length=_MOST_NAMED,
            description="restricts the key to these accounts; it then sees nothing that has no account",
        ),
    ] = None
    devices: Annotated[
        list[DevicePattern] | None,
        Field(
            min_length=1,
            max_length=_MOST_NAMED,
            description="restricts the key to devices whose IMEI, MEID, ESN, MDN or name matches; `*` stands for any"
            " characters (at most 8 in one pattern) and `?` for one. Every identifier of a request has to match; a name"
            " counts if it is the only one",
        ),
    ] = None
    requests_per_minute: Annotated[int | None, Field(ge=1, le=1_000_000, description="most requests per minute")] = None
    daily_fixes: Annotated[int | None, Field(ge=0, le=1_000_000_000, description="most billed fixes per day (UTC)")] = (
        None
    )
    expires_at: Annotated[Instant | None, Field(description="when it stops being accepted")] = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if "admin" in self.scopes and (self.accounts is not None or self.devices is not None):
            raise PydanticCustomError("admin_unrestricted", "a key with the scope admin cannot be restricted")
        if "periodic:unlimited" in self.scopes and "periodic" not in self.scopes:
            raise PydanticCustomError("needs_periodic", "the scope periodic:unlimited needs the scope periodic, too")
        if self.expires_at is not None and self.expires_at <= datetime.now(UTC):
            raise PydanticCustomError("in_the_past", "expiresAt must lie in the future")
        return self

    def to_plan(self) -> KeyPlan:
        """Turn it into what is kept."""
        return KeyPlan(
            name=self.name,
            scopes=tuple(dict.fromkeys(self.scopes)),
            accounts=None if self.accounts is None else tuple(dict.fromkeys(self.accounts)),
            devices=None if self.devices is None else tuple(dict.fromkeys(self.devices)),
            rate_per_minute=self.requests_per_minute,
            daily_fixes=self.daily_fixes,
            expires_at=self.expires_at,
        )


class KeyAnswer(Schema):
    """A key, without the key itself."""

    id: str
    name: str
    prefix: Annotated[str, Field(description="the first characters of the key")]
    state: Literal["active", "expired", "revoked"]
    scopes: list[Scope]
    accounts: list[str] | None
    devices: list[str] | None
    requests_per_minute: int | None
    daily_fixes: int | None
    created_at: datetime
    rotated_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None


class NewKeyAnswer(KeyAnswer):
    """A new key, with the secret key itself."""

    key: Annotated[str, Field(description="the secret key; shown only now, and not stored")]


class KeysAnswer(Schema):
    """A page of keys, newest first."""

    keys: list[KeyAnswer]
    next: str | None


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
    response_model=NewKeyAnswer,
    responses={**examples.problems(*examples.ACCESS, *examples.BODY), 201: _CREATED},
    openapi_extra={"requestBody": {"content": {"application/json": {"examples": {"restricted": {"value": _EXAMPLE}}}}}},
)
async def create_key(body: KeyRequest, request: Request) -> Response:
    """Create an API key; it is shown once, and only its hash is kept."""
    made = await gateway_of(request).keys.create(body.to_plan(), actor_of(request))
    return json_response(to_new_key(made), 201, headers={"Cache-Control": "no-store"})


router.include_router(_changes)


@router.get(
    "/keys",
    summary="List keys, newest first",
    response_model=KeysAnswer,
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
    response_model=KeyAnswer,
    responses=examples.problems(*examples.ACCESS, NotFound, InvalidArgument),
)
async def get_key(id: Id, request: Request) -> Response:  # noqa: A002 -- the name in the path
    """Show a key's permissions, limits and state."""
    refuse_unknown(request, ())
    return json_response(to_key(await gateway_of(request).keys.find(id_of(id, "key"))))


@router.post(
    "/keys/{id}/rotate",
    summary="Rotate a key",
    response_model=NewKeyAnswer,
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
    response_model=KeyAnswer,
    responses=examples.problems(*examples.ACCESS, NotFound, InvalidArgument),
)
async def revoke_key(id: Id, request: Request) -> Response:  # noqa: A002 -- the name in the path
    """Revoke a key permanently; every replica refuses it at once. Safe to repeat."""
    refuse_unknown(request, ())
    return json_response(to_key(await gateway_of(request).keys.revoke(id_of(id, "key"), actor_of(request))))


def to_key(row: KeyRecord) -> dict[str, Any]:
    """Write a key, without the key itself."""
    state = "active"
    if row.revoked_at is not None:
        state = "revoked"
    elif row.expires_at is not None and row.expires_at <= datetime.now(UTC):
        state = "expired"
    return {
        "id": public_id(row.id),
        "name": row.name,
        "prefix": row.prefix,
        "state": state,
        "scopes": row.scopes,
        "accounts": row.accounts,
        "devices": row.devices,
        "requestsPerMinute": row.rate_per_minute,
        "dailyFixes": row.daily_fixes,
        "createdAt": instant(row.created_at),
        "rotatedAt": row.rotated_at and instant(row.rotated_at),
        "expiresAt": row.expires_at and instant(row.expires_at),
        "revokedAt": row.revoked_at and instant(row.revoked_at),
    }


def to_new_key(made: NewKey) -> dict[str, Any]:
    """Write a key that has just been made, with the key itself."""
    return {**to_key(made.record), "key": made.key}
