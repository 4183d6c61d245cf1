"""Amounts that come with faults; anything may have been put on the board, so what is no amount counts as none."""

from app.simulator.faults import Fault


def amount(fault: Fault, usual: float) -> float:
    """Return the number that a fault was given, or the usual one."""
    value = fault.value
    return value if isinstance(value, int | float) and not isinstance(value, bool) else usual
