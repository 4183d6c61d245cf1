"""Tells Alembic where the tables are; `app.storage.migrate` runs it, with a connection of its own or for its SQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from alembic import context
from sqlalchemy import Connection, event

from app.storage.migrate import partitions
from app.storage.tables import Base


def tell(*, step: Any, **_: Any) -> None:
    """Report a revision that has been applied or undone."""
    context.config.attributes["on_step"](step.up_revision_id)


def limits() -> tuple[str, str]:
    """Write how long a transaction waits for a lock, behind which everybody else waits, and that it may take its time.

    Where concurrent builds wait, outside of transactions, they are in nobody's way.
    """
    wait_ms = round(context.config.attributes["lock_wait_s"] * 1000)
    return f"SET LOCAL lock_timeout = {wait_ms}", "SET LOCAL statement_timeout = 0"


def write_sql() -> None:
    """Write what the migrations would do."""
    context.configure(dialect_name="postgresql", literal_binds=True, target_metadata=Base.metadata)
    with context.begin_transaction():
        for limit in limits():
            context.execute(limit)
        context.run_migrations()


@contextmanager
def limited(connection: Connection) -> Iterator[None]:
    """Set the limits in each transaction of a connection while the block lasts."""

    def limit(begun: Connection) -> None:
        if begun.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
            for one in limits():
                begun.exec_driver_sql(one)

    event.listen(connection, "begin", limit)
    try:
        yield
    finally:
        event.remove(connection, "begin", limit)


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
    with limited(connection), context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    write_sql()
else:
    migrate(context.config.attributes["connection"])
