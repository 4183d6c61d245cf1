"""Sessions, listeners and providers say what the log of events was told of them, so that each change is told once.

What has happened until now counts as told.
"""

import sqlalchemy as sa
from alembic import context, op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_INDEXES = {
    "ix_sessions_untold": "told_state IS DISTINCT FROM state AND state NOT IN ('requested', 'unknown')",
    "ix_sessions_overdue": "is_told_overdue",
}


def upgrade() -> None:
    op.add_column("sessions", sa.Column("told_state", sa.Text()), if_not_exists=True)
    op.add_column(
        "sessions",
        sa.Column("is_told_overdue", sa.Boolean(), server_default=sa.false(), nullable=False),
        if_not_exists=True,
    )
    op.add_column(
        "listeners", sa.Column("is_lost", sa.Boolean(), server_default=sa.false(), nullable=False), if_not_exists=True
    )
    op.create_table(
        "provider_states",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("is_degraded", sa.Boolean(), nullable=False),
        sa.Column("degraded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("provider", name=op.f("pk_provider_states")),
        if_not_exists=True,
    )
    op.execute("UPDATE sessions SET told_state = state WHERE told_state IS NULL")
    if context.is_offline_mode():
        for name, condition in _INDEXES.items():
            op.execute(f"CREATE INDEX {name} ON sessions (id) WHERE {condition}")
        return
    with op.get_context().autocommit_block():
        for name, condition in _INDEXES.items():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON sessions (id) WHERE {condition}")


def downgrade() -> None:
    op.drop_table("provider_states")
    op.drop_column("listeners", "is_lost")
    for name in _INDEXES:
        op.drop_index(name, "sessions")
    op.drop_column("sessions", "is_told_overdue")
    op.drop_column("sessions", "told_state")
