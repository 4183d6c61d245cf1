"""A register of every device that is known, to be listed page by page and searched.

Searching for a part of an identifier needs the extension `pg_trgm`, which comes with Postgres and which the owner of a
database may create. Undoing leaves it, because others may use it.

What is known already is filled in: one probe of the reports' index for each device, whatever the number of reports.
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_FROM_REPORTS = """
WITH RECURSIVE known (device) AS (
    (SELECT device FROM reports WHERE device > '' ORDER BY device LIMIT 1)
    UNION ALL
    SELECT (SELECT r.device FROM reports AS r WHERE r.device > k.device ORDER BY r.device LIMIT 1)
    FROM known AS k WHERE k.device IS NOT NULL
)
INSERT INTO devices (device, account, device_kind, mdn, name, seen_at)
SELECT
    r.device, CASE WHEN r.flags @> ARRAY['account_mismatch'] THEN '' ELSE coalesce(r.account, '') END,
    r.device_kind, r.mdn, r.name, r.received_at
FROM known AS k
CROSS JOIN LATERAL (
    SELECT * FROM reports AS r WHERE r.device = k.device ORDER BY r.at DESC, r.id DESC LIMIT 1
) AS r
WHERE k.device IS NOT NULL
"""
_FROM_POSITIONS = """
INSERT INTO devices (device, account, mdn, seen_at)
SELECT device, account, mdn, at FROM positions
ON CONFLICT (device, account) DO NOTHING
"""
_FROM_ALIASES = """
INSERT INTO devices (device, account, device_kind, mdn, seen_at)
SELECT DISTINCT ON (device, account) device, account, device_kind, mdn, learned_at
FROM account_aliases ORDER BY device, account, learned_at DESC
ON CONFLICT (device, account) DO UPDATE SET
    device_kind = coalesce(devices.device_kind, excluded.device_kind), mdn = coalesce(devices.mdn, excluded.mdn)
"""
_FROM_SESSIONS = """
INSERT INTO devices (device, account, device_kind, seen_at)
SELECT d.device, s.account, 'imei', max(s.created_at)
FROM session_devices AS d JOIN sessions AS s ON s.id = d.session_id GROUP BY d.device, s.account
ON CONFLICT (device, account) DO UPDATE SET device_kind = coalesce(devices.device_kind, excluded.device_kind)
"""


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    op.create_table(
        "devices",
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("device_kind", sa.Text()),
        sa.Column("mdn", sa.Text()),
        sa.Column("name", sa.Text()),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("device", "account", name=op.f("pk_devices")),
    )
    for statement in (_FROM_REPORTS, _FROM_POSITIONS, _FROM_ALIASES, _FROM_SESSIONS):
        op.execute(statement)
    op.create_index(
        "ix_devices_search",
        "devices",
        ["device", "mdn", "name"],
        postgresql_using="gin",
        postgresql_ops={"device": "gin_trgm_ops", "mdn": "gin_trgm_ops", "name": "gin_trgm_ops"},
    )


def downgrade() -> None:
    op.drop_table("devices")
