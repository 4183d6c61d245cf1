"""What the database says about a report's flags: those that its arrival adds, and the rule of `app.plausibility`."""

from datetime import timedelta

from app.plausibility import AFTER_END, CLOCK_SKEW, DOUBTS, FUTURE_TIME, LATE, LATE_AFTER, OTHER_ACCOUNT

_DOUBTS = ", ".join(f"'{flag}'" for flag in sorted(DOUBTS))


def believed(flags: str) -> str:
    """Write the condition that the fix of a report may be believed.

    Args:
        flags: The column.
    """
    return f"({flags} IS NULL OR NOT {flags} && ARRAY[{_DOUBTS}])"


def of_own_account(flags: str) -> str:
    """Write the condition that a report came to the address of the account that it names.

    Args:
        flags: The column.
    """
    return f"({flags} IS NULL OR NOT {flags} @> ARRAY['{OTHER_ACCOUNT}'])"


def untimely(row: str = "") -> str:
    """Write the condition that a report arrived long after its time, or before it.

    The partial index on arrivals has exactly this condition, so that it is used.

    Args:
        row: The alias of the table with a dot, or nothing.
    """
    delay = f"{row}received_at - {row}at"
    return f"({delay} > {_interval(LATE_AFTER)} OR {delay} < {_interval(-CLOCK_SKEW)})"


def _interval(length: timedelta) -> str:
    return f"interval '{length.total_seconds():.0f} seconds'"


# Concatenation treats NULL as no flags, on either side. A fix from the vendor's cache is old, and not late.
WITH_ARRIVAL = f"""
    flags
    || CASE
        WHEN at > received_at + {_interval(CLOCK_SKEW)} AND (flags @> ARRAY['{FUTURE_TIME}']) IS NOT TRUE
            THEN ARRAY['{FUTURE_TIME}']
    END
    || CASE
        WHEN type = 'location' AND ended_at < received_at THEN ARRAY['{AFTER_END}', '{LATE}']
        WHEN callback_id IS NOT NULL AND cached IS NOT TRUE AND received_at > at + {_interval(LATE_AFTER)}
            THEN ARRAY['{LATE}']
    END
"""
"""The flags of a report that is being stored, given its columns and the `ended_at` of its session."""

WITH_CLAIM = f"""
    r.flags || CASE WHEN r.type = 'location' AND s.ended_at < r.received_at
        THEN ARRAY['{AFTER_END}'] || CASE WHEN r.flags @> ARRAY['{LATE}'] THEN NULL ELSE ARRAY['{LATE}'] END
    END
"""
"""The flags of a stored report `r` that is assigned to its session `s`."""
