"""The control API: `/control/…` in JSON, for tests, demos and people."""

from dataclasses import asdict
from typing import Any

import msgspec
import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from app.simulator.faults import Fault
from app.simulator.options import SPELLINGS
from app.simulator.state import State
from app.simulator.world.clock import ManualClock, RealClock
from app.simulator.world.radio import to_measurements
from app.simulator.world.world import SimulatedDevice

_MOST_DEVICES = 1000


class _Advance(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    advance_seconds: float


class _Spellings(msgspec.Struct, forbid_unknown_fields=True):
    on: set[str]


def routes(state: State) -> list[BaseRoute]:
    """Return the routes of the control API and the health check."""
    control = Control(state)
    return [
        Route("/healthz", control.health),
        Route("/control/credentials", control.credentials),
        Route("/control/faults", control.list_faults, methods=["GET"]),
        Route("/control/faults", control.add_faults, methods=["POST"]),
        Route("/control/faults", control.clear_faults, methods=["DELETE"]),
        Route("/control/spellings", control.list_spellings, methods=["GET"]),
        Route("/control/spellings", control.set_spellings, methods=["PUT"]),
        Route("/control/counters", control.show_counters, methods=["GET"]),
        Route("/control/counters", control.clear_counters, methods=["DELETE"]),
        Route("/control/devices", control.list_devices),
        Route("/control/devices/{identifier}/scan", control.scan),
        Route("/control/clock", control.show_clock, methods=["GET"]),
        Route("/control/clock", control.advance_clock, methods=["POST"]),
    ]


class Control:
    """The handlers, all of one simulator's state."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def health(self, _: Request) -> Response:
        """Say that the process is up."""
        return _json({"status": "ok"})

    async def credentials(self, _: Request) -> Response:
        """Tell the made-up credentials, accounts and paths."""
        options = self._state.options
        names = (name for name in asdict(options) if name.startswith(("thingspace_", "cloudlocate_")))
        told = {name: getattr(options, name) for name in names}
        return _json({"account": options.account, "otherAccount": options.other_account, **_by_vendor(told)})

    async def list_faults(self, _: Request) -> Response:
        """List the catalogue and what is pending."""
        faults = self._state.faults
        return _json({"catalogue": faults.catalogue, "pending": msgspec.to_builtins(faults.pending())})

    async def add_faults(self, request: Request) -> Response:
        """Put one fault, or a list of them, on the board."""
        asked = _decode(await request.body(), Fault | list[Fault])
        wanted = asked if isinstance(asked, list) else [asked]
        unknown = sorted({fault.name for fault in wanted} - self._state.faults.catalogue.keys())
        if unknown:
            raise HTTPException(422, f"Unknown: {', '.join(unknown)}. GET /control/faults lists what there is.")
        added = [self._state.faults.add(fault) for fault in wanted]
        return _json({"pending": msgspec.to_builtins(added)}, 201)

    async def clear_faults(self, request: Request) -> Response:
        """Take all faults off the board, or those of `?name=` or `?id=`."""
        query = request.query_params
        fault_id = _whole(request, "id", -1) if "id" in query else None
        return _json({"cleared": self._state.faults.clear(name=query.get("name"), fault_id=fault_id)})

    async def list_spellings(self, _: Request) -> Response:
        """List the alternative spellings and which are on."""
        return _json({"catalogue": SPELLINGS, "on": sorted(self._state.spellings)})

    async def set_spellings(self, request: Request) -> Response:
        """Switch exactly these alternative spellings on."""
        wanted = _decode(await request.body(), _Spellings).on
        unknown = sorted(wanted - SPELLINGS.keys())
        if unknown:
            raise HTTPException(422, f"Unknown: {', '.join(unknown)}. GET /control/spellings lists what there is.")
        self._state.spellings.clear()
        self._state.spellings.update(wanted)
        return await self.list_spellings(request)

    async def show_counters(self, _: Request) -> Response:
        """Tell what was counted."""
        return _json(self._state.counters.snapshot())

    async def clear_counters(self, _: Request) -> Response:
        """Start counting again."""
        self._state.counters.clear()
        return Response(status_code=204)

    async def list_devices(self, request: Request) -> Response:
        """List devices and where they are, by `?offset=` and `?limit=`."""
        offset, limit = _whole(request, "offset", 0), min(_whole(request, "limit", 100), _MOST_DEVICES)
        devices = [self._to_entry(device) for device in self._state.world.devices(offset, limit)]
        return _json({"devices": devices, "total": self._state.world.fleet})

    async def scan(self, request: Request) -> Response:
        """Let a device, by IMEI or MDN, scan where it is; `?kinds=gnss,wifi,cell` leaves some out."""
        world, identifier = self._state.world, request.path_params["identifier"]
        device = world.device_by_imei(identifier) or world.device_by_mdn(identifier)
        if device is None:
            raise HTTPException(404, "No such device.")
        at = self._state.clock.now().replace(microsecond=0)
        position = world.position_of(device, at)
        kinds = request.query_params.get("kinds", "gnss,wifi,cell").split(",")
        return _json(
            {
                "device": {"imei": device.imei, "mdn": device.mdn, "account": device.account},
                "measurements": to_measurements(world.radio, position, at, kinds),
                "truth": asdict(position),
            }
        )

    async def show_clock(self, _: Request) -> Response:
        """Tell the simulated time."""
        clock = self._state.clock
        speed = clock.speed if isinstance(clock, RealClock) else None
        return _json({"now": clock.now(), "manual": isinstance(clock, ManualClock), "speed": speed})

    async def advance_clock(self, request: Request) -> Response:
        """Advance a manual clock."""
        clock = self._state.clock
        if not isinstance(clock, ManualClock):
            raise HTTPException(409, "This clock runs by itself.")
        await clock.advance(_decode(await request.body(), _Advance).advance_seconds)
        return await self.show_clock(request)

    def _to_entry(self, device: SimulatedDevice) -> dict[str, Any]:
        position = self._state.world.position_now(device)
        return {"imei": device.imei, "mdn": device.mdn, "account": device.account, "position": asdict(position)}


def _by_vendor(told: dict[str, Any]) -> dict[str, dict[str, Any]]:
    vendors: dict[str, dict[str, Any]] = {}
    for name, value in told.items():
        vendor, _, rest = name.partition("_")
        vendors.setdefault(vendor, {})[rest] = value
    return vendors


def _decode(body: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HTTPException(422, str(error)) from error


def _whole(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isdecimal():
        raise HTTPException(422, f"{name} must be a whole number.")
    return int(text)


def _json(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")
