"""What the database says about a report's flags: those that its arrival adds, and the rule of `app.plausibility`."""

from datetime import timedelta

from app.plausibility import (
    AFTER_END,
    CLOCK_SKEW,
    DOUBTS,
    FASTEST_M_PER_S,
    FUTURE_TIME,
    IMPLAUSIBLE_SPEED,
    LATE,
    LATE_AFTER,
    OTHER_ACCOUNT,
    STALE,
    STALE_AFTER,
    ZERO_ACCURACY,
)

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


_EARTH_RADIUS_M = 6_371_008.8
_LONGEST_DEGREE_M = 111_700
_TIME_RESOLUTION_S = 1

_DISTANCE_M = f"""
    2 * {_EARTH_RADIUS_M} * asin(sqrt(least(1,
        sind((latitude - before_latitude) / 2) ^ 2
        + cosd(latitude) * cosd(before_latitude) * sind((longitude - before_longitude) / 2) ^ 2
    )))
"""
_WAY_M = f"{FASTEST_M_PER_S} * (abs(extract(epoch FROM at - before_at)::float8) + {_TIME_RESOLUTION_S})"
# The first comparison costs next to nothing, and settles it for whatever moves as things do.
_IS_TOO_FAST = f"""
    (abs(latitude - before_latitude) + abs(longitude - before_longitude)) * {_LONGEST_DEGREE_M} > {_WAY_M}
    AND {_DISTANCE_M} - coalesce(accuracy_m, 0) - coalesce(before_accuracy_m, 0) > {_WAY_M}
"""

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
    || CASE WHEN latitude IS NOT NULL AND received_at > at + {_interval(STALE_AFTER)} THEN ARRAY['{STALE}'] END
    || CASE WHEN accuracy_m = 0 AND latitude IS NOT NULL THEN ARRAY['{ZERO_ACCURACY}'] END
    || CASE WHEN {_IS_TOO_FAST} THEN ARRAY['{IMPLAUSIBLE_SPEED}'] END
"""
"""The flags of a report that is being stored, given its columns, the `ended_at` of its session, and the device's latest
position before (`before_at`, `before_latitude`, …)."""

WITH_CLAIM = f"""
    r.flags || CASE WHEN r.type = 'location' AND s.ended_at < r.received_at
        THEN ARRAY['{AFTER_END}'] || CASE WHEN r.flags @> ARRAY['{LATE}'] THEN NULL ELSE ARRAY['{LATE}'] END
    END
"""
"""The flags of a stored report `r` that is assigned to its session `s`."""
