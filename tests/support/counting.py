"""Connections for a writer that count what it stores."""

from collections.abc import Awaitable, Callable
from typing import Any

from app.storage.connections import Connection
from app.storage.database import Database


class _Counted:
    def __init__(self, connection: Connection, statements: list[int]) -> None:
        self._connection = connection
        self._statements = statements

    async def fetchrow(self, query: str, *arguments: Any) -> Any:
        self._statements.append(len(arguments[0]))
        return await self._connection.fetchrow(query, *arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def counting(database: Database, statements: list[int]) -> Callable[[], Awaitable[Any]]:
    """Open connections that add the number of rows of each statement that stores something."""

    async def connect() -> Any:
        return _Counted(await database.connect(), statements)

    return connect
