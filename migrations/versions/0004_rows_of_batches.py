"""What the writer stores travels as rows of these types.

A type is never changed while gateways are running that know it: what needs another column gets another type.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE TYPE new_report AS ("
        "at_us bigint, received_us bigint, id uuid, provider text, type text, status text, account text, "
        "transaction_id text, device text, device_kind text, mdn text, name text, latitude double precision, "
        "longitude double precision, accuracy_m double precision, confidence_pct integer, source text, cached boolean, "
        "error_type text, error_info text, error_at timestamp with time zone, flags text[], kind_in_words text, "
        "callback_id uuid, raw text)"
    )
    op.execute(
        "CREATE TYPE new_callback AS ("
        "received_us bigint, body bytea, id uuid, provider text, account text, service text, state text, "
        "signature text, reason text, flags text[])"
    )


def downgrade() -> None:
    op.execute("DROP TYPE new_callback")
    op.execute("DROP TYPE new_report")
