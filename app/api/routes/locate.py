"""`POST /locate` and `POST /locate/batch`."""

from typing import Any, cast

import orjson
import pydantic
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.api import answers, examples
from app.api.access import caller_of
from app.api.body import JsonRoute
from app.api.explanations import to_explain_answer
from app.api.gateway import gateway_of, request_id_of
from app.api.problems import to_problem, to_request_error
from app.api.rendering import GEOJSON, json_response, to_answer, to_feature, wants
from app.api.schemas import locate as schemas
from app.errors import FieldError, GatewayError, InvalidArgument
from app.locate import LocateResult
from app.model import LocationQuery

router = APIRouter(route_class=JsonRoute, tags=["locate"])
_ITEM = pydantic.TypeAdapter(schemas.BatchItem)


@router.post(
    "/locate",
    summary="Locate one device",
    response_model=answers.LocateAnswer,
    responses=examples.LOCATE_RESPONSES,
    openapi_extra=examples.LOCATE_REQUESTS,
)
async def locate(body: schemas.LocateRequest, request: Request) -> Response:
    """Locate a device by its measurements, its identifiers, or both.

    All measurements go to CloudLocate in one call. A device identified by IMEI and MDN is located by ThingSpace, unless
    a stored fix is fresh enough. If the first provider finds no position, the next one is asked. An access point or
    neighbouring cell that cannot be used is left out, and named in `hints`.
    """
    request_id = request_id_of(request)
    as_feature = wants(request, GEOJSON)
    answer = await gateway_of(request).locate.one(
        body.to_query(), request_id=request_id, timeout_s=body.timeout, caller=caller_of(request)
    )
    if as_feature:
        return Response(orjson.dumps(to_feature(answer, request_id)), media_type=GEOJSON)
    located: answers.LocateAnswer = {"requestId": request_id, **to_answer(answer, request_id)}
    return json_response(located)


@router.post(
    "/locate/explain",
    summary="Explain what locating a device would come to",
    response_model=answers.ExplainAnswer,
    responses=examples.EXPLAIN_RESPONSES,
    openapi_extra=examples.LOCATE_REQUESTS,
)
async def explain(body: schemas.LocateRequest, request: Request) -> Response:
    """Judge every provider as `/locate` would, without calling any: nothing is spent.

    The body is that of `/locate`. What it would be refused for stands in `problem`; only a malformed body is a problem
    here as well.
    """
    request_id = request_id_of(request)
    explanation = await gateway_of(request).locate.explain(
        body.to_query(), request_id=request_id, timeout_s=body.timeout, caller=caller_of(request)
    )
    return json_response(to_explain_answer(explanation, request_id))


@router.post(
    "/locate/batch",
    summary="Locate up to 1,000 devices",
    response_model=answers.BatchAnswer,
    responses=examples.BATCH_RESPONSES,
)
async def locate_batch(body: schemas.BatchRequest, request: Request) -> Response:
    """Answer many location requests, in the order of the request; devices at ThingSpace share calls of 20.

    An invalid or failed item gets a `problem` of its own.
    """
    request_id = request_id_of(request)
    # Documented as BatchRequest, read as the envelope: one bad item must not spoil the others.
    envelope = cast("schemas.BatchEnvelope", body)
    ids = _ids(envelope.requests)
    outcomes: list[LocateResult | GatewayError | None] = [None] * len(ids)
    queries: dict[int, LocationQuery] = {}
    for index, item in enumerate(envelope.requests):
        try:
            queries[index] = _ITEM.validate_python(item).to_query()
        except pydantic.ValidationError as error:
            outcomes[index] = to_request_error(error)
        except GatewayError as error:
            outcomes[index] = error
    found = await gateway_of(request).locate.many(
        list(queries.values()), request_id=request_id, timeout_s=body.timeout, caller=caller_of(request)
    )
    for index, answer in zip(queries, found, strict=True):
        outcomes[index] = answer
    results = [_result(item_id, outcome, request_id) for item_id, outcome in zip(ids, outcomes, strict=True)]
    located = sum(isinstance(outcome, LocateResult) for outcome in outcomes)
    summary: answers.BatchSummary = {"located": located, "failed": len(ids) - located}
    answered: answers.BatchAnswer = {"requestId": request_id, "results": results, "summary": summary}
    return json_response(answered)


def _ids(items: list[dict[str, Any]]) -> list[str]:
    """Read the items' ids, which have to be there and to differ.

    Raises:
        InvalidArgument: One is missing, no text, too long, or stands twice.
    """
    seen: set[str] = set()
    errors = []
    for index, item in enumerate(items):
        item_id = item.get("id")
        if not isinstance(item_id, str) or not 1 <= len(item_id) <= 128:  # noqa: PLR2004 -- the contract's limit
            code, detail = ("MISSING", "is required: a text of 1 to 128 characters")
        elif item_id in seen:
            code, detail = ("DUPLICATE", "is used twice in this batch")
        else:
            seen.add(item_id)
            continue
        errors.append(FieldError(pointer=f"/requests/{index}/id", code=code, detail=detail))
    if errors:
        raise InvalidArgument("Every item needs an id of its own.", errors=tuple(errors))
    return [item["id"] for item in items]


def _result(item_id: str, outcome: LocateResult | GatewayError | None, request_id: str) -> answers.BatchResult:
    if isinstance(outcome, LocateResult):
        return cast("answers.BatchResult", {"id": item_id, **to_answer(outcome, request_id)})
    assert outcome is not None
    return {"id": item_id, "problem": to_problem(outcome, request_id)}
