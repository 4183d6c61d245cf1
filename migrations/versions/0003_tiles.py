"""Positions are found by the tile they are on, so that the index is touched only when a device leaves its tile."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_positions_point", table_name="positions")
    for name, of in (("tile_x", "longitude"), ("tile_y", "latitude")):
        tile = sa.Computed(f"floor({of} * 10::double precision)::integer", persisted=True)
        op.add_column("positions", sa.Column(name, sa.Integer(), tile, nullable=False))
    op.create_index(
        "ix_positions_tile", "positions", [sa.literal_column("point(tile_x, tile_y)")], postgresql_using="gist"
    )


def downgrade() -> None:
    op.drop_index("ix_positions_tile", table_name="positions")
    op.drop_column("positions", "tile_x")
    op.drop_column("positions", "tile_y")
    op.create_index(
        "ix_positions_point", "positions", [sa.literal_column("point(longitude, latitude)")], postgresql_using="gist"
    )
