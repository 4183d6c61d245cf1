"""Reports to put into a test's database, through the writer that the gateway itself uses."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from app.ids import from_milliseconds
from app.model import AccountName, Device, Fix, Mdn, ProviderName, Report, ReportError, TransactionId
from app.storage.database import Database
from app.storage.rows import NewCallback, NewReport, NewSimpleFix, to_row
from app.storage.writer import Entry, Writer, arguments

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
IMEI = "990001123456782"
MDN = "5085550101"
ACCOUNT = "0844559123-00001"
THINGSPACE = ProviderName("thingspace")


def located(
    at: datetime = NOON,
    *,
    imei: str | None = IMEI,
    mdn: str | None = MDN,
    name: str | None = None,
    account: str | None = ACCOUNT,
    transaction: str | None = "t-1",
    latitude: float = 42.09551,
    longitude: float = -71.26483,
    **row: Any,
) -> NewReport:
    """Make the row of a report with a fix; `row` changes its columns."""
    device = Device(id=imei, kind="imei" if imei else None, mdn=Mdn(mdn) if mdn else None, name=name)
    fix = Fix(
        latitude_deg=latitude,
        longitude_deg=longitude,
        accuracy_m=35.0,
        confidence_pct=None,
        fixed_at=at,
        source="network",
        provider=THINGSPACE,
    )
    report = Report(
        provider=THINGSPACE,
        type="location",
        status="located",
        content_key=f"{imei}|{mdn}|{name}|{account}|{transaction}|{at}|{latitude}|{longitude}",
        account=AccountName(account) if account else None,
        transaction_id=TransactionId(transaction) if transaction else None,
        device=device,
        fix=fix,
        said_at=at,
    )
    received_at = at + timedelta(seconds=2, milliseconds=412)
    return _changed(to_row(report, received_at=received_at, is_vouched=True), row)


def failed(at: datetime = NOON, *, transaction: str | None = "t-1", info: str = "absent", **row: Any) -> NewReport:
    """Make the row of a report that tells of an error."""
    report = Report(
        provider=THINGSPACE,
        type="location",
        status="failed",
        content_key=f"failed|{transaction}|{at}|{info}",
        account=AccountName(ACCOUNT),
        transaction_id=TransactionId(transaction) if transaction else None,
        device=Device(id=IMEI, kind="imei", mdn=Mdn(MDN)),
        error=ReportError(type="POSITION METHOD FAILURE", info=info, at=at),
        said_at=at,
    )
    return _changed(to_row(report, received_at=at + timedelta(seconds=2)), row)


def _changed(report: NewReport, columns: dict[str, Any]) -> NewReport:
    of_row = {name: value for name, value in columns.items() if name in NewReport.__struct_fields__}
    of_fix = {name: value for name, value in columns.items() if name in Fix.__struct_fields__}
    of_said = {name: value for name, value in columns.items() if name not in of_row | of_fix}
    if report.said.fix is not None:
        of_said["fix"] = msgspec.structs.replace(report.said.fix, **of_fix)
    return msgspec.structs.replace(report, said=msgspec.structs.replace(report.said, **of_said), **of_row)


def columns_of(report: NewReport) -> dict[str, Any]:
    """Give what is stored of a report, by column."""
    [row] = arguments.of_reports([report])
    return dict(zip((*arguments.INSTANTS.values(), *arguments.REPORT_MEMBERS), row, strict=True))


def columns_of_simple_fix(row: NewSimpleFix) -> dict[str, Any]:
    """Give what is stored of the report of a simple fix, by column; what it has no member for is empty."""
    given = dict.fromkeys((*arguments.INSTANTS.values(), *arguments.REPORT_MEMBERS)) | msgspec.structs.asdict(row)
    for name in ("service", "signature", "body"):
        del given[name]
    return given | {"type": "location", "status": "located"}


def in_full(row: NewSimpleFix) -> tuple[NewReport, NewCallback]:
    """Say with a report and a callback what the row of a simple fix says; what it has no member for is empty."""
    report = located(
        from_milliseconds(row.at_us // 1000),
        imei=row.device,
        mdn=row.mdn,
        account=row.account,
        transaction=row.transaction_id,
        latitude=row.latitude,
        longitude=row.longitude,
        id=row.id,
        received_at=row.received_at,
        callback_id=row.callback_id,
        vendor_type=row.vendor_type,
        accuracy_m=row.accuracy_m,
        source=row.source,
        cached=row.cached,
    )
    return report, msgspec.structs.replace(row.quarantined("never"), state="stored", reason=None)


async def store(database: Database, *rows: NewReport, callback: NewCallback | None = None, body: bytes = b"") -> None:
    """Commit rows, in one go."""
    async with Writer(database.connect, pending=database.pending).running() as writer:
        await writer.submit(Entry(reports=rows, callback=callback, body=body))


def minutes(count: int) -> Iterable[datetime]:
    """Give instants a minute apart, newest first."""
    return (NOON - timedelta(minutes=minute) for minute in range(count))


GENERATE = """
INSERT INTO reports (
    at, id, provider, type, status, account, transaction_id, device, device_kind, mdn,
    latitude, longitude, accuracy_m, source, cached, received_at
)
SELECT
    at, (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || left(md5(n::text), 20))::uuid,
    'thingspace', 'location', 'located', 'account', 't-' || n % 50, (990001000000000 + n % 200)::text, 'imei',
    (5085550000 + n % 200)::text, 40 + n % 1000 / 500.0, -71 - n % 700 / 500.0, 35, 'network', false, at
FROM generate_series(0, $1::int - 1) AS n
CROSS JOIN LATERAL (SELECT $2::timestamptz - n * interval '10 seconds' AS at) AS dated
"""


async def generate(database: Database, count: int) -> None:
    """Fill in reports of 200 devices and 50 transactions, ten seconds apart, the newest at noon."""
    connection = await database.connect()
    try:
        await connection.execute(GENERATE, count, NOON)
    finally:
        await connection.close()
