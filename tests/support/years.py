"""A year of partitions, as a gateway leaves it that has run for so long."""

from datetime import UTC, datetime, timedelta

from app.storage import partition_merges, partitions
from app.storage.connections import Connection
from app.storage.partitions import DAY, Partition, Span


def year_of_spans(now: datetime) -> list[Span]:
    """List the spans of the partitions of a table after a year."""
    today = partitions.day_of(now)
    days = [Partition("", Span(today + n * DAY, today + (n + 1) * DAY)) for n in range(-364, partitions.DAYS_AHEAD + 1)]
    merged = [merge.span for merge in partition_merges.due(days, now, None)]
    return sorted([*merged, *(day.span for day in days if not any(span.holds(day.span) for span in merged))])


async def make_year(connection: Connection) -> int:
    """Make the partitions of a year up to now; return how many there are of a table."""
    spans = year_of_spans(datetime.now(UTC) - timedelta(minutes=5))
    for table in partitions.PARTITIONED:
        for span in spans:
            name = f"{table}_{span.start:%Y%m%d}_{span.end:%Y%m%d}"
            await connection.execute(f"CREATE TABLE {name} PARTITION OF {table} FOR VALUES {span.bounds()}")
    return len(spans)
