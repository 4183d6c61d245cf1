"""The statement that stores a batch: callbacks, reports, events, latest positions, session counts, aliases at once.

One statement is one round trip and one commit.
"""

from functools import cache

from app.storage.counting import COUNTED
from app.storage.events.appending import TRANSACTION
from app.storage.flags import WITH_ARRIVAL, believed, of_own_account

PLAN_BY_INDEX = (
    "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off; "
    "SET plan_cache_mode = force_generic_plan"
)
"""Prepares a connection for these statements.

Each row of a batch is looked up by an index. A plan made while the tables were empty would read them whole, and be
kept long after they have grown. One plan serves all batches: planning takes a good part of a small batch's time.
"""

_STORE = """
WITH arrived AS (
    INSERT INTO callbacks (received_at, id, provider, account, service, state, signature, reason, flags, body)
    {callbacks}
    {if_repeated}
), said AS (
    SELECT r.*, s.id AS session_id, s.ended_at
    FROM ({reports}) AS r
    LEFT JOIN session_transactions AS of
        ON of.transaction_id = r.transaction_id AND of.account = r.account AND {of_own_account}
    LEFT JOIN sessions AS s ON s.id = of.session_id
), new AS (
    INSERT INTO reports (
        at, id, provider, type, status, account, transaction_id, session_id, device, device_kind, mdn, name,
        latitude, longitude, accuracy_m, confidence_pct, source, cached, error_type, error_info, error_at,
        flags, kind_in_words, received_at, callback_id, raw, qos_met
    )
    SELECT
        at, id, provider, type, status, account, transaction_id, session_id, device, device_kind, mdn, name,
        latitude, longitude, accuracy_m, confidence_pct, source, cached, error_type, error_info, error_at,
        {with_arrival},
        kind_in_words, received_at, callback_id, raw, qos_met
    FROM said
    {if_repeated}
    RETURNING at, id, provider, type, status, account, transaction_id, session_id, device, device_kind, mdn,
        latitude, longitude, flags, received_at
), latest AS (
    INSERT INTO positions (account, device, at, report_id, provider, mdn, latitude, longitude)
    SELECT DISTINCT ON (coalesce(account, ''), device)
        coalesce(account, ''), device, at, id, provider, mdn, latitude, longitude
    FROM new
    WHERE status = 'located' AND device <> '' AND {believed}
    ORDER BY coalesce(account, ''), device, at DESC
    ON CONFLICT (account, device) DO UPDATE SET
        at = excluded.at, report_id = excluded.report_id, provider = excluded.provider,
        mdn = coalesce(excluded.mdn, positions.mdn), latitude = excluded.latitude, longitude = excluded.longitude
    WHERE positions.at < excluded.at
), logged AS (
    INSERT INTO events (generation, xid, part, size, report_ids)
    SELECT {transaction}, count(*), array_agg(id) FROM new HAVING count(*) > 0
), counted AS ({counted}){learned}{audited}
SELECT
    count(*) AS stored,
    array_agg(DISTINCT transaction_id)
        FILTER (WHERE session_id IS NULL AND transaction_id IS NOT NULL AND {of_own_account}) AS unclaimed
    {then_flush}
FROM new
"""
_INSTANTS = {
    "at": "'epoch'::timestamptz + at_us * '1 us'::interval",
    "received_at": "'epoch'::timestamptz + received_us * '1 us'::interval",
}
_CALLBACKS = """
    SELECT {received_at}, id, provider, account, service, state, signature, reason, flags, body
    FROM unnest($2::new_callback[])
"""
_REPORTS = """
    SELECT
        {at} AS at, {received_at} AS received_at, id, provider, type, status, account, transaction_id, device,
        device_kind, mdn, name, latitude, longitude, accuracy_m, confidence_pct, source, cached, error_type, error_info,
        error_at, flags, kind_in_words, callback_id, raw, qos_met
    FROM unnest($1::new_report_2[])
"""
_ORDINARY_CALLBACKS = """
    SELECT {received_at}, callback_id, provider, account, service, 'stored', signature, NULL::text, NULL::text[], body
    FROM unnest(${ordinary}::new_ordinary[])
"""
_ORDINARY_REPORTS = """
    SELECT
        {at} AS at, {received_at} AS received_at, id, provider, 'location' AS type, 'located' AS status, account,
        transaction_id, device, device_kind, mdn, NULL::text AS name, latitude, longitude, accuracy_m,
        NULL::integer AS confidence_pct, source, cached, NULL::text AS error_type, NULL::text AS error_info,
        NULL::timestamptz AS error_at, NULL::text[] AS flags, kind_in_words, callback_id, NULL::text AS raw,
        NULL::boolean AS qos_met
    FROM unnest(${ordinary}::new_ordinary[])
"""
_IF_REPEATED = "ON CONFLICT DO NOTHING"
# What finds all its rows there writes nothing, and the commit of nothing waits for no flush: not even for that of the
# commit which left those rows, and whose answer was lost.
_EMIT = "pg_logical_emit_message(true, 'flush', '')"
_THEN_FLUSH = f", {_EMIT}"
_LEARNED = """, learned AS (
    INSERT INTO account_aliases (device, mdn, account, device_kind, learned_at)
    SELECT DISTINCT ON (device, mdn, account) device, mdn, account, device_kind, at
    FROM json_to_recordset(${aliases}::json) AS a (
        device text, mdn text, account text, device_kind text, at timestamptz
    )
    ORDER BY device, mdn, account, at DESC
    ON CONFLICT (device, mdn, account) DO UPDATE SET learned_at = excluded.learned_at
    WHERE account_aliases.learned_at < excluded.learned_at
)"""
_AUDITED = """, audited AS (
    INSERT INTO audit (
        at, id, key_id, request_id, action, outcome, account, device, provider, billed, report_id, session_id, subject
    )
    SELECT
        -- A replica whose clock is wrong must not date its rows to days that are dropped, or are never.
        CASE WHEN at BETWEEN now() - interval '1 hour' AND now() + interval '1 minute' THEN at ELSE now() END,
        id, key_id, request_id, action, outcome, account, device, provider, billed, report_id, session_id, subject
    FROM json_to_recordset(${audit}::json) AS a (
        at timestamptz, id uuid, key_id text, request_id text, action text, outcome text, account text, device text,
        provider text, billed bool, report_id uuid, session_id uuid, subject text
    )
    ON CONFLICT DO NOTHING
)"""


