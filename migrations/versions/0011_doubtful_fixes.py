"""Fixes that earlier releases believed, and that are known to be doubtful, are flagged and answer nothing any more.

They state no time, a time of the future, an error beside the position, or ThingSpace's placeholder 0/0. Latest
positions and the last fixes of sessions that were such fixes become the newest ones that may be believed. The flag of
axes that are probably swapped gets the name that it has in public.

Nothing is locked but rows, and each step can be repeated.
"""

# ruff: noqa: S608 -- statements are put together from the constants of this module

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

CHANGES_TABLES = False

_BELIEVED = (
    "(r.flags IS NULL OR NOT r.flags && ARRAY['account_mismatch', 'error_beside_position', 'future_time', "
    "'time_unreadable', 'zero_island'])"
)
# An id is made of the milliseconds of the first arrival and of a hash of the content.
_UNDATED = """
UPDATE reports AS r SET flags = array_append(r.flags, 'time_unreadable')
FROM undated_reports AS u
WHERE r.at = u.at AND r.status = 'located' AND (r.flags @> ARRAY['time_unreadable']) IS NOT TRUE
    AND r.id = CAST(
        lpad(to_hex(round(extract(epoch FROM u.at) * 1000)::bigint), 12, '0')
        || left(replace(u.content_hash::text, '-', ''), 20) AS uuid
    )
"""
_DOUBTS = {
    "zero_island": "r.provider = 'thingspace' AND r.latitude = 0 AND r.longitude = 0",
    "error_beside_position": "r.error_type IS NOT NULL OR r.error_info IS NOT NULL",
    "future_time": "r.at > r.received_at + interval '2 minutes'",
}
_FLAG = """
UPDATE reports AS r SET flags = array_append(r.flags, '{flag}')
WHERE r.status = 'located' AND ({condition}) AND (r.flags @> ARRAY['{flag}']) IS NOT TRUE
"""
_RENAME = """
UPDATE reports SET flags = array_replace(flags, 'axes_probably_swapped', 'axes_swapped_suspected')
WHERE flags IS NOT NULL AND flags @> ARRAY['axes_probably_swapped']
"""
_NEWEST = f"""
    SELECT r.* FROM reports AS r
    WHERE r.device = {{of}}.device AND r.status = 'located' AND {_BELIEVED} AND {{more}}
    ORDER BY r.at DESC, r.id DESC LIMIT 1
"""
_POSITIONS = f"""
UPDATE positions AS p SET
    at = n.at, report_id = n.id, provider = n.provider, mdn = n.mdn, latitude = n.latitude, longitude = n.longitude
FROM positions AS d
JOIN reports AS r ON r.at = d.at AND r.id = d.report_id AND NOT {_BELIEVED}
CROSS JOIN LATERAL ({_NEWEST.format(of="d", more="coalesce(r.account, '') = d.account")}) AS n
WHERE p.account = d.account AND p.device = d.device AND p.report_id = d.report_id
"""
_NO_POSITIONS = f"""
DELETE FROM positions AS p USING reports AS r WHERE r.at = p.at AND r.id = p.report_id AND NOT {_BELIEVED}
"""
_LAST_FIXES = f"""
UPDATE session_devices AS s SET last_at = n.at, last_report_id = n.id
FROM session_devices AS d
JOIN reports AS r ON r.at = d.last_at AND r.id = d.last_report_id AND NOT {_BELIEVED}
LEFT JOIN LATERAL (
    {_NEWEST.format(of="d", more="r.session_id = d.session_id AND r.type = 'location'")}
) AS n ON true
WHERE s.session_id = d.session_id AND s.device = d.device AND s.last_report_id = d.last_report_id
"""


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute(_RENAME)
        op.execute(_UNDATED)
        for flag, condition in _DOUBTS.items():
            op.execute(_FLAG.format(flag=flag, condition=condition))
        for statement in (_POSITIONS, _NO_POSITIONS, _LAST_FIXES):
            op.execute(statement)


def downgrade() -> None:
    """Leave the flags: earlier releases show them."""
