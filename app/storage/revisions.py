"""The revisions of the schema, in order, and the steps from one to another."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from alembic.script import ScriptDirectory

from app.errors import IncompatibleState, InvalidArgument

_PACKAGE = Path(__file__).parents[1]
MIGRATIONS = next(place for place in (_PACKAGE / "migrations", _PACKAGE.parent / "migrations") if place.is_dir())
"""Within the package where it is installed, beside it in the repository."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The steps from one revision to another.

    Attributes:
        start: Where it begins; None before the first revision.
        end: Where it ends, likewise.
        steps: The revisions that are applied, or undone, in this order.
        is_upgrade: Whether they are applied.
    """

    start: str | None
    end: str | None
    steps: tuple[str, ...]
    is_upgrade: bool

    @property
    def applied(self) -> tuple[str, ...]:
        """The revisions that are applied."""
        return self.steps if self.is_upgrade else ()

    @property
    def undone(self) -> tuple[str, ...]:
        """The revisions that are undone."""
        return () if self.is_upgrade else self.steps


@cache
def known_revisions() -> tuple[str, ...]:
    """List the revisions of this release, oldest first."""
    scripts = ScriptDirectory(str(MIGRATIONS))
    return tuple(reversed([script.revision for script in scripts.walk_revisions()]))


def is_older(revision: str | None) -> bool:
    """Check whether a revision, or None before the first migration, lacks something that this release needs.

    A revision that this release does not know counts as newer: a newer release made it, during a rolling update.
    """
    return revision is None or revision in known_revisions()[:-1]


def is_known(target: str) -> bool:
    """Check that a target is `head`, `base`, a revision, or a number of steps such as -1."""
    return target in {"head", "base", *known_revisions()} or _steps(target) is not None


def route(current: str | None, target: str) -> Route:
    """Find the steps from the current revision to a target.

    Raises:
        InvalidArgument: There is no such revision.
        IncompatibleState: A newer release made the current revision, and only that release can undo it.
    """
    known = known_revisions()
    if current is not None and current not in known:
        if target == "head":
            return Route(start=current, end=current, steps=(), is_upgrade=True)
        raise IncompatibleState(
            f"The database is at revision {current}, which a newer release made; only that release can undo it."
        )
    start = 0 if current is None else known.index(current) + 1
    end = _place_of(target, start, known)
    if end < start:
        steps, is_upgrade = tuple(reversed(known[end:start])), False
    else:
        steps, is_upgrade = known[start:end], True
    return Route(start=current, end=known[end - 1] if end else None, steps=steps, is_upgrade=is_upgrade)


def _place_of(target: str, start: int, known: Sequence[str]) -> int:
    """Count the revisions that are applied at a target."""
    match target:
        case "head":
            return len(known)
        case "base":
            return 0
        case _ if target in known:
            return known.index(target) + 1
    steps = _steps(target)
    if steps is None or not 0 <= start + steps <= len(known):
        raise InvalidArgument(f"There is no revision {target}; there are: base, {', '.join(known)} (head).")
    return start + steps


def _steps(target: str) -> int | None:
    is_relative = target[:1] in {"+", "-"} and target[1:].isdecimal()
    return int(target) if is_relative else None
