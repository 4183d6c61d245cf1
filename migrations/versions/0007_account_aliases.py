"""The alias book belongs to accounts, and keeps only what a provider has said itself.

Pairs for which there is no provider's word go; they come back with the next answer or callback. The former table stays
for gateways of the release before that still run: it takes their rows without keeping them, and the next release drops
it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# A callback that names another account than its token's vouches for nothing.
_CONFIRMED = """
INSERT INTO account_aliases (device, mdn, account, device_kind, learned_at)
SELECT a.device, a.mdn, r.account, a.device_kind, a.learned_at
FROM aliases AS a
CROSS JOIN LATERAL (
    SELECT account FROM reports
    WHERE device = a.device AND mdn = a.mdn AND callback_id IS NOT NULL AND account IS NOT NULL
        AND NOT coalesce('account_mismatch' = ANY (flags), false)
    ORDER BY at DESC, id DESC LIMIT 1
) AS r
"""
_RESTORED = """
INSERT INTO aliases (device, mdn, device_kind, learned_at)
SELECT DISTINCT ON (device, mdn) device, mdn, device_kind, learned_at
FROM account_aliases ORDER BY device, mdn, learned_at DESC
"""


def upgrade() -> None:
    op.create_table(
        "account_aliases",
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("mdn", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("device_kind", sa.Text(), nullable=False),
        sa.Column("learned_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("device", "mdn", "account", name=op.f("pk_account_aliases")),
    )
    op.create_index(op.f("ix_account_aliases_mdn"), "account_aliases", ["mdn"], unique=False)
    op.execute(_CONFIRMED)
    op.execute("DELETE FROM aliases")
    op.execute("CREATE FUNCTION keep_nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$")
    op.execute("CREATE TRIGGER keep_nothing BEFORE INSERT ON aliases FOR EACH ROW EXECUTE FUNCTION keep_nothing()")


def downgrade() -> None:
    op.execute("DROP TRIGGER keep_nothing ON aliases")
    op.execute("DROP FUNCTION keep_nothing()")
    op.execute(_RESTORED)
    op.drop_table("account_aliases")
