"""Reports are found by the caller's name for a device, by their flags, and, where that was untimely, by their arrival.

All three indexes are partial: what a callback brings in time, and without a flag, is in none of them. They are built
partition by partition without keeping anybody from writing; where that is interrupted, it begins anew.
"""

from alembic import context, op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_INDEXES = {
    "ix_reports_name": "(name, at, id) WHERE name IS NOT NULL",
    "ix_reports_flagged": "(at, id) WHERE flags IS NOT NULL",
    "ix_reports_untimely": (
        "(received_at) WHERE received_at - at > interval '3600 seconds' OR received_at - at < interval '-120 seconds'"
    ),
}
_UNINDEXED = """
SELECT partition.oid::regclass::text FROM pg_inherits JOIN pg_class AS partition ON partition.oid = inhrelid
WHERE inhparent = 'reports'::regclass AND NOT EXISTS (
    SELECT FROM pg_index JOIN pg_inherits AS part ON part.inhrelid = indexrelid
    WHERE indrelid = partition.oid AND part.inhparent = '{name}'::regclass
)
"""


def upgrade() -> None:
    if context.is_offline_mode():
        for name, what in _INDEXES.items():
            op.execute(f"CREATE INDEX {name} ON reports {what}")
        return
    with op.get_context().autocommit_block():
        for name, what in _INDEXES.items():
            op.execute(f"CREATE INDEX IF NOT EXISTS {name} ON ONLY reports {what}")
            for partition in op.get_bind().exec_driver_sql(_UNINDEXED.format(name=name)).scalars().all():
                part = f"{partition}_{name.removeprefix('ix_reports_')}"
                op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {part}")
                op.execute(f"CREATE INDEX CONCURRENTLY {part} ON {partition} {what}")
                op.execute(f"ALTER INDEX {name} ATTACH PARTITION {part}")


def downgrade() -> None:
    for name in _INDEXES:
        op.execute(f"DROP INDEX {name}")
