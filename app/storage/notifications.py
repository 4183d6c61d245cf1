"""Postgres notifications: a message to all processes, delivered when the transaction that sends it commits."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from sqlalchemy import text

from app.storage.connections import Connection
from app.storage.database import Database, Transaction


async def notify(db: Transaction, channel: str) -> None:
    """Notify all listeners of a channel once this transaction is committed."""
    await db.execute(text("SELECT pg_notify(:channel, '')"), {"channel": channel})


@asynccontextmanager
async def listening(database: Database, channels: Mapping[str, Callable[[], None]]) -> AsyncIterator[Connection]:
    """Listen on a connection of its own, past any pooler; each channel has a function to call.

    Raises:
        Unavailable: The database cannot be reached, or went away.
    """
    async with database.connection() as connection:
        for channel, heard in channels.items():
            await connection.add_listener(channel, lambda *_, heard=heard: heard())
        yield connection
