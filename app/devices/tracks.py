"""Where a device has been: its reports with fixes, in the order of the fixes."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from app.caller import Reach
from app.identifiers import Readings, readings
from app.reports import ReportFilter
from app.storage import reports
from app.storage.database import Database
from app.storage.device_register import is_registered


class Tracks:
    """Finds the reports that a device's track is made of."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(
        self, identifier: str, *, reach: Reach, since: datetime | None = None, until: datetime | None = None
    ) -> ReportFilter | None:
        """Return the filter of a device's track, by any of its identifiers or the caller's name for it.

        A fix that may not be believed is no part of it: a line through such a point would show a journey that nobody
        made. `/reports` lists it.

        Returns:
            None if no device with this identifier is known.
        """
        # No text in the database holds a NUL, and none may be sent to it.
        known = readings(identifier.replace("\x00", ""))
        filters = [*_filters(known, reach)]
        for any_of_device in filters:
            if (await reports.page(self._database, any_of_device, limit=1)).reports:
                return _of_track(any_of_device, since, until)
        async with self._database.reading() as session:
            return _of_track(filters[0], since, until) if await is_registered(session, known, reach) else None


def _of_track(any_of_device: ReportFilter, since: datetime | None, until: datetime | None) -> ReportFilter:
    return replace(any_of_device, status="located", is_believed=True, since=since, until=until, oldest_first=True)


def _filters(known: Readings, reach: Reach) -> Iterator[ReportFilter]:
    """List the filters for all that a text can mean, in the order in which it is looked up."""
    if known.mdn is not None:
        yield ReportFilter(mdn=known.mdn, reach=reach)
    for device_id in known.ids:
        yield ReportFilter(device_id=device_id, reach=reach)
    yield ReportFilter(name=known.name, reach=reach)
