"""Who is asked, in which order: the rules as a table."""

import pytest

from app.errors import GatewayError, InvalidArgument, MissingIdentifier, UnusableMeasurements
from app.model import AccessPoint, Device, Evidence, LocationQuery, Mdn, ProviderName
from app.policy import Candidate, candidates
from app.provider import Assessment

SOLVER = Candidate(name=ProviderName("solver"), locates_by="measurements", configured=True)
USELESS = Candidate(
    name=ProviderName("solver"),
    locates_by="measurements",
    configured=True,
    assessment=Assessment(usable=False, reason="too few", hints=("more of them",)),
)
SECOND_SOLVER = Candidate(name=ProviderName("second"), locates_by="measurements", configured=True)
NETWORK = Candidate(name=ProviderName("network"), locates_by="device", configured=True)
ABSENT_NETWORK = Candidate(name=ProviderName("network"), locates_by="device", configured=False)

KNOWN = Device(id="990001123456782", kind="imei")
NUMBERED = Device(mdn=Mdn("5085550101"))
NAMED = Device(name="pump")
SCAN = Evidence(access_points=(AccessPoint(mac="3c378610229a"),))


def query(device: Device = NAMED, evidence: Evidence | None = None, pinned: str | None = None) -> LocationQuery:
    return LocationQuery(device=device, evidence=evidence, pinned=ProviderName(pinned) if pinned else None)


@pytest.mark.parametrize(
    ("asked", "known", "expected"),
    [
        pytest.param(query(evidence=SCAN), [SOLVER, NETWORK], ["solver"], id="measurements"),
        pytest.param(query(KNOWN), [SOLVER, NETWORK], ["network"], id="identifier"),
        pytest.param(query(NUMBERED), [SOLVER, NETWORK], ["network"], id="number alone"),
        pytest.param(query(KNOWN, SCAN), [SOLVER, NETWORK], ["solver", "network"], id="both"),
        pytest.param(query(KNOWN, SCAN), [NETWORK, SOLVER], ["solver", "network"], id="measurements first"),
        pytest.param(query(KNOWN, SCAN), [SOLVER, SECOND_SOLVER], ["solver", "second"], id="order of preference"),
        pytest.param(query(KNOWN, SCAN), [USELESS, NETWORK], ["network"], id="useless measurements"),
        pytest.param(query(KNOWN, SCAN, "solver"), [SOLVER, NETWORK], ["solver"], id="pinned to the solver"),
        pytest.param(query(KNOWN, SCAN, "network"), [SOLVER, NETWORK], ["network"], id="pinned to the network"),
        pytest.param(query(NAMED), [SOLVER, NETWORK], ["network"], id="a name, under which a fix may be stored"),
        pytest.param(query(KNOWN), [ABSENT_NETWORK], ["network"], id="not configured, and told so later"),
    ],
)
def test_candidates_in_their_order(asked: LocationQuery, known: list[Candidate], expected: list[str]) -> None:
    assert [candidate.name for candidate in candidates(asked, known)] == expected


@pytest.mark.parametrize(
    ("asked", "known", "error", "pointer"),
    [
        pytest.param(query(KNOWN, None, "nobody"), [SOLVER], InvalidArgument, "/provider", id="no such provider"),
        pytest.param(query(KNOWN, None, "solver"), [SOLVER], InvalidArgument, "/measurements", id="no measurements"),
        pytest.param(query(Device()), [SOLVER, NETWORK], MissingIdentifier, "/device", id="nothing to go by"),
        pytest.param(query(NAMED, SCAN, "network"), [NETWORK], MissingIdentifier, "/device", id="pinned, unidentified"),
        pytest.param(query(KNOWN, SCAN, "solver"), [USELESS], UnusableMeasurements, None, id="pinned, useless"),
        pytest.param(query(NAMED, SCAN), [USELESS, NETWORK], UnusableMeasurements, None, id="useless, unidentified"),
        pytest.param(query(NAMED, SCAN), [], MissingIdentifier, "/device", id="no providers at all"),
    ],
)
def test_questions_that_nobody_can_answer(
    asked: LocationQuery, known: list[Candidate], error: type[GatewayError], pointer: str | None
) -> None:
    with pytest.raises(error) as raised:
        candidates(asked, known)

    assert [field.pointer for field in raised.value.errors] == ([pointer] if pointer else [])


def test_what_makes_measurements_useless_is_told_with_its_hints() -> None:
    with pytest.raises(UnusableMeasurements) as raised:
        candidates(query(evidence=SCAN), [USELESS])

    assert raised.value.detail == "too few"
    assert raised.value.hints == ("more of them",)
