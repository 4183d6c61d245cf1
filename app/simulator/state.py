"""All that one simulator knows; what its routes are given."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from app.simulator.faults import Faults
from app.simulator.options import SPELLINGS, Options
from app.simulator.world.clock import Clock
from app.simulator.world.world import World

T = TypeVar("T")


class Counters:
    """Calls per route and status, and other things per name."""

    def __init__(self) -> None:
        self._calls: Counter[tuple[str, int]] = Counter()
        self._things: Counter[str] = Counter()

    def called(self, route: str, status: int) -> None:
        """Count one call of a route, such as `POST /cloudlocate/v1/position`; status 0 is a broken connection."""
        self._calls[route, status] += 1

    def add(self, thing: str, amount: int = 1) -> None:
        """Count something else, such as `thingspace.callbacks.delivered`."""
        self._things[thing] += amount

    def calls(self, containing: str = "", *, status: int | None = None) -> int:
        """Return how many calls were made of routes whose name contains the text."""
        return sum(
            count
            for (route, answered), count in self._calls.items()
            if containing in route and status in (None, answered)
        )

    def count(self, thing: str) -> int:
        """Return how often something else was counted."""
        return self._things[thing]

    def snapshot(self) -> dict[str, Any]:
        """Return everything counted, ready for JSON."""
        routes: dict[str, dict[str, int]] = {}
        for (route, status), count in sorted(self._calls.items()):
            routes.setdefault(route, {})[str(status)] = count
        return {"total": self._calls.total(), "calls": routes, "counts": dict(sorted(self._things.items()))}

    def clear(self) -> None:
        """Start again at nothing."""
        self._calls.clear()
        self._things.clear()


@dataclass(slots=True, kw_only=True)
class State:
    """One simulator's options, clock, world, pending faults, counters and alternative spellings."""

    options: Options
    clock: Clock
    world: World
    faults: Faults = field(default_factory=Faults)
    counters: Counters = field(default_factory=Counters)
    spellings: set[str] = field(default_factory=set)
    _parts: dict[Any, Any] = field(default_factory=dict)

    @classmethod
    def begin(cls, options: Options, clock: Clock) -> "State":
        """Make the state that a simulator with these options starts in."""
        world = World(options.seed, clock, options.fleet, options.account, options.other_account)
        state = cls(options=options, clock=clock, world=world, spellings=set(options.spellings))
        state.faults.describe(SPELLINGS)
        return state

    def spells(self, name: str, *, device: str | tuple[str, ...] | None = None, account: str | None = None) -> bool:
        """Say whether an alternative spelling holds: switched on for good, or asked for by a pending fault."""
        return name in self.spellings or self.faults.take(name, device=device, account=account) is not None

    def part(self, make: "Callable[[State], T]") -> T:
        """Return what one vendor's side keeps for itself, made from this state when first asked for."""
        if make not in self._parts:
            self._parts[make] = make(self)
        return cast("T", self._parts[make])
