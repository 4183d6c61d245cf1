"""Subscriptions, and their deliveries by day."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "subscriptions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("types", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("account", sa.Text(), nullable=True),
        sa.Column("devices", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("transaction_id", sa.Text(), nullable=True),
        sa.Column("batch_events", sa.Integer(), nullable=True),
        sa.Column("batch_delay_s", sa.Double(), nullable=True),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("api_key", sa.Uuid(), nullable=True),
        sa.Column("reach_accounts", sa.ARRAY(sa.Text()), nullable=True),
        sa.Column("reach_devices", sa.ARRAY(sa.Text()), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("revision", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary(), nullable=False),
        sa.Column("former_sealed_secret", sa.LargeBinary(), nullable=True),
        sa.Column("former_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cursor", sa.Text(), nullable=False),
        sa.Column("next_place", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("slow_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_success_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_attempt", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("leader", sa.Uuid(), nullable=True),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscriptions")),
        postgresql_with={"fillfactor": "50"},
    )
    op.create_table(
        "deliveries",
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("subscription_id", sa.Uuid(), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("webhook_id", sa.Text(), nullable=False),
        sa.Column("event_ids", sa.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("devices", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("attempts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("created_at", "id", name=op.f("pk_deliveries")),
        postgresql_partition_by="RANGE (created_at)",
    )
    op.create_index("ix_deliveries_subscription", "deliveries", ["subscription_id", "created_at", "id"])
    op.create_index(
        "ix_deliveries_retrying",
        "deliveries",
        ["subscription_id", "place"],
        postgresql_where=sa.text("state = 'retrying'"),
    )
    op.execute("CREATE TABLE deliveries_default PARTITION OF deliveries DEFAULT")


def downgrade() -> None:
    op.drop_table("deliveries")
    op.drop_table("subscriptions")
