"""Tells Alembic where the tables are; `app.storage.migrate` runs it, with a connection of its own or for its SQL."""

from typing import Any

from alembic import context
from sqlalchemy import Connection

from app.storage.migrate import partitions
from app.storage.tables import Base


def tell(*, step: Any, **_: Any) -> None:
    """Report a revision that has been applied or undone."""
    context.config.attributes["on_step"](step.up_revision_id)


def write_sql() -> None:
    """Write what the migrations would do."""
    context.configure(dialect_name="postgresql", literal_binds=True, target_metadata=Base.metadata)
    with context.begin_transaction():
        context.run_migrations()


def migrate(connection: Connection) -> None:
    """Run the migrations."""
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
        on_version_apply=tell,
    )
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    write_sql()
else:
    migrate(context.config.attributes["connection"])
