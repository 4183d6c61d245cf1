"""What was asked of the simulator, counted, so that tests can prove what was not."""

from collections import Counter
from typing import Any


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
