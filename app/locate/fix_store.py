"""Stores what providers answer: each fix, and each placeholder of one, is a report without a transaction."""

import structlog
from msgspec.structs import replace

from app.errors import Overloaded, Unavailable
from app.ids import milliseconds
from app.model import Device, Located, NotLocated, Report
from app.observability import metrics
from app.provider import Provider
from app.storage.clock import DatabaseClock
from app.storage.rows import device_key, to_row
from app.storage.writer import Entry, Writer

log = structlog.get_logger()


class FixStore:
    """Hands answers to the writer."""

    def __init__(self, writer: Writer, clock: DatabaseClock) -> None:
        self._writer = writer
        self._clock = clock

    def store(self, device: Device, obtained: Located | NotLocated, provider: Provider) -> str:
        """Store an answer and return the report's id; the commit is not awaited here, but by later readers."""
        # What locates by device has held the identifiers against each other; beside measurements they are the caller's.
        is_vouched = provider.locator is not None and provider.locator.locates_by == "device"
        if device.id is not None and not is_vouched:
            device = replace(device, mdn=None)
        account = device.account or provider.default_account
        report = _to_report(replace(device, account=account), obtained)
        row = to_row(report, received_at=self._clock.now(), raw=obtained.raw, is_vouched=is_vouched)
        try:
            self._writer.submit(Entry(reports=(row,)))
        except (Overloaded, Unavailable) as error:
            metrics.UNSTORED_FIXES.inc()
            log.warning("fix not stored", provider=report.provider, code=error.code)
        return row.id


def _to_report(device: Device, obtained: Located | NotLocated) -> Report:
    fix = obtained.fix if isinstance(obtained, Located) else None
    said_at = obtained.said_at if isinstance(obtained, NotLocated) else obtained.fix.fixed_at
    provider = obtained.provider if isinstance(obtained, NotLocated) else obtained.fix.provider
    when = "" if said_at is None else milliseconds(said_at)
    where = "" if fix is None else f"|{fix.latitude_deg}|{fix.longitude_deg}"
    return Report(
        provider=provider,
        type="location",
        status="failed" if fix is None else "located",
        content_key=f"fix|{provider}|{device.account}|{device_key(device)}|{when}{where}",
        account=device.account,
        device=device,
        fix=fix,
        error=obtained.error,
        said_at=said_at,
        flags=obtained.flags,
    )
