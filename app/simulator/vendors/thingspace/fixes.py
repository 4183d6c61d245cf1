"""Where devices are found: fixes from the moving world, and the cache of the last fix of each device."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from app.simulator.state import State
from app.simulator.vendors.thingspace.billing import BilledFixes
from app.simulator.vendors.thingspace.fault_values import amount
from app.simulator.world.ground import Position, fraction
from app.simulator.world.world import SimulatedDevice

FAULTS = {
    "device_offline": "ThingSpace device: not reachable, POSITION METHOD FAILURE; "
    "`value` is another error, as {type, info}",
    "not_iot": "ThingSpace device: not of the IoT, an error for this device alone",
    "cache_empty": "ThingSpace device: nothing in the cache",
    "cached_fix": "ThingSpace device: its cache holds a fix that is `value` seconds old",
    "fix_aged": "ThingSpace device: a current fix that states a time `value` seconds ago",
}

NOT_IOT = "TS DEVICE TYPE CHECK FAILED"
_COARSE_M = (300, 5600)
_PRECISE_M = (5, 60)


@dataclass(frozen=True, slots=True)
class SimulatedFix:
    """Where a device was found, how well, and whether the answer came from the cache."""

    position: Position
    radius_m: int
    at: datetime
    is_precise: bool = False
    is_cached: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a device was not found, in the vendor's words."""

    type: str
    info: str
    at: datetime


Outcome = SimulatedFix | Failure


class Fixes:
    """Locates devices, and remembers the last fix of each."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._cache: dict[int, SimulatedFix] = {}

    def locate(self, device: SimulatedDevice, at: datetime, *, is_precise: bool) -> Outcome:
        """Find the device where it is at that instant, keep the fix in the cache, and bill it."""
        take = partial(self._state.faults.take, device=device.identifiers, account=device.account)
        if fault := take("device_offline"):
            return _to_failure(fault.value, at)
        if take("not_iot"):
            return Failure(NOT_IOT, "Specified device category is not IoT", at)
        if fault := take("fix_aged"):
            at -= timedelta(seconds=amount(fault, 600))
        self._state.part(BilledFixes).bill(device.account, self._state.clock.now())
        fix = self._measure(device, at, is_precise=is_precise)
        before = self._cache.get(device.index)
        # Fixes of a delayed callback are taken late, for the past.
        if before is None or before.at <= fix.at:
            self._cache[device.index] = fix
        return fix

    def cached(self, device: SimulatedDevice, *, is_precise: bool) -> SimulatedFix | None:
        """Return the last fix of the device, if there is one, and it is precise where that is asked for."""
        take = partial(self._state.faults.take, device=device.identifiers, account=device.account)
        if fault := take("cached_fix"):
            at = self._state.clock.now() - timedelta(seconds=amount(fault, 0))
            self._cache[device.index] = self._measure(device, at, is_precise=is_precise)
        if take("cache_empty"):
            self._cache.pop(device.index, None)
        fix = self._cache.get(device.index)
        if fix is None or (is_precise and not fix.is_precise):
            return None
        return replace(fix, is_cached=True)

    def cached_within(self, device: SimulatedDevice, at: datetime, age: timedelta) -> SimulatedFix | None:
        """Return the last fix of the device if it is a precise one that was younger than that at that instant."""
        fix = self.cached(device, is_precise=True)
        return fix if fix is not None and timedelta(0) <= at - fix.at < age else None

    def _measure(self, device: SimulatedDevice, at: datetime, *, is_precise: bool) -> SimulatedFix:
        exact = self._state.world.position_of(device, at)
        digits, (least, most) = (7, _PRECISE_M) if is_precise else (5, _COARSE_M)
        position = Position(round(exact.latitude, digits), round(exact.longitude, digits))
        share = fraction(self._state.options.seed, "radius", device.index, int(at.timestamp()))
        return SimulatedFix(position, least + int((most - least) * share), at, is_precise=is_precise)


def _to_failure(value: Any, at: datetime) -> Failure:
    words = value if isinstance(value, dict) else {}
    kind, info = words.get("type", "POSITION METHOD FAILURE"), words.get("info", "Exception code=ABSENT SUBSCRIBER")
    return Failure(str(kind), str(info), at)
