import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.accuracy import Accuracy, accuracy_of, scaled
from app.model import Fix, ProviderName

radii = st.floats(min_value=0, max_value=1e7)
levels = st.integers(min_value=1, max_value=99)


def fix(accuracy_m: float | None, confidence_pct: int | None) -> Fix:
    return Fix(
        latitude_deg=1,
        longitude_deg=2,
        accuracy_m=accuracy_m,
        confidence_pct=confidence_pct,
        fixed_at=datetime(2026, 3, 2, tzinfo=UTC),
        source="wifi",
        provider=ProviderName("any"),
    )


@given(radii, levels, levels, levels)
def test_a_higher_level_never_has_a_smaller_circle(radius_m: float, known: int, one: int, other: int) -> None:
    low, high = sorted((one, other))

    assert scaled(radius_m, from_pct=known, to_pct=low) <= scaled(radius_m, from_pct=known, to_pct=high)


@given(radii, levels, levels)
def test_scaling_back_gives_the_radius_that_it_began_with(radius_m: float, known: int, wanted: int) -> None:
    there = scaled(radius_m, from_pct=known, to_pct=wanted)

    assert scaled(there, from_pct=wanted, to_pct=known) == pytest.approx(radius_m, rel=1e-12)


def test_the_radius_follows_the_circular_normal_distribution() -> None:
    assert scaled(27, from_pct=68, to_pct=95) == pytest.approx(27 * math.sqrt(math.log(0.05) / math.log(0.32)))


@pytest.mark.parametrize(
    ("stated", "wanted", "assumed", "expected"),
    [
        pytest.param((27.0, 68), None, None, (27.0, 68, "declared"), id="as the provider states it"),
        pytest.param((27.0, 68), 68, 90, (27.0, 68, "declared"), id="asked for what is stated"),
        pytest.param((27.0, 68), 95, 90, (43.779398, 95, "scaled"), id="another level"),
        pytest.param((35.0, None), None, None, (35.0, None, "unknown"), id="no level"),
        pytest.param((35.0, None), 95, None, (35.0, None, "unknown"), id="no level to scale from"),
        pytest.param((35.0, None), None, 90, (35.0, 90, "assumed"), id="an assumed level"),
        pytest.param((35.0, None), 95, 90, (39.92167, 95, "assumed"), id="an assumed level, scaled"),
        pytest.param((None, 68), 95, 90, (None, None, "unknown"), id="no radius"),
    ],
)
def test_where_the_level_comes_from_is_said(
    stated: tuple[float | None, int | None],
    wanted: int | None,
    assumed: int | None,
    expected: tuple[float | None, int | None, str],
) -> None:
    accuracy = accuracy_of(fix(*stated), wanted_pct=wanted, assumed_pct=assumed)

    assert (accuracy.radius_m, accuracy.confidence_pct, accuracy.basis) == (
        pytest.approx(expected[0], rel=1e-5) if expected[0] else expected[0],
        *expected[1:],
    )


def test_a_circle_without_a_radius_is_within_no_limit() -> None:
    assert not Accuracy(radius_m=None, confidence_pct=None, basis="unknown").is_within(1e9)
