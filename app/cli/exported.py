"""A file of exported reports that is written in several goes."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from app.cli.progress import progress

Format = Literal["csv", "ndjson", "parquet"]


def part_of(output: Path) -> Path:
    """Name the file that an export is written to until it is whole."""
    return output.with_name(f"{output.name}.part")


def last_report(file: BinaryIO, format_: Format) -> str | None:
    """Cut off what is not a whole report at the end of a file; return the id of the last one, None without any."""
    end, record = 0, b""
    for number, line in enumerate(_records(file, format_)):
        end += len(line)
        if number or format_ == "ndjson":
            record = line
    file.truncate(end if record else 0)
    file.seek(0, 2)
    return _id_of(record, format_) if record else None


def copy_lines(chunks: Iterable[bytes], to: BinaryIO) -> int:
    """Copy reports as they arrive, and count their lines."""
    count = 0
    with progress("Exporting", None, "reports") as advance:
        for chunk in chunks:
            to.write(chunk)
            lines = chunk.count(b"\n")
            advance(lines)
            count += lines
    to.flush()
    return count


def copy_whole(chunks: Iterable[bytes], to: BinaryIO) -> None:
    """Copy a file of which no part can be used, as it arrives."""
    with progress("Exporting", None, "bytes") as advance:
        for chunk in chunks:
            to.write(chunk)
            advance(len(chunk))
    to.flush()


def without_heading(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Leave out the first line."""
    begun = b""
    for chunk in chunks:
        begun += chunk
        _, is_whole, rest = begun.partition(b"\n")
        if is_whole:
            yield rest
            yield from chunks
            return


def _records(file: BinaryIO, format_: Format) -> Iterator[bytes]:
    """Split a file into whole records; in CSV a text in quotes may hold line breaks."""
    record = b""
    for line in file:
        record += line
        is_open = format_ == "csv" and record.count(b'"') % 2 == 1
        if line.endswith(b"\n") and not is_open:
            yield record
            record = b""


def _id_of(record: bytes, format_: Format) -> str:
    if format_ == "csv":
        return record.partition(b",")[0].decode()
    return record.partition(b'"id":"')[2].partition(b'"')[0].decode()
