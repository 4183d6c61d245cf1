"""Stores the fixes that providers give: each is a report without a transaction."""

import structlog
from msgspec.structs import replace

from app.errors import Overloaded, Unavailable
from app.model import Device, Located, Report
from app.observability import metrics
from app.provider import Provider
from app.storage.clock import DatabaseClock
from app.storage.rows import device_key, milliseconds, to_row
from app.storage.writer import Entry, Writer

log = structlog.get_logger()


class FixStore:
    """Hands fixes to the writer."""

    def __init__(self, writer: Writer, clock: DatabaseClock) -> None:
        self._writer = writer
        self._clock = clock

    def store(self, device: Device, located: Located, provider: Provider) -> str:
        """Store a fix and return the report's id; nobody waits for the commit, later readers do."""
        fix = located.fix
        # What locates by device has held the identifiers against each other; beside measurements they are the caller's.
        is_vouched = provider.locator is not None and provider.locator.locates_by == "device"
        if device.id is not None and not is_vouched:
            device = replace(device, mdn=None)
        account = device.account or provider.default_account
        key = device_key(device)
        content = (
            f"fix|{fix.provider}|{account}|{key}|{milliseconds(fix.fixed_at)}|{fix.latitude_deg}|{fix.longitude_deg}"
        )
        report = Report(
            provider=fix.provider,
            type="location",
            status="located",
            content_key=content,
            account=account,
            device=device,
            fix=fix,
            error=located.error,
            said_at=fix.fixed_at,
            flags=located.flags,
        )
        row = to_row(report, received_at=self._clock.now(), raw=located.raw, is_vouched=is_vouched)
        try:
            self._writer.submit(Entry(reports=(row,)))
        except (Overloaded, Unavailable) as error:
            metrics.UNSTORED_FIXES.inc()
            log.warning("fix not stored", provider=fix.provider, code=error.code)
        return row.id
