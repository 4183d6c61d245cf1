"""Tells Alembic where the tables are; `app.storage.migrate` runs it with a connection of its own."""

from typing import Any

from alembic import context

from app.storage.migrate import partitions
from app.storage.tables import Base

connection = context.config.attributes["connection"]
left_alone = partitions(connection)
# Looking the partitions up began a transaction; Alembic commits only those that it begins itself.
connection.commit()


def is_ours(_item: Any, name: str | None, kind: str, _reflected: bool, _counterpart: Any) -> bool:  # noqa: FBT001 -- Alembic calls it by position
    """Leave out partitions, which come and go at run time."""
    return not (kind == "table" and name in left_alone)


context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    include_object=is_ours,
    compare_type=True,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
