"""Every device that is known."""

from typing import Annotated, cast

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from app.api.access import actor_of, caller_of
from app.api.answers import ReportDeviceAnswer
from app.api.gateway import gateway_of
from app.api.negotiation import preferred
from app.api.parameters import Limit, refuse_unknown
from app.api.rendering import JSON, json_response
from app.api.report_parameters import Account, HolderCursor, device_of, to_cursor
from app.api.report_rendering import to_report
from app.api.schemas import devices as schemas
from app.devices import PAGE, DeviceState, KnownDevice, RunningSession
from app.ids import public_id

router = APIRouter(tags=["devices"])

_LABELS = ("mdn:", "name:")


@router.get(
    "/devices",
    summary="List or search the devices that are known",
    response_model=schemas.DevicesAnswer,
    responses=schemas.DEVICES_RESPONSES,
)
async def list_devices(
    request: Request,
    account: Account = None,
    q: Annotated[
        str | None,
        Query(min_length=1, max_length=128, description="a part of an IMEI, MEID, ESN, MDN or name, in any case"),
    ] = None,
    state: Annotated[DeviceState | None, Query(description="only devices in this state")] = None,
    cursor: HolderCursor = None,
    limit: Limit = PAGE,
) -> Response:
    """List every device that is known by its reports, its sessions, or what providers say about it.

    A device known by nothing but a number or a name stands behind those with an IMEI, MEID or ESN.
    """
    refuse_unknown(request, ("account", "q", "state", "cursor", "limit"))
    preferred(request.headers.get("accept"), (JSON,))
    page = await gateway_of(request).devices.page(
        actor_of(request),
        reach=caller_of(request).reach,
        account=account,
        search=q,
        state=state,
        after=device_of(cursor),
        limit=limit,
    )
    following = None if page.next is None else to_cursor([page.next])
    return json_response({"devices": [_to_device(one) for one in page.devices], "next": following})


def _to_device(known: KnownDevice) -> schemas.KnownDeviceAnswer:
    named = {known.kind or "": known.key, "mdn": known.mdn, "name": known.name}
    return {
        "id": _id_of(known.key),
        "device": cast(
            "ReportDeviceAnswer", {name: value for name, value in named.items() if name and value is not None}
        ),
        "accounts": list(known.accounts),
        "state": known.state,
        "sessions": [_to_session(session) for session in known.sessions if session.is_within_reach],
        "latestReport": None if known.latest is None else to_report(known.latest),
        "latestPosition": None if known.position is None else to_report(known.position),
    }


def _to_session(session: RunningSession) -> schemas.RunningSessionAnswer:
    return {"id": public_id(session.id), "state": session.state, "due": session.due, "missing": session.missing}


def _id_of(key: str) -> str:
    return next((key.removeprefix(label) for label in _LABELS if key.startswith(label)), key)
