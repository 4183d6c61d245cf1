"""Where a device has been: its reports with fixes, in the order of the fixes."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from app.caller import Reach
from app.identifiers import Readings, readings
from app.reports import ReportFilter
from app.storage import reports
from app.storage.database import Database


class Tracks:
    """Finds the reports that a device's track is made of."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(
        self, identifier: str, *, reach: Reach, since: datetime | None = None, until: datetime | None = None
    ) -> ReportFilter | None:
        """Tell which reports are the track of a device, by any of its identifiers or the caller's name for it.

        A fix that may not be believed is no part of it: a line through such a point would show a journey that nobody
        made. `/reports` lists it.

        Returns:
            None if no device with this identifier is known.
        """
        # No text in the database holds a NUL, and none may be sent to it.
        for any_of_device in _filters(readings(identifier.replace("\x00", "")), reach):
            if (await reports.page(self._database, any_of_device, limit=1)).reports:
                return replace(
                    any_of_device, status="located", is_believed=True, since=since, until=until, oldest_first=True
                )
        return None


def _filters(known: Readings, reach: Reach) -> Iterator[ReportFilter]:
    """List the filters for all that a text can mean, in the order in which it is looked up."""
    if known.mdn is not None:
        yield ReportFilter(mdn=known.mdn, reach=reach)
    for device_id in known.ids:
        yield ReportFilter(device_id=device_id, reach=reach)
    yield ReportFilter(name=known.name, reach=reach)
