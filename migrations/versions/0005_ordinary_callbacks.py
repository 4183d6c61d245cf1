"""Ordinary callbacks travel as rows of a type of their own, which holds the callback and its one report.

A type is never changed while gateways are running that know it: what needs another column gets another type.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE TYPE new_ordinary AS ("
        "at_us bigint, received_us bigint, id uuid, callback_id uuid, provider text, account text, service text, "
        "signature text, transaction_id text, device text, device_kind text, mdn text, latitude double precision, "
        "longitude double precision, accuracy_m double precision, source text, cached boolean, kind_in_words text, "
        "body bytea)"
    )


def downgrade() -> None:
    op.execute("DROP TYPE new_ordinary")
