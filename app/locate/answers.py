"""What a location query comes to, and what is written down about it."""

import msgspec

from app.access import Actor, AuditLog
from app.errors import Attempt, GatewayError
from app.model import Device, Fix, LocationQuery, ProviderName
from app.storage.rows import device_key
from app.storage.tables import ReportRow


class LocateResult(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where the device is, who said so, and what was tried.

    Attributes:
        device: The caller's device, completed from the alias book.
        report_id: The report that the fix is stored as, as hexadecimal digits.
        billed: Whether the provider is known to charge for it; None where nobody knows.
        flags: What is odd about the fix; see `app.plausibility`.
    """

    device: Device
    fix: Fix
    attempts: tuple[Attempt, ...] = ()
    hints: tuple[str, ...] = ()
    report_id: str | None = None
    billed: bool | None = False
    flags: tuple[str, ...] = ()


def to_fix(row: ReportRow) -> Fix:
    """Read the fix of a stored, located report; it is a cached one by now."""
    assert row.latitude is not None
    assert row.longitude is not None
    return Fix(
        latitude_deg=row.latitude,
        longitude_deg=row.longitude,
        accuracy_m=row.accuracy_m,
        confidence_pct=row.confidence_pct,
        fixed_at=row.at,
        source=row.source or "unknown",  # type: ignore[arg-type]  # written from a Source
        provider=ProviderName(row.provider),
        cached=True,
        qos_met=row.qos_met,
    )


def record_answer(
    audit: AuditLog, by: Actor, query: LocationQuery, outcome: LocateResult | GatewayError, *, is_own: bool = True
) -> None:
    """Leave an audit row about what a caller asked and was answered.

    Args:
        is_own: Whether the providers were asked for this caller; the row of another one says what that cost.
    """
    if isinstance(outcome, LocateResult):
        audit.record(
            by,
            "locate",
            "located",
            account=outcome.device.account,
            device=device_key(outcome.device),
            provider=outcome.fix.provider,
            billed=outcome.billed if is_own else False,
            report_id=outcome.report_id,
        )
        return
    audit.record(
        by,
        "locate",
        outcome.code,
        account=query.device.account,
        device=device_key(query.device),
        provider=outcome.attempts[-1].provider if outcome.attempts else None,
        billed=None if outcome.attempts and is_own else False,
    )
