"""Subscriptions: events delivered by POST, and what has become of the deliveries."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from app.api import examples
from app.api.access import actor_of, caller_of
from app.api.body import JsonRoute
from app.api.gateway import gateway_of
from app.api.parameters import Cursor, Limit, Since, Until, id_of, place_of, refuse_unknown
from app.api.rendering import instant, json_response, page_response
from app.api.schemas import subscriptions as schemas
from app.errors import CursorExpired, InvalidArgument, NotFound
from app.ids import parse_id, public_id
from app.subscriptions import DeliveryRecord, DeliveryState, NewSecret, SubscriptionView

router = APIRouter(tags=["subscriptions"])
_changes = APIRouter(route_class=JsonRoute)

Id = Annotated[str, Path(max_length=64, description="the subscription's id")]
_NO_STORE = {"Cache-Control": "no-store"}
_EXAMPLE = {
    "name": "fleet map",
    "url": "https://receiver.example.com/locations",
    "types": ["location.*"],
    "account": "0844559123-00001",
    "batch": {"maxEvents": 100, "maxDelay": 1},
}
_CREATED: dict[str, Any] = {
    "description": "Created",
    "links": examples.links(
        "id",
        "$response.body#/id",
        show="get_subscription",
        rotate="rotate_subscription",
        test="test_subscription",
        deliveries="list_deliveries",
        remove="delete_subscription",
    ),
}


@_changes.post(
    "/subscriptions",
    status_code=201,
    summary="Create a subscription",
    response_model=schemas.NewSubscriptionAnswer,
    responses={**examples.problems(*examples.ACCESS, *examples.BODY, CursorExpired), 201: _CREATED},
    openapi_extra={"requestBody": {"content": {"application/json": {"examples": {"batches": {"value": _EXAMPLE}}}}}},
)
async def create_subscription(body: schemas.SubscriptionRequest, request: Request) -> Response:
    """Deliver events by POST, at least once and in order for each device, signed as Standard Webhooks has it.

    The secret is shown once. A subscription sees no more than the key that makes it, and is disabled when that key is
    revoked or expires. Deliveries are CloudEvents; `webhook-id` is the event's id.
    """
    made = await gateway_of(request).subscriptions.registry.create(
        body.to_plan(), caller_of(request), actor_of(request)
    )
    return json_response(_to_new(made), 201, headers=_NO_STORE)


@_changes.patch(
    "/subscriptions/{id}",
    summary="Change a subscription",
    response_model=schemas.SubscriptionAnswer,
    responses=examples.problems(*examples.ACCESS, *examples.BODY, NotFound),
)
async def change_subscription(body: schemas.SubscriptionChange, request: Request, id: Id) -> Response:  # noqa: A002 -- the name in the path
    """Change filters and address, pause, or resume; what happens during a pause is delivered afterwards."""
    changed = await gateway_of(request).subscriptions.registry.change(
        id_of(id, "subscription"), body.to_changes(), caller_of(request), actor_of(request)
    )
    return json_response(_to_json(changed))


@_changes.post(
    "/subscriptions/{id}/replay",
    status_code=202,
    summary="Deliver again",
    response_model=schemas.DeliveriesReplayed,
    responses=examples.problems(*examples.ACCESS, *examples.BODY, NotFound),
)
async def replay_deliveries(body: schemas.ReplayRequest, request: Request, id: Id) -> Response:  # noqa: A002 -- the name in the path
    """Deliver again under the same ids: the deliveries named, or all that hold an event of a time."""
    registry, key = gateway_of(request).subscriptions.registry, id_of(id, "subscription")
    caller, by = caller_of(request), actor_of(request)
    if body.since is not None:
        count = await registry.replay_between(key, body.since, body.until, caller, by)
    else:
        ids = [parse_id(text) for text in body.deliveries or ()]
        count = await registry.replay_deliveries(key, ids, caller, by)
    return json_response({"deliveries": count}, 202)


router.include_router(_changes)


@router.get(
    "/subscriptions",
    summary="List subscriptions, newest first",
    response_model=schemas.SubscriptionsAnswer,
    responses=examples.problems(*examples.ACCESS, InvalidArgument),
)
async def list_subscriptions(request: Request, cursor: Cursor = None, limit: Limit = 100) -> Response:
    """List subscriptions with their state; a restricted key sees its own."""
    refuse_unknown(request, ("cursor", "limit"))
    found = await gateway_of(request).subscriptions.registry.page(
        caller_of(request), before=place_of(cursor), limit=limit
    )
    return page_response("subscriptions", found, _to_json)


@router.get(
    "/subscriptions/{id}",
    summary="One subscription",
    response_model=schemas.SubscriptionAnswer,
    responses=examples.problems(*examples.ACCESS, NotFound, InvalidArgument),
)
async def get_subscription(id: Id, request: Request) -> Response:  # noqa: A002 -- the name in the path
    """Show a subscription: its filters, its state, and how far it is behind."""
    refuse_unknown(request, ())
    found = await gateway_of(request).subscriptions.registry.find(id_of(id, "subscription"), caller_of(request))
    return json_response(_to_json(found))


@router.delete(
    "/subscriptions/{id}",
    summary="Delete a subscription",
    status_code=204,
    response_class=Response,
    response_description="Deleted",
    responses=examples.problems(*examples.ACCESS, NotFound, InvalidArgument),
)
async def delete_subscription(id: Id, request: Request) -> Response:  # noqa: A002 -- the name in the path
    """Delete a subscription; what was not delivered yet is not delivered any more."""
    refuse_unknown(request, ())
    await gateway_of(request).subscriptions.registry.remove(
        id_of(id, "subscription"), caller_of(request), actor_of(request)
    )
    return Response(status_code=204)


@router.post(
    "/subscriptions/{id}/rotate",
    summary="Rotate a secret",
    response_model=schemas.NewSubscriptionAnswer,
    responses=examples.problems(*examples.ACCESS, NotFound, InvalidArgument),
)
async def rotate_subscription(id: Id, request: Request) -> Response:  # noqa: A002 -- the name in the path
    """Replace the secret; for 24 hours deliveries bear both signatures."""
    refuse_unknown(request, ())
    made = await gateway_of(request).subscriptions.registry.rotate(
        id_of(id, "subscription"), caller_of(request), actor_of(request)
    )
    return json_response(_to_new(made), headers=_NO_STORE)


@router.post(
    "/subscriptions/{id}/test",
    summary="Test a subscription",
    response_model=schemas.SubscriptionTestAnswer,
    responses=examples.problems(*examples.ACCESS, NotFound, InvalidArgument),
)
async def test_subscription(id: Id, request: Request) -> Response:  # noqa: A002 -- the name in the path
    """Deliver a `gateway.test` event now, once, and report what the receiver answered."""
    refuse_unknown(request, ())
    answer = await gateway_of(request).subscriptions.test.one(
        id_of(id, "subscription"), caller_of(request), actor_of(request)
    )
    return json_response(
        {
            "delivered": answer.is_delivered,
            "status": answer.status,
            "answer": answer.text,
            "error": answer.error,
            "durationMs": answer.duration_ms,
        }
    )


@router.get(
    "/subscriptions/{id}/deliveries",
    summary="List deliveries, newest first",
    response_model=schemas.DeliveriesAnswer,
    responses=examples.problems(*examples.ACCESS, NotFound, InvalidArgument),
)
async def list_deliveries(
    id: Id,  # noqa: A002 -- the name in the path
    request: Request,
    state: Annotated[DeliveryState | None, Query(description="only deliveries in this state")] = None,
    since: Since = None,
    until: Until = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Response:
    """List deliveries with their attempts, by the time when each was first made up."""
    refuse_unknown(request, ("state", "since", "until", "cursor", "limit"))
    found = await gateway_of(request).subscriptions.registry.deliveries(
        id_of(id, "subscription"),
        caller_of(request),
        state=state,
        since=since,
        until=until,
        before=place_of(cursor),
        limit=limit,
    )
    return page_response("deliveries", found, _to_delivery)


def _to_json(view: SubscriptionView) -> dict[str, Any]:
    row = view.row
    batch = None
    if row.batch_events is not None:
        batch = {"maxEvents": row.batch_events, "maxDelay": row.batch_delay_s}
    return {
        "id": public_id(row.id),
        "name": row.name,
        "url": row.url,
        "types": row.types,
        "account": row.account,
        "devices": row.devices,
        "transactionId": row.transaction_id,
        "batch": batch,
        "state": view.state,
        "problem": row.problem,
        "behind": view.behind,
        "oldest": view.oldest_at and max(0.0, (view.now - view.oldest_at).total_seconds()),
        "lastAttempt": row.last_attempt,
        "lastSuccessAt": row.last_success_at and instant(row.last_success_at),
        "slowUntil": row.slow_until and instant(row.slow_until),
        "key": row.key_id,
        "createdAt": instant(row.created_at),
    }


def _to_new(made: NewSecret) -> dict[str, Any]:
    return {**_to_json(made.subscription), "secret": made.secret}


def _to_delivery(row: DeliveryRecord) -> dict[str, Any]:
    return {
        "id": public_id(row.id),
        "webhookId": row.webhook_id,
        "events": [public_id(one) for one in row.event_ids],
        "state": row.state,
        "attempts": row.attempts,
        "nextAttemptAt": row.due_at and instant(row.due_at),
        "createdAt": instant(row.created_at),
    }
