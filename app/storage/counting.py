"""How a session's counts follow its reports: one piece of SQL for those who store reports and those who claim them."""

COUNTED = """
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
            count(*) FILTER (WHERE type = 'location' AND status = 'located') AS received,
            count(*) FILTER (WHERE type = 'location' AND status = 'failed') AS failed,
            max(at) FILTER (WHERE type = 'location' AND status = 'located') AS last_at,
            -- An id begins with its time, in digits whose order is that of the texts.
            CAST(max(CAST(id AS text)) FILTER (WHERE type = 'location' AND status = 'located') AS uuid) AS last_id,
            min(received_at) FILTER (WHERE type = 'stopped') AS stopped_at
        FROM new WHERE session_id IS NOT NULL GROUP BY session_id, device
        -- In one order everywhere, so that two who count for the same devices never wait for each other in a circle.
        ORDER BY session_id, device
    ) AS n
    WHERE d.session_id = n.session_id AND d.device = n.device
"""
"""Adds the reports of `new`, a part of the same statement, to the counts of their sessions' devices.

`new` has the columns session_id, device, mdn, type, status, at, id and received_at.
"""
