"""The log of events: a row for each commit that stores reports, and one for each other thing that happened.

Readers tell what they have seen by transaction numbers, which only rise within one life of a database cluster: they
begin anew where a dump is restored, and go back a little where a standby takes over that lacks the last commits. So
each life is a generation of its own, known by the cluster's identifier and its timeline; whatever is written first in a
new one begins it. A connection lives in one generation, and asks once.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "event_generations",
        sa.Column("generation", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("life", sa.Text(), nullable=False),
        sa.Column("dropped_xid", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("generation", name=op.f("pk_event_generations")),
    )
    op.execute(
        """
        CREATE FUNCTION event_generation() RETURNS bigint LANGUAGE plpgsql AS $$
        DECLARE
            known text := current_setting('gateway.event_generation', true);
            present text := 'unknown';
            newest event_generations;
        BEGIN
            IF known <> '' THEN
                RETURN known;
            END IF;
            IF pg_is_in_recovery() THEN
                RAISE EXCEPTION 'a standby takes no events' USING ERRCODE = 'read_only_sql_transaction';
            END IF;
            BEGIN
                SELECT system_identifier || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8)
                INTO present FROM pg_control_system();
            EXCEPTION WHEN OTHERS THEN
                -- Some managed servers tell neither; there the numbers survive whatever happens to the machine.
                present := 'unknown';
            END;
            SELECT * INTO newest FROM event_generations ORDER BY generation DESC LIMIT 1;
            IF newest.life IS DISTINCT FROM present THEN
                PERFORM pg_advisory_xact_lock(hashtextextended('gateway event_generation', 0));
                SELECT * INTO newest FROM event_generations ORDER BY generation DESC LIMIT 1;
            END IF;
            IF newest.life IS DISTINCT FROM present THEN
                -- The number is a time, so that no other database has the same.
                INSERT INTO event_generations (generation, life) VALUES (
                    greatest(newest.generation + 1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint), present
                ) RETURNING * INTO newest;
            END IF;
            PERFORM set_config('gateway.event_generation', newest.generation::text, false);
            RETURN newest.generation;
        END
        $$
        """
    )
    op.execute("CREATE SEQUENCE event_parts")
    op.create_table(
        "events",
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("xid", sa.BigInteger(), nullable=False),
        sa.Column("part", sa.BigInteger(), nullable=False),
        sa.Column("stored_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("size", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("report_ids", sa.ARRAY(sa.Uuid()), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=True),
        sa.Column("type", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("account", sa.Text(), nullable=True),
        sa.Column("session_id", sa.Uuid(), nullable=True),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.PrimaryKeyConstraint("generation", "xid", "part", "stored_at", name=op.f("pk_events")),
        postgresql_partition_by="RANGE (stored_at)",
    )
    op.create_index("ix_events_id", "events", ["id"], postgresql_where=sa.text("id IS NOT NULL"))
    # Ids do not get any smaller by trying.
    op.execute("ALTER TABLE events ALTER COLUMN report_ids SET STORAGE EXTERNAL")
    op.execute("CREATE TABLE events_default PARTITION OF events DEFAULT")


def downgrade() -> None:
    op.drop_table("events")
    op.execute("DROP SEQUENCE event_parts")
    op.execute("DROP FUNCTION event_generation()")
    op.drop_table("event_generations")
