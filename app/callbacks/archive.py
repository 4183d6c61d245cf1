"""Shows raw callbacks; each reading leaves an audit row, because callbacks hold positions."""

from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID

from app.access import Actor, AuditLog
from app.callbacks.decoding import LARGEST_ON_LOOP, decode
from app.callbacks.replay import to_new_callback
from app.callbacks.tokens import CallbackTokens
from app.caller import Reach
from app.content import legible
from app.errors import GatewayError, NotFound
from app.ids import public_id
from app.list_page import ListPage
from app.storage import callbacks
from app.storage.callbacks import CallbackFilter, StoredCallback
from app.storage.database import Database


class CallbackArchive:
    """Reads stored callbacks."""

    def __init__(self, database: Database, audit: AuditLog, addresses: CallbackTokens) -> None:
        self._database = database
        self._audit = audit
        self._addresses = addresses

    async def page(self, wanted: CallbackFilter, by: Actor, *, limit: int) -> ListPage[StoredCallback]:
        """List the callbacks that match, newest first."""
        found = await self._database.read(lambda db: callbacks.page(db, wanted, limit + 1))
        page = ListPage.of(found, limit)
        self._record(page.entries, by)
        return page

    async def find(self, key: UUID, by: Actor, *, reach: Reach) -> StoredCallback:
        """Find one callback within reach.

        Raises:
            NotFound: There is no such callback.
        """
        found = await self._database.read(lambda db: callbacks.find(db, key, reach))
        if found is None:
            raise NotFound("There is no such callback.")
        self._record([found], by)
        return found

    def _record(self, shown: Sequence[StoredCallback], by: Actor) -> None:
        if not shown:
            return
        accounts = {callback.account for callback in shown}
        self._audit.record(
            by,
            "callbacks.read",
            "shown",
            account=shown[0].account if len(accounts) == 1 else None,
            device=self._device_in(shown),
            subject=public_id(shown[0].id) if len(shown) == 1 else f"{len(shown)} callbacks",
        )

    def _device_in(self, shown: Sequence[StoredCallback]) -> str | None:
        """Find the key of the one device that callbacks are about; None if there are several, or it would take long."""
        if sum(len(callback.body) for callback in shown) > LARGEST_ON_LOOP:
            return None
        devices: set[str] = set()
        for callback in shown:
            address = self._addresses.of_stored(callback.provider, callback.account, callback.service)
            if address is None:
                continue
            with suppress(GatewayError):
                body = legible(callback.body, (), LARGEST_ON_LOOP)
                devices.update(report.device for report in decode(address, body, to_new_callback(callback)))
        return devices.pop() if len(devices) == 1 else None
