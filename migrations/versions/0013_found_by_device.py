"""Sessions are found by their devices, and audit rows by their sessions.

The indexes are built without keeping anybody from writing, that of the audit trail partition by partition; where that
is interrupted, it begins anew.
"""

from alembic import context, op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_NAME = "ix_audit_session"
_WHAT = "(session_id, at, id) WHERE session_id IS NOT NULL"
_UNINDEXED = f"""
SELECT partition.oid::regclass::text FROM pg_inherits JOIN pg_class AS partition ON partition.oid = inhrelid
WHERE inhparent = 'audit'::regclass AND NOT EXISTS (
    SELECT FROM pg_index JOIN pg_inherits AS part ON part.inhrelid = indexrelid
    WHERE indrelid = partition.oid AND part.inhparent = '{_NAME}'::regclass
)
"""  # noqa: S608 -- our own constant


def upgrade() -> None:
    if context.is_offline_mode():
        op.execute("CREATE INDEX ix_session_devices_device ON session_devices (device)")
        op.execute(f"CREATE INDEX {_NAME} ON audit {_WHAT}")
        return
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_session_devices_device")
        op.execute("CREATE INDEX CONCURRENTLY ix_session_devices_device ON session_devices (device)")
        op.execute(f"CREATE INDEX IF NOT EXISTS {_NAME} ON ONLY audit {_WHAT}")
        for partition in op.get_bind().exec_driver_sql(_UNINDEXED).scalars().all():
            part = f"{partition}_session"
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {part}")
            op.execute(f"CREATE INDEX CONCURRENTLY {part} ON {partition} {_WHAT}")
            op.execute(f"ALTER INDEX {_NAME} ATTACH PARTITION {part}")


def downgrade() -> None:
    op.execute(f"DROP INDEX {_NAME}")
    op.execute("DROP INDEX ix_session_devices_device")
