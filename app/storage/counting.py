"""How a session's counts follow its reports: one piece of SQL for those who store reports and those who claim them."""

from app.storage.believed import believed

_LOCATED = "type = 'location' AND status = 'located'"
_LAST = f"{_LOCATED} AND {believed('flags')}"

COUNTED = f"""
    UPDATE session_devices AS d SET
        received = d.received + n.received,
        failed = d.failed + n.failed,
        mdn = coalesce(d.mdn, n.mdn),
        last_report_id = CASE
            WHEN n.last_at > coalesce(d.last_at, '-infinity') THEN n.last_id ELSE d.last_report_id
        END,
        last_at = greatest(d.last_at, n.last_at),
        stopped_at = coalesce(d.stopped_at, n.stopped_at)
    FROM (
        SELECT
            session_id, device, max(mdn) AS mdn,
            count(*) FILTER (WHERE {_LOCATED}) AS received,
            count(*) FILTER (WHERE type = 'location' AND status = 'failed') AS failed,
            max(at) FILTER (WHERE {_LAST}) AS last_at,
            -- An id begins with its time, in digits whose order is that of the texts.
            CAST(max(CAST(id AS text)) FILTER (WHERE {_LAST}) AS uuid) AS last_id,
            min(received_at) FILTER (WHERE type = 'stopped') AS stopped_at
        FROM new WHERE session_id IS NOT NULL GROUP BY session_id, device
        -- In one order everywhere, so that two who count for the same devices never wait for each other in a circle.
        ORDER BY session_id, device
    ) AS n
    WHERE d.session_id = n.session_id AND d.device = n.device
"""  # noqa: S608 -- put together from our own constants
"""Adds the reports of `new`, a part of the same statement, to the counts of their sessions' devices.

`new` has the columns session_id, device, mdn, type, status, at, id, flags and received_at.
"""
