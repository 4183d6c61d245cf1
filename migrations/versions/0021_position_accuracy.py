"""Latest positions keep their accuracy, so that the speed between two can be judged with the circles in mind."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("positions", sa.Column("accuracy_m", sa.Double()))


def downgrade() -> None:
    op.drop_column("positions", "accuracy_m")
