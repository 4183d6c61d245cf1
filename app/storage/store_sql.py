"""The statement that stores a batch: callbacks, reports, latest positions, session counts and aliases at once.

One statement is one round trip and one commit. Rows come as JSON, which Postgres opens faster than arrays; callback
bodies come as bytes, because they need not be text.
"""

PLAN_BY_INDEX = "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off"
"""Prepares a connection for these statements.

Each row of a batch is looked up by an index. A plan made while the tables were empty would read them whole, and be
kept long after they have grown.
"""

STORE = """
WITH arrived AS (
    INSERT INTO callbacks (received_at, id, provider, account, service, state, signature, reason, flags, body)
    SELECT
        c.received_at, c.id, c.provider, c.account, c.service, c.state, c.signature, c.reason, c.flags,
        ($3::bytea[])[c.ordinality]
    FROM ROWS FROM (
        json_to_recordset($2::json) AS (
            received_at timestamptz, id uuid, provider text, account text, service text, state text,
            signature text, reason text, flags text[]
        )
    ) WITH ORDINALITY AS c (
        received_at, id, provider, account, service, state, signature, reason, flags, ordinality
    )
    ON CONFLICT DO NOTHING
), said AS (
    SELECT r.*, s.id AS session_id, s.ended_at IS NOT NULL AND s.ended_at < r.received_at AS after_end
    FROM json_to_recordset($1::json) AS r (
        at timestamptz, id uuid, provider text, type text, status text, account text, transaction_id text,
        device text, device_kind text, mdn text, name text, latitude float8, longitude float8, accuracy_m float8,
        confidence_pct int, source text, cached bool, error_type text, error_info text, error_at timestamptz,
        flags text[], kind_in_words text, received_at timestamptz, callback_id uuid, raw text
    )
    LEFT JOIN session_transactions AS t ON t.transaction_id = r.transaction_id
    LEFT JOIN sessions AS s ON s.id = t.session_id
), new AS (
    INSERT INTO reports (
        at, id, provider, type, status, account, transaction_id, session_id, device, device_kind, mdn, name,
        latitude, longitude, accuracy_m, confidence_pct, source, cached, error_type, error_info, error_at,
        flags, kind_in_words, received_at, callback_id, raw
    )
    SELECT
        at, id, provider, type, status, account, transaction_id, session_id, device, device_kind, mdn, name,
        latitude, longitude, accuracy_m, confidence_pct, source, cached, error_type, error_info, error_at,
        CASE WHEN after_end AND type = 'location' THEN array_append(flags, 'after_end') ELSE flags END,
        kind_in_words, received_at, callback_id, raw
    FROM said
    ON CONFLICT DO NOTHING
    RETURNING at, id, provider, type, status, account, transaction_id, session_id, device, device_kind, mdn,
        latitude, longitude, received_at
), latest AS (
    INSERT INTO positions (account, device, at, report_id, provider, mdn, latitude, longitude)
    SELECT DISTINCT ON (coalesce(account, ''), device)
        coalesce(account, ''), device, at, id, provider, mdn, latitude, longitude
    FROM new
    WHERE status = 'located' AND device <> '' AND at <= received_at + interval '1 day'
    ORDER BY coalesce(account, ''), device, at DESC
    ON CONFLICT (account, device) DO UPDATE SET
        at = excluded.at, report_id = excluded.report_id, provider = excluded.provider,
        mdn = coalesce(excluded.mdn, positions.mdn), latitude = excluded.latitude, longitude = excluded.longitude
    WHERE positions.at < excluded.at
), counted AS (
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
            (array_agg(id ORDER BY at DESC) FILTER (WHERE type = 'location' AND status = 'located'))[1] AS last_id,
            min(received_at) FILTER (WHERE type = 'stopped') AS stopped_at
        FROM new WHERE session_id IS NOT NULL GROUP BY session_id, device
    ) AS n
    WHERE d.session_id = n.session_id AND d.device = n.device
), learned AS (
    INSERT INTO aliases (device, mdn, device_kind, learned_at)
    SELECT DISTINCT ON (device, mdn) device, mdn, device_kind, at
    FROM json_to_recordset($4::json) AS a (device text, mdn text, device_kind text, at timestamptz)
    ORDER BY device, mdn, at DESC
    ON CONFLICT (device, mdn) DO UPDATE SET learned_at = excluded.learned_at
    WHERE aliases.learned_at < excluded.learned_at
)
SELECT
    count(*) AS stored,
    array_agg(DISTINCT transaction_id) FILTER (WHERE session_id IS NULL AND transaction_id IS NOT NULL) AS unclaimed
FROM new
"""
"""Stores a batch.

Arguments: reports, callbacks and learned aliases as JSON arrays ($1, $2, $4), callback bodies in their order ($3).
Returns one row: how many reports were new, and the transaction ids that belong to no session yet.
"""

_AUDITED = """
WITH audited AS (
    INSERT INTO audit (
        at, id, key_id, request_id, action, outcome, account, device, provider, billed, report_id, session_id, subject
    )
    SELECT * FROM json_to_recordset($5::json) AS a (
        at timestamptz, id uuid, key_id text, request_id text, action text, outcome text, account text, device text,
        provider text, billed bool, report_id uuid, session_id uuid, subject text
    )
    ON CONFLICT DO NOTHING
), """
STORE_AUDITED = STORE.replace("\nWITH ", _AUDITED, 1)
"""Stores a batch and audit rows, a JSON array ($5); batches of callbacks alone need not pay for it."""

DATE_UNDATED = """
WITH given AS (
    SELECT r.hash, r.at FROM json_to_recordset($1::json) AS r (hash uuid, at timestamptz)
), first AS (
    INSERT INTO undated_reports (content_hash, at)
    SELECT DISTINCT ON (hash) hash, at FROM given ORDER BY hash, at
    ON CONFLICT (content_hash) DO UPDATE SET at = undated_reports.at
    RETURNING content_hash, at
)
SELECT content_hash, at FROM first
"""
"""Dates reports that state no time by the first arrival of the same content; takes and returns hash and instant."""

NAME_BY_MDN = """
SELECT DISTINCT ON (mdn) mdn, device, device_kind FROM aliases
WHERE mdn = ANY ($1::text[]) ORDER BY mdn, learned_at DESC
"""
"""Finds the identifiers of devices of which a report names the MDN alone."""
