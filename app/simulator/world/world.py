"""The simulated world: devices under way, in a place that is the same whenever it is made from the same seed."""

import math
from dataclasses import dataclass
from datetime import datetime

from app.simulator.world.clock import Clock
from app.simulator.world.ground import EAST, NORTH, SOUTH, WEST, Position, fraction, moved, somewhere
from app.simulator.world.radio import RadioMap

_FIRST_BODY = 99000112345678  # of the IMEI, without its check digit
_FIRST_MDN = 5085550101
_MDN_LENGTH = 10
_HARMONICS = ((1, 1.0), (2, 0.2), (3, 0.1))  # of a route: how often round per lap, and how wide
_INDEX_OF_HEX = 0xFFFFFF  # where a MEID or an ESN holds the index
_SLOWEST_MPS, _FASTEST_MPS = 7.0, 18.0
_NARROWEST_M, _WIDEST_M = 800.0, 4000.0
_STRANGERS_DIGIT, _WITH_MEID, _WITH_ESN = 9, 7, 8  # which indices are the other account's, have a MEID, have an ESN


@dataclass(frozen=True, slots=True)
class SimulatedDevice:
    """One device of the fleet; `meid` and `esn` are None for most."""

    index: int
    imei: str
    mdn: str
    account: str
    meid: str | None = None
    esn: str | None = None

    @property
    def identifiers(self) -> tuple[str, ...]:
        """Every identifier that this device answers to."""
        return tuple(name for name in (self.imei, self.mdn, self.meid, self.esn) if name is not None)


@dataclass(frozen=True, slots=True)
class _Route:
    """A smooth closed curve, and how long one lap takes; phases are in laps."""

    centre: Position
    radius_m: float
    lap_s: float
    started: float
    phases: tuple[tuple[float, float], ...]

    def at(self, instant: datetime) -> Position:
        lap = (instant.timestamp() / self.lap_s + self.started) % 1.0
        north_m = east_m = 0.0
        for (times, width), (north_phase, east_phase) in zip(_HARMONICS, self.phases, strict=True):
            north_m += width * math.sin(math.tau * (times * lap + north_phase))
            east_m += width * math.cos(math.tau * (times * lap + east_phase))
        return moved(self.centre, north_m * self.radius_m, east_m * self.radius_m)


class World:
    """Devices 0 to fleet - 1, each on a route of its own, and the radio map they travel through.

    Device 0 has IMEI 990001123456782 and MDN 5085550101. The index of a device follows from each of its
    identifiers, so nothing is kept but what was asked for.
    """

    def __init__(self, seed: int, clock: Clock, fleet: int, account: str, other_account: str) -> None:
        self.seed = seed
        self.clock = clock
        self.fleet = fleet
        self.accounts = (account, other_account)
        self.radio = RadioMap(seed)
        self._devices: dict[int, SimulatedDevice] = {}
        self._routes: dict[int, _Route] = {}

    def device(self, index: int) -> SimulatedDevice:
        """Return the device of that index."""
        known = self._devices.get(index)
        if known is None:
            known = self._devices[index] = self._make_device(index)
        return known

    def devices(self, offset: int = 0, limit: int | None = None) -> list[SimulatedDevice]:
        """Return devices in the order of their index."""
        end = self.fleet if limit is None else min(self.fleet, offset + limit)
        return [self.device(index) for index in range(offset, end)]

    def device_by_imei(self, imei: str) -> SimulatedDevice | None:
        """Find a device by its IMEI: 15 digits, or 14 or 16 of which the first 14 count."""
        if not imei.isdecimal() or not 14 <= len(imei) <= 16:  # noqa: PLR2004 the lengths that an IMEI(SV) can have
            return None
        found = self._at(int(imei[:14]) - _FIRST_BODY)
        return found if found is not None and (len(imei) != len(found.imei) or imei == found.imei) else None

    def device_by_mdn(self, mdn: str) -> SimulatedDevice | None:
        """Find a device by its MDN."""
        return self._at(int(mdn) - _FIRST_MDN) if mdn.isdecimal() and len(mdn) == _MDN_LENGTH else None

    def device_by_id(self, kind: str, identifier: str) -> SimulatedDevice | None:
        """Find a device by an identifier of that kind, in any case: imei, mdn, meid or esn."""
        match kind.lower():
            case "imei":
                return self.device_by_imei(identifier)
            case "mdn":
                return self.device_by_mdn(identifier)
            case "meid" | "esn":
                return self._by_hex(kind.lower(), identifier)
        return None

    def position_of(self, device: SimulatedDevice, at: datetime) -> Position:
        """Return where the device is at that instant, past or future."""
        route = self._routes.get(device.index)
        if route is None:
            route = self._routes[device.index] = self._make_route(device.index)
        return route.at(at)

    def position_now(self, device: SimulatedDevice) -> Position:
        """Return where the device is."""
        return self.position_of(device, self.clock.now())

    def _at(self, index: int) -> SimulatedDevice | None:
        return self.device(index) if 0 <= index < self.fleet else None

    def _by_hex(self, kind: str, identifier: str) -> SimulatedDevice | None:
        try:
            index = int(identifier, 16) & _INDEX_OF_HEX
        except ValueError:
            return None
        found = self._at(index)
        return found if found is not None and getattr(found, kind) == identifier.upper() else None

    def _make_device(self, index: int) -> SimulatedDevice:
        body = str(_FIRST_BODY + index)
        return SimulatedDevice(
            index=index,
            imei=body + _check_digit(body),
            mdn=str(_FIRST_MDN + index),
            account=self.accounts[index % 10 == _STRANGERS_DIGIT],
            meid=f"A0{index:012X}" if index % 50 == _WITH_MEID else None,
            esn=f"80{index:06X}" if index % 50 == _WITH_ESN else None,
        )

    def _make_route(self, index: int) -> _Route:
        def throw(what: str) -> float:
            return fraction(self.seed, "route", index, what)

        radius_m = _NARROWEST_M + (_WIDEST_M - _NARROWEST_M) * throw("radius")
        speed_mps = _SLOWEST_MPS + (_FASTEST_MPS - _SLOWEST_MPS) * throw("speed")
        return _Route(
            # Kept away from the edges, so that the whole route stays inside the box.
            centre=_inset(somewhere(self.seed, "route", index)),
            radius_m=radius_m,
            lap_s=math.tau * radius_m / speed_mps,
            started=throw("start"),
            # The first harmonic goes round, the others bend the circle.
            phases=((0.0, 0.0), *((throw(f"north {n}"), throw(f"east {n}")) for n, _ in _HARMONICS[1:])),
        )


def _inset(position: Position) -> Position:
    middle = Position((NORTH + SOUTH) / 2, (EAST + WEST) / 2)
    return Position(
        middle.latitude + (position.latitude - middle.latitude) * 0.7,
        middle.longitude + (position.longitude - middle.longitude) * 0.7,
    )


def _check_digit(body: str) -> str:
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(body))
    return str(-sum(value // 10 + value % 10 for value in doubled) % 10)
