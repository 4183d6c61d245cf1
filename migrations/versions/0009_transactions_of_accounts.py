"""Account and transaction together name a session: two accounts may have the same transaction id.

A trigger fills the account in for gateways of the release before, which name none.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("session_transactions", sa.Column("account", sa.Text()))
    op.execute("UPDATE session_transactions AS t SET account = s.account FROM sessions AS s WHERE s.id = t.session_id")
    op.alter_column("session_transactions", "account", nullable=False)
    op.drop_constraint("pk_session_transactions", "session_transactions")
    op.create_primary_key("pk_session_transactions", "session_transactions", ["transaction_id", "account"])
    op.execute(
        """
        CREATE FUNCTION account_of_session() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.account IS NULL THEN
                SELECT account INTO NEW.account FROM sessions WHERE id = NEW.session_id;
            END IF;
            RETURN NEW;
        END
        $$
        """
    )
    op.execute(
        "CREATE TRIGGER account_of_session BEFORE INSERT ON session_transactions "
        "FOR EACH ROW EXECUTE FUNCTION account_of_session()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER account_of_session ON session_transactions")
    op.execute("DROP FUNCTION account_of_session()")
    # One of several accounts keeps the transaction.
    op.execute(
        "DELETE FROM session_transactions AS a USING session_transactions AS b "
        "WHERE a.transaction_id = b.transaction_id AND a.account > b.account"
    )
    op.drop_constraint("pk_session_transactions", "session_transactions")
    op.create_primary_key("pk_session_transactions", "session_transactions", ["transaction_id"])
    op.drop_column("session_transactions", "account")
