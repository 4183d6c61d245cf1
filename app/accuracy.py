"""How well a position is known, at the level of confidence that a caller asks for. Pure.

A circle of another level is worked out as if the error were a circular normal distribution: the device is within the
radius r with probability 1 - exp(-r²/2s²). That holds for no provider exactly; it is the usual assumption.
"""

import math
from typing import Literal

import msgspec

from app.model import Fix

AccuracyBasis = Literal["declared", "scaled", "assumed", "unknown"]
_DIGITS = 6


class Accuracy(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The circle that holds the device.

    Attributes:
        radius_m: None if the provider states no radius.
        confidence_pct: How probable it is that the circle holds the device; None if unknown.
        basis: Where the level comes from: `declared` by the provider, `scaled` from what it declared, `assumed` by the
            operator (scaled or not), or `unknown`: the radius is the provider's number as it stands.
    """

    radius_m: float | None
    confidence_pct: int | None
    basis: AccuracyBasis

    def is_within(self, radius_m: float) -> bool:
        """Return whether the circle is no wider than this; one of unknown level is compared as it is."""
        return self.radius_m is not None and self.radius_m <= radius_m


def scaled(radius_m: float, *, from_pct: float, to_pct: float) -> float:
    """Work out the radius, in metres, of the circle that holds the device with another probability.

    Args:
        from_pct: The level of `radius_m`, between 0 and 100 exclusively, like `to_pct`.
    """
    if from_pct == to_pct:
        return radius_m
    return radius_m * math.sqrt(math.log1p(-to_pct / 100) / math.log1p(-from_pct / 100))


def accuracy_of(fix: Fix, *, wanted_pct: int | None, assumed_pct: int | None) -> Accuracy:
    """State how well a position is known.

    Args:
        wanted_pct: The level that the caller asks for, 50 to 99; None takes the provider's own.
        assumed_pct: The level that the operator assumes for a provider that declares none.
    """
    radius_m, known_pct = fix.accuracy_m, fix.confidence_pct or assumed_pct
    if radius_m is None or known_pct is None:
        return Accuracy(radius_m=radius_m, confidence_pct=None, basis="unknown")
    is_declared = fix.confidence_pct is not None
    if wanted_pct is None or wanted_pct == known_pct:
        return Accuracy(radius_m=radius_m, confidence_pct=known_pct, basis="declared" if is_declared else "assumed")
    return Accuracy(
        radius_m=round(scaled(radius_m, from_pct=known_pct, to_pct=wanted_pct), _DIGITS),
        confidence_pct=wanted_pct,
        basis="scaled" if is_declared else "assumed",
    )