@cache
def store(
    *,
    is_special: bool,
    is_ordinary: bool,
    is_learning: bool = False,
    is_audited: bool = False,
    is_repeated: bool = False,
) -> str:
    """Write the statement that stores a batch.

    It returns one row: how many reports were new, and the transaction ids that belong to no session yet. Its parameters
    are in the order of the arguments here, each only where it is asked for.

    Args:
        is_special: Store what `arguments.of_reports` and `arguments.of_callbacks` make; two parameters.
        is_ordinary: Store what `arguments.of_ordinary` makes.
        is_learning: Store aliases as well, a JSON array; most batches of callbacks have none.
        is_audited: Store audit rows as well, a JSON array; batches of callbacks alone have none.
        is_repeated: Some of it may be stored already. Without, what is stored already makes the statement fail.
    """
    callbacks, reports = _special_and_ordinary(is_special=is_special, is_ordinary=is_ordinary)
    number = 2 * is_special + is_ordinary
    return _STORE.format(
        callbacks=callbacks,
        reports=reports,
        with_arrival=WITH_ARRIVAL,
        believed=believed("flags"),
        of_own_account=of_own_account("flags"),
        transaction=TRANSACTION,
        counted=COUNTED,
        learned=_LEARNED.format(aliases=number + 1) if is_learning else "",
        audited=_AUDITED.format(audit=number + is_learning + 1) if is_audited else "",
        if_repeated=_IF_REPEATED if is_repeated else "",
        then_flush=_THEN_FLUSH if is_repeated else "",
    )


def _special_and_ordinary(*, is_special: bool, is_ordinary: bool) -> tuple[str, str]:
    """Write where callbacks and reports come from."""
    number = 3 if is_special else 1
    special = [part.format(**_INSTANTS) for part in (_CALLBACKS, _REPORTS)]
    ordinary = [part.format(**_INSTANTS, ordinary=number) for part in (_ORDINARY_CALLBACKS, _ORDINARY_REPORTS)]
    if is_special and is_ordinary:
        # In the same order everywhere, as within each of the two.
        return f"{special[0]} UNION ALL {ordinary[0]}", f"{special[1]} UNION ALL {ordinary[1]} ORDER BY id"
    return (ordinary[0], ordinary[1]) if is_ordinary else (special[0], special[1])


FLUSH = f"SELECT {_EMIT}"
"""Commits next to nothing, and takes as long as the flush of that."""

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

FORGET_REFUSED = """
DELETE FROM account_aliases AS a USING json_to_recordset($1::json) AS r (account text, device text, mdn text)
WHERE a.account = r.account AND a.device = r.device AND a.mdn = r.mdn
"""
"""Removes pairs from the alias book."""

NAME_BY_MDN = """
SELECT DISTINCT ON (account, mdn) account, mdn, device, device_kind FROM account_aliases
WHERE mdn = ANY ($1::text[]) ORDER BY account, mdn, learned_at DESC
"""
"""Finds the identifiers of devices of which a report names the MDN alone, by account and MDN."""
