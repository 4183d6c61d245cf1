"""The counts of sessions become running sums: how many of their devices stand alike, and what these have reported.

Triggers append what each statement changes, whoever runs it, gateways of the release before included, so that no two
wait for each other. The sums of each session are begun in a statement of its own, which sees its devices and what was
appended as they were at one moment; where that is interrupted, it begins anew.
"""

# ruff: noqa: S608 -- statements are put together from the constants of this module

import sqlalchemy as sa
from alembic import context, op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_FOLD_LOCK = 0x74616C6C696573
_COLUMNS = "session_id, stops_at, has_stopped, has_ended, came, devices, received, failed"
_CLASS = (
    "session_id, coalesce(stop_requested_at, stopped_at), stopped_at IS NOT NULL, ended_at IS NOT NULL, "
    "received + failed"
)
_ADDED = f"SELECT {_CLASS}, count(*), sum(received), sum(failed) FROM {{rows}} GROUP BY 1, 2, 3, 4, 5"
_TAKEN = f"SELECT {_CLASS}, -count(*), -sum(received), -sum(failed) FROM old_rows GROUP BY 1, 2, 3, 4, 5"
_FUNCTION = f"""
CREATE FUNCTION tally_session_devices() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO session_tallies ({_COLUMNS}) {_ADDED.format(rows="new_rows")};
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO session_tallies ({_COLUMNS}) {_TAKEN};
    ELSIF EXISTS (SELECT FROM new_rows) THEN
        INSERT INTO session_tallies ({_COLUMNS})
        SELECT {_CLASS}, sum(sign), sum(sign * received), sum(sign * failed)
        FROM (SELECT -1 AS sign, o.* FROM old_rows AS o UNION ALL SELECT 1, n.* FROM new_rows AS n) AS changed
        GROUP BY 1, 2, 3, 4, 5
        HAVING sum(sign) <> 0 OR sum(sign * received) <> 0 OR sum(sign * failed) <> 0;
    END IF;
    RETURN NULL;
END
$$
"""
_TRIGGERS = {
    "INSERT": "REFERENCING NEW TABLE AS new_rows",
    "UPDATE": "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
    "DELETE": "REFERENCING OLD TABLE AS old_rows",
}
_BEGIN = f"""
WITH gone AS (DELETE FROM session_tallies WHERE session_id = '{{session_id}}')
INSERT INTO session_tallies ({_COLUMNS}, is_change)
SELECT *, false FROM ({_ADDED.format(rows="session_devices WHERE session_id = '{session_id}'")}) AS sums
"""


def upgrade() -> None:
    op.create_table(
        "session_tallies",
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("stops_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("has_stopped", sa.Boolean(), nullable=False),
        sa.Column("has_ended", sa.Boolean(), nullable=False),
        sa.Column("came", sa.Integer(), nullable=False),
        sa.Column("devices", sa.Integer(), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.BigInteger(), nullable=False),
        sa.Column("is_change", sa.Boolean(), server_default=sa.true(), nullable=False),
        if_not_exists=True,
    )
    op.create_index("ix_session_tallies_session_id", "session_tallies", ["session_id"], if_not_exists=True)
    op.create_index(
        "ix_session_tallies_changes",
        "session_tallies",
        ["session_id"],
        postgresql_where=sa.text("is_change"),
        if_not_exists=True,
    )
    op.execute(_FUNCTION.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))
    for event, rows in _TRIGGERS.items():
        name = f"session_devices_are_tallied_on_{event.lower()}"
        op.execute(f"DROP TRIGGER IF EXISTS {name} ON session_devices")
        op.execute(
            f"CREATE TRIGGER {name} AFTER {event} ON session_devices {rows} "
            "FOR EACH STATEMENT EXECUTE FUNCTION tally_session_devices()"
        )
    index = "INDEX {} ix_session_devices_failed_stops ON session_devices (session_id) WHERE stop_failed_at IS NOT NULL"
    if context.is_offline_mode():
        op.execute(f"INSERT INTO session_tallies ({_COLUMNS}) {_ADDED.format(rows='session_devices')}")
        op.execute(f"CREATE {index.format('')}")
        return
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_session_devices_failed_stops")
        op.execute(f"CREATE {index.format('CONCURRENTLY')}")
        # Nobody may fold what is being begun.
        op.execute(f"SELECT pg_advisory_lock({_FOLD_LOCK})")
        for session_id in op.get_bind().exec_driver_sql("SELECT id FROM sessions").scalars().all():
            op.execute(_BEGIN.format(session_id=session_id))
        op.execute(f"SELECT pg_advisory_unlock({_FOLD_LOCK})")


def downgrade() -> None:
    for event in _TRIGGERS:
        op.execute(f"DROP TRIGGER session_devices_are_tallied_on_{event.lower()} ON session_devices")
    op.execute("DROP FUNCTION tally_session_devices()")
    op.drop_table("session_tallies")
    op.drop_index("ix_session_devices_failed_stops", "session_devices")
