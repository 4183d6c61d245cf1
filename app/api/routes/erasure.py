"""Erasing a device on request."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from ulid import ULID

from app.api import examples
from app.api.access import actor_of
from app.api.gateway import gateway_of
from app.api.parameters import foreign_number, refuse_unknown
from app.api.schemas import operations as schemas
from app.errors import IncompatibleState, InvalidArgument
from app.identifiers import is_foreign

router = APIRouter(tags=["devices"])


@router.delete(
    "/devices/{identifier}",
    summary="Erase a device",
    responses=examples.problems(*examples.ACCESS, IncompatibleState, InvalidArgument),
)
async def erase_device(
    request: Request,
    identifier: Annotated[str, Path(max_length=128, description="IMEI, MEID, ESN, MDN, or your own name for it")],
    force: Annotated[bool, Query(description="erase even if one of its sessions cannot be stopped")] = False,  # noqa: FBT002 -- a query parameter
) -> schemas.ErasedAnswer:
    """Stop the device's sessions, delete everything stored about it, and return how much was deleted.

    This deletes reports, positions, raw callbacks (of a callback about several devices, the part about this one), known
    identifiers, counts in sessions and kept schemas. Later callbacks about the device are stored as new.

    The audit trail keeps the requests about the device and their outcomes, under the random name in `auditedAs`.
    """
    refuse_unknown(request, ("force",))
    if "\x00" in identifier:
        raise InvalidArgument("An identifier cannot contain NUL characters.")
    known_as = f"erased:{ULID()}"
    async with gateway_of(request).audit.deed(actor_of(request), "device.erase", subject=known_as):
        erased = await gateway_of(request).erase.device(identifier, known_as=known_as, force=force)
        # It may have been a name all the same.
        if is_foreign(identifier) and not any(erased.values()):
            raise foreign_number()
    return {"erased": erased, "auditedAs": known_as}
