"""The devices that are known, and how each of them stands."""

from collections.abc import Callable
from dataclasses import dataclass

from app.access import Actor, AuditLog
from app.caller import Reach
from app.identifiers import readings
from app.reports import record_read
from app.storage import device_pages
from app.storage.database import Database
from app.storage.device_pages import DeviceFilter, KnownDevice
from app.storage.running_sessions import DeviceState
from app.storage.sessions import SessionClock

PAGE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """A page of devices; `next` is the key of the last one, None on the last page."""

    devices: list[KnownDevice]
    next: str | None


class DeviceReader:
    """Lists devices; no provider is asked."""

    def __init__(self, database: Database, audit: AuditLog, clock: Callable[[], SessionClock]) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock

    async def page(
        self,
        by: Actor,
        *,
        reach: Reach,
        account: str | None = None,
        search: str | None = None,
        state: DeviceState | None = None,
        after: str | None = None,
        limit: int = PAGE,
    ) -> Devices:
        """Read the devices that match, in the order of their keys, which does not change while devices report.

        Args:
            search: A part of an identifier or of a name, as people write them.
            after: The key of the device after which the page begins.
        """
        parts = None if search is None else _spellings(search)
        wanted = DeviceFilter(account=account, parts=parts, state=state, reach=reach)
        found = await device_pages.page(self._database, wanted, self._clock(), after=after, limit=limit + 1)
        shown = found[:limit]
        reports = {report.id: report for one in shown for report in (one.latest, one.position) if report is not None}
        record_read(self._audit, by, list(reports.values()))
        return Devices(devices=shown, next=shown[-1].key if len(found) > limit else None)


def _spellings(search: str) -> list[str]:
    """Read a search as what was written, and as the identifiers that are meant by it."""
    known = readings(search)
    return list(dict.fromkeys(filter(None, (known.name, *known.ids, known.mdn))))
