"""How a session's counts follow its reports: one piece of SQL, for storing reports and for claiming them."""

from app.plausibility import GIVEN_UP
from app.storage.flags import believed

_LOCATED = "type = 'location' AND status = 'located'"
_FAILED = "type = 'location' AND status = 'failed'"
_GIVEN_UP = f"{_FAILED} AND flags @> ARRAY['{GIVEN_UP}']"
_STOP = "type = 'stopped' AND status"
_LAST = f"{_LOCATED} AND {believed('flags')}"

COUNTED = f"""
    UPDATE session_devices AS d SET
        received = d.received + n.received,
        failed = d.failed + n.failed,
        mdn = coalesce(n.mdn, d.mdn),
        last_report_id = CASE
            WHEN n.last_at > coalesce(d.last_at, '-infinity') THEN n.last_id ELSE d.last_report_id
        END,
        last_at = greatest(d.last_at, n.last_at),
        last_error_id = CASE
            WHEN n.last_error_at > coalesce(d.last_error_at, '-infinity') THEN n.last_error_id ELSE d.last_error_id
        END,
        last_error_at = greatest(d.last_error_at, n.last_error_at),
        -- A fix that arrives later shows that the device was not given up.
        ended_at = CASE
            WHEN n.located_at >= greatest(d.ended_at, n.ended_at) THEN NULL ELSE coalesce(d.ended_at, n.ended_at)
        END,
        stopped_at = coalesce(d.stopped_at, n.stopped_at),
        stop_failed_at = greatest(d.stop_failed_at, n.stop_failed_at),
        -- What failed to stop goes on, and can be asked again.
        stop_requested_at = CASE
            WHEN n.stop_failed_at IS NOT NULL AND coalesce(d.stopped_at, n.stopped_at) IS NULL THEN NULL
            ELSE d.stop_requested_at
        END
    FROM (
        SELECT
            session_id, device, max(mdn) AS mdn,
            count(*) FILTER (WHERE {_LOCATED}) AS received,
            count(*) FILTER (WHERE {_FAILED}) AS failed,
            max(at) FILTER (WHERE {_LAST}) AS last_at,
            -- An id begins with its time, in digits whose order is that of the texts.
            CAST(max(CAST(id AS text)) FILTER (WHERE {_LAST}) AS uuid) AS last_id,
            max(at) FILTER (WHERE {_FAILED}) AS last_error_at,
            CAST(max(CAST(id AS text)) FILTER (WHERE {_FAILED}) AS uuid) AS last_error_id,
            max(received_at) FILTER (WHERE {_LOCATED}) AS located_at,
            max(received_at) FILTER (WHERE {_GIVEN_UP}) AS ended_at,
            min(received_at) FILTER (WHERE {_STOP} <> 'failed') AS stopped_at,
            max(received_at) FILTER (WHERE {_STOP} = 'failed') AS stop_failed_at
        FROM new WHERE session_id IS NOT NULL GROUP BY session_id, device
        -- In one order everywhere, so that two that count for the same devices never deadlock.
        ORDER BY session_id, device
    ) AS n
    WHERE d.session_id = n.session_id AND d.device = n.device
"""  # noqa: S608 -- put together from our own constants
"""Adds the reports of `new`, a part of the same statement, to the counts of their sessions' devices.

`new` has the columns session_id, device, mdn, type, status, at, id, flags and received_at.
"""
