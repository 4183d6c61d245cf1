"""Erasing a device on request."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response
from ulid import ULID

from app.api import examples
from app.api.access import actor_of
from app.api.gateway import gateway_of, request_id_of
from app.api.negotiation import preferred
from app.api.parameters import foreign_number, refuse_unknown
from app.api.progress_stream import NDJSON, OnStep, ProgressStream
from app.api.rendering import json_response
from app.api.schemas import operations as schemas
from app.errors import IncompatibleState, InvalidArgument
from app.identifiers import is_foreign

router = APIRouter(tags=["devices"])
JSON = "application/json"


@router.delete(
    "/devices/{identifier}",
    summary="Erase a device",
    response_model=schemas.ErasedAnswer,
    responses={
        **examples.problems(*examples.ACCESS, IncompatibleState, InvalidArgument),
        200: {"content": {NDJSON: {"schema": {"type": "string"}}}},
    },
)
async def erase_device(
    request: Request,
    identifier: Annotated[str, Path(max_length=128, description="IMEI, MEID, ESN, MDN, or your own name for it")],
    force: Annotated[bool, Query(description="erase even if one of its sessions cannot be stopped")] = False,  # noqa: FBT002 -- a query parameter
) -> Response:
    """Stop the device's sessions, delete everything stored about it, and return how much was deleted.

    This deletes reports, positions, raw callbacks (of a callback about several devices, the part about this one), known
    identifiers, counts in sessions and kept answers. Later callbacks about the device are stored as new.

    The audit trail keeps the requests about the device and their outcomes, under the random name in `auditedAs`.

    With `Accept: application/x-ndjson` lines such as `{"progress": {"done": 3, "total": 31}}` come while it takes, and
    the answer, or `{"problem": …}`, in the last one.
    """
    refuse_unknown(request, ("force",))
    if "\x00" in identifier:
        raise InvalidArgument("An identifier cannot contain NUL characters.")
    media_type = preferred(request.headers.get("accept"), (JSON, NDJSON))
    known_as = f"erased:{ULID()}"

    async def erase(on_step: OnStep) -> dict[str, Any]:
        gateway = gateway_of(request)
        async with gateway.audit.deed(actor_of(request), "device.erase", subject=known_as):
            erased = await gateway.erase.device(identifier, known_as=known_as, force=force, on_step=on_step)
            # It may also have been a name.
            if is_foreign(identifier) and not any(erased.values()):
                raise foreign_number()
        return {"erased": erased, "auditedAs": known_as}

    if media_type == NDJSON:
        return ProgressStream(erase, request_id_of(request))
    return json_response(await erase(lambda _done, _total: None))
