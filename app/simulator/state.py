"""All that one simulator knows; what its routes are given."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from app.simulator.counters import Counters
from app.simulator.faults import Faults
from app.simulator.options import SPELLINGS, Options
from app.simulator.world.clock import Clock
from app.simulator.world.world import World

T = TypeVar("T")


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
