"""Reports keep whether the provider met the accuracy that it was asked for, and travel as rows of a type with that.

The type `new_report` stays for gateways of the release before that still run; the next release drops it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("reports", sa.Column("qos_met", sa.Boolean()))
    op.execute(
        "CREATE TYPE new_report_2 AS ("
        "at_us bigint, received_us bigint, id uuid, provider text, type text, status text, account text, "
        "transaction_id text, device text, device_kind text, mdn text, name text, latitude double precision, "
        "longitude double precision, accuracy_m double precision, confidence_pct integer, source text, cached boolean, "
        "error_type text, error_info text, error_at timestamp with time zone, flags text[], kind_in_words text, "
        "callback_id uuid, raw text, qos_met boolean)"
    )


def downgrade() -> None:
    op.execute("DROP TYPE new_report_2")
    op.drop_column("reports", "qos_met")
