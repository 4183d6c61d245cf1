"""What is read as an instant, and what is not guessed at."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.instants import read_instant

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PRECISE = NOON.replace(microsecond=318_000)


@pytest.mark.parametrize(
    ("written", "at"),
    [
        ("20260301120000", NOON),
        ("20260301120000.318", PRECISE),
        ("20260301120000,318", PRECISE),
        ("20260301T120000Z", NOON),
        ("20260301130000+0100", NOON),
        ("2026-03-01T12:00:00Z", NOON),
        ("2026-03-01t12:00:00.318z", PRECISE),
        ("2026-03-01T12:00:00.318999999Z", PRECISE.replace(microsecond=318_999)),
        ("2026-03-01 13:00:00+01", NOON),
        ("2026-03-01T06:30:00-05:30", NOON),
        ("2026-03-01T12:00Z", NOON),
        ("2026/03/01 12:00:00", NOON),
        ("2026-03-01 12:00:00.318 +0000 UTC", PRECISE),
        ("2026-03-01 12:00:00.318 +0000 UTC m=+0.1", PRECISE),
        ("2026-03-01 15:00:00 +0300 +03", NOON),
        ("2026-03-01T13:00:00+01:00[Europe/Paris]", NOON),
        ("Sun, 01 Mar 2026 13:00:00 +0100", NOON),
        ("1 mar 2026 12:00 GMT", NOON),
        ("1772366400", NOON),
        ("1772366400.318", PRECISE),
        ("1772366400318", PRECISE),
        ("1772366400318000", PRECISE),
        ("1772366400318000000", PRECISE),
        ("20260301240000", datetime(2026, 3, 2, tzinfo=UTC)),
        ("2026-12-31T24:00:00Z", datetime(2027, 1, 1, tzinfo=UTC)),
        ("20261231235960", datetime(2027, 1, 1, tzinfo=UTC)),
        ("  2026-03-01  12:00:00Z\n", NOON),
    ],
)
def test_what_is_certain_is_read(written: str, at: datetime) -> None:
    assert read_instant(written) == at


@pytest.mark.parametrize(
    "written",
    [
        "",
        " ",
        "0",
        "00000000000000",
        "2026",
        "20260301",
        "2026-03-01",
        "202603011200",
        "20261301120000",
        "20260230120000",
        "20260301250000",
        "20260301240001",
        "20260301126000",
        "20260301120061",
        "03/04/2026 12:00:00",
        "2026-03/01 12:00:00",
        "2026-03-01 12:00:00 CET",
        "2026-03-01T12:00:00+99:00",
        "1 Xyz 2026 12:00:00 GMT",
        "yesterday",
        "-1772366400",
        "1.7723664e9",
        "946684799",
        "4102444800",
        "9999-12-31T24:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "\u0662\u0660\u0662\u06660301120000",
        "2026-03-01T12:00:00." + "0" * 100 + "Z",
    ],
)
def test_what_is_not_certain_is_not_guessed_at(written: str) -> None:
    assert read_instant(written) is None


@pytest.mark.parametrize("written", ["20260301120000", "2026-03-01T12:00:00", "1 Mar 2026 12:00"])
def test_without_an_offset_it_is_as_certain_as_the_zone(written: str) -> None:
    assert read_instant(written, zone=timezone(timedelta(hours=2))) == NOON - timedelta(hours=2)
    assert read_instant(written, zone=None) is None


@given(st.datetimes(timezones=st.just(UTC), min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)))  # noqa: DTZ001 -- bounds are naive
def test_every_rfc_3339_instant_is_read(at: datetime) -> None:
    assert read_instant(at.isoformat()) == at
    assert read_instant(at.astimezone(timezone(timedelta(hours=-7, minutes=-30))).isoformat(), zone=None) == at


@given(st.text(max_size=40))
def test_any_text_is_read_or_not(written: str) -> None:
    found = read_instant(written)

    assert found is None or found.utcoffset() == timedelta(0)
