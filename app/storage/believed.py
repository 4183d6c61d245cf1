"""The rule of `app.plausibility` as a condition of SQL."""

from app.plausibility import DOUBTS

_DOUBTS = ", ".join(f"'{flag}'" for flag in sorted(DOUBTS))


def believed(flags: str) -> str:
    """Write the condition that the fix of a report may be believed; `flags` is the column."""
    return f"({flags} IS NULL OR NOT {flags} && ARRAY[{_DOUBTS}])"
