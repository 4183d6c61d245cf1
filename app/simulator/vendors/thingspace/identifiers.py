"""Tokens and transaction ids: different in every run, but the same in two runs with the same seed and clock."""

from collections import Counter
from uuid import UUID

from app.simulator.state import State
from app.simulator.world.ground import dice


class Identifiers:
    """Makes identifiers from the seed and the instant at which the simulator started."""

    def __init__(self, state: State) -> None:
        # Without the instant, a restarted simulator would hand out the transaction ids of its previous life,
        # which its clients have kept.
        self._root = f"{state.options.seed}|{state.clock.now().isoformat()}"
        self._made: Counter[str] = Counter()

    def guid(self, kind: str) -> str:
        """Return a new random-looking UUID."""
        self._made[kind] += 1
        number = self._made[kind]
        high, low = dice(self._root, kind, number, "high"), dice(self._root, kind, number, "low")
        return str(UUID(int=(high << 64) | low, version=4))

    def secret(self, kind: str) -> str:
        """Return 32 new hexadecimal digits."""
        return self.guid(kind).replace("-", "")
