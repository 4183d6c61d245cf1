"""Where providers keep tokens and login counters, sealed, so that all replicas share them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from app.model import ProviderName
from app.provider import Slot
from app.storage.database import Database
from app.storage.seal import Seal
from app.storage.tables import SecretRow


class DatabaseVault:
    """A vault in Postgres; a place is locked by its row."""

    def __init__(self, database: Database, seal: Seal) -> None:
        self._database = database
        self._seal = seal

    async def read(self, provider: ProviderName, name: str, *, sealed_with: bytes) -> bytes | None:
        """Read without locking; None when absent or sealed with another key.

        Raises:
            Unavailable: The database cannot be reached.
        """
        async with self._database.transaction() as session:
            sealed = await session.scalar(
                select(SecretRow.sealed).where(SecretRow.provider == provider, SecretRow.name == name)
            )
        return self._seal.decrypt(sealed, sealed_with=sealed_with) if sealed else None

    @asynccontextmanager
    async def locked(self, provider: ProviderName, name: str, *, sealed_with: bytes) -> AsyncIterator[Slot]:
        """Hold the place alone among all replicas while the block runs.

        Raises:
            Unavailable: The database cannot be reached.
        """
        async with self._database.transaction() as session:
            new = insert(SecretRow).values(provider=provider, name=name, sealed=None, updated_at=datetime.now(UTC))
            await session.execute(new.on_conflict_do_nothing())
        failure: BaseException | None = None
        async with self._database.transaction() as session:
            place = select(SecretRow).where(SecretRow.provider == provider, SecretRow.name == name).with_for_update()
            row = (await session.scalars(place)).one()
            try:
                yield _Slot(row, self._seal, sealed_with)
            except BaseException as error:  # noqa: BLE001 -- raised below
                # What was put before the failure, a rejected login above all, must outlast it: commit, then raise.
                failure = error
        if failure is not None:
            raise failure


class _Slot:
    def __init__(self, row: SecretRow, seal: Seal, sealed_with: bytes) -> None:
        self._row = row
        self._seal = seal
        self._sealed_with = sealed_with
        self.value = seal.decrypt(row.sealed, sealed_with=sealed_with) if row.sealed else None

    async def put(self, value: bytes | None) -> None:
        self.value = value
        self._row.sealed = None if value is None else self._seal.encrypt(value, sealed_with=self._sealed_with)
        self._row.updated_at = datetime.now(UTC)
        self._row.version += 1
