"""The ground of the simulated world: a box of the Earth, places in it, and choices that depend on their names alone."""

import hashlib
import math
from dataclasses import dataclass

NORTH, SOUTH, EAST, WEST = 40.95, 40.55, -73.75, -74.35
"""The box in which everything lies: New York and the New Jersey side of the Hudson."""

METRES_PER_DEGREE = 111_320.0


@dataclass(frozen=True, slots=True)
class Position:
    """A place on the ground, in degrees of WGS 84."""

    latitude: float
    longitude: float


def dice(*parts: object) -> int:
    """Return 64 bits that depend on the parts alone."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "big")


def fraction(*parts: object) -> float:
    """Return a number from 0 to 1, 1 excluded, that depends on the parts alone."""
    return (dice(*parts) >> 11) / (1 << 53)


def somewhere(*parts: object) -> Position:
    """Return a place inside the box that depends on the parts alone."""
    return Position(
        SOUTH + (NORTH - SOUTH) * fraction("latitude", *parts), WEST + (EAST - WEST) * fraction("longitude", *parts)
    )


def distance_m(one: Position, other: Position) -> float:
    """Return the distance over the ground; flat, which is good enough within the box."""
    north_m = (one.latitude - other.latitude) * METRES_PER_DEGREE
    east_m = (one.longitude - other.longitude) * METRES_PER_DEGREE * math.cos(math.radians(one.latitude))
    return math.hypot(north_m, east_m)


def moved(start: Position, north_m: float, east_m: float) -> Position:
    """Return the place that many metres away."""
    return Position(
        start.latitude + north_m / METRES_PER_DEGREE,
        start.longitude + east_m / (METRES_PER_DEGREE * math.cos(math.radians(start.latitude))),
    )
