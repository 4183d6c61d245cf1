"""A device of a session can be given up by its provider, and a stop can fail; both are shown, with the last error."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_COLUMNS = ("ended_at", "stop_failed_at", "last_error_at")


def upgrade() -> None:
    for name in _COLUMNS:
        op.add_column("session_devices", sa.Column(name, sa.DateTime(timezone=True)))
    op.add_column("session_devices", sa.Column("last_error_id", sa.Uuid()))


def downgrade() -> None:
    for name in (*_COLUMNS, "last_error_id"):
        op.drop_column("session_devices", name)
