"""What a location query comes to, and what is written down about it."""

from collections.abc import Mapping

import msgspec

from app.access import Actor, AuditLog
from app.accuracy import Accuracy, accuracy_of
from app.errors import Attempt, GatewayError
from app.model import Device, Fix, LocationQuery, ProviderName
from app.storage.rows import device_key
from app.storage.tables import ReportRow


class LocateResult(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where the device is, which provider located it, and what was tried.

    Attributes:
        device: The caller's device, completed from the alias book.
        report_id: The report that the fix is stored as, as hexadecimal digits.
        billed: Whether the provider is known to charge for it; None if unknown.
        flags: What is odd about the fix; see `app.plausibility`.
        accuracy_met: Whether the circle is as small as the caller asked; None where that was not asked.
        age_s: How old the fix is, where it is the last known one instead of the device's position now; seconds.
        problem: Why there is only the last known one.
    """

    device: Device
    fix: Fix
    accuracy: Accuracy
    attempts: tuple[Attempt, ...] = ()
    hints: tuple[str, ...] = ()
    report_id: str | None = None
    billed: bool | None = False
    flags: tuple[str, ...] = ()
    accuracy_met: bool | None = None
    age_s: float | None = None
    problem: GatewayError | None = None


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


def stated(query: LocationQuery, fix: Fix, assumed: Mapping[ProviderName, int]) -> Accuracy:
    """State the accuracy of a fix at the level that was asked for.

    Args:
        assumed: The level, percent, that the operator assumes for providers that declare none.
    """
    return accuracy_of(fix, wanted_pct=query.confidence_pct, assumed_pct=assumed.get(fix.provider))


def record_answer(
    audit: AuditLog, by: Actor, query: LocationQuery, outcome: LocateResult | GatewayError, *, is_own: bool = True
) -> None:
    """Leave an audit row about what a caller asked and was answered.

    Args:
        is_own: Whether the providers were asked for this caller; else the cost is in another caller's row.
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
