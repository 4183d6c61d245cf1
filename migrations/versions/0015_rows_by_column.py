"""What the writer stores travels as rows of types with today's names.

The types `new_report_2` and `new_ordinary` stay for gateways of the release before that still run; the next release
drops them.
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE TYPE new_report_26 AS ("
        "at_us bigint, received_us bigint, id uuid, account text, device text, device_kind text, mdn text, name text, "
        "flags text[], callback_id uuid, raw text, provider text, type text, status text, transaction_id text, "
        "vendor_type text, latitude double precision, longitude double precision, accuracy_m double precision, "
        "confidence_pct integer, source text, cached boolean, qos_met boolean, error_type text, error_info text, "
        "error_at timestamp with time zone)"
    )
    op.execute(
        "CREATE TYPE new_simple_fix AS ("
        "at_us bigint, received_us bigint, id uuid, callback_id uuid, provider text, account text, service text, "
        "signature text, transaction_id text, device text, device_kind text, mdn text, latitude double precision, "
        "longitude double precision, accuracy_m double precision, source text, cached boolean, vendor_type text, "
        "body bytea)"
    )


def downgrade() -> None:
    op.execute("DROP TYPE new_simple_fix")
    op.execute("DROP TYPE new_report_26")
