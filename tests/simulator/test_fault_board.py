import pytest

from app.simulator.faults import Fault, Faults, UnknownFault


@pytest.fixture
def faults() -> Faults:
    board = Faults()
    board.describe({"late": "comes late", "lost": "never comes"})
    return board


def test_a_fault_happens_as_often_as_it_says(faults: Faults) -> None:
    faults.put("late", times=2)

    taken = [faults.take("late") is not None for _ in range(3)]

    assert taken == [True, True, False]


def test_a_fault_without_a_number_happens_until_it_is_cleared(faults: Faults) -> None:
    faults.put("late", times=None)

    assert all(faults.take("late") for _ in range(5))
    assert faults.clear() == 1
    assert faults.take("late") is None


def test_calls_can_be_spared_first(faults: Faults) -> None:
    faults.put("late", after=2)

    taken = [faults.take("late") is not None for _ in range(4)]

    assert taken == [False, False, True, False]


def test_the_oldest_match_is_taken_first(faults: Faults) -> None:
    faults.put("late", value="first")
    faults.put("late", value="second")

    taken = faults.take("lost", "late")

    assert taken is not None
    assert taken.value == "first"


def test_a_fault_of_one_device_leaves_the_others_alone(faults: Faults) -> None:
    faults.put("lost", device="5085550101")

    assert faults.take("lost") is None
    assert faults.take("lost", device="5085550102") is None
    assert faults.take("lost", device=("990001123456782", "5085550101")) is not None


def test_a_fault_of_one_account_leaves_the_others_alone(faults: Faults) -> None:
    faults.put("lost", account="0844559123-00002")

    assert faults.take("lost", account="0844559123-00001") is None
    assert faults.take("lost", account="0844559123-00002") is not None


def test_a_fault_of_one_path_concerns_what_lies_below_it(faults: Faults) -> None:
    faults.put("slow", path="/api/ts")

    assert faults.take("slow", path="/api/m2m/v1/session/login") is None
    assert faults.take("slow", path="/api/ts/v1/oauth2/token") is not None


def test_a_fault_nobody_described_is_refused(faults: Faults) -> None:
    with pytest.raises(UnknownFault):
        faults.add(Fault(name="earthquake"))


def test_faults_can_be_cleared_by_name_and_by_id(faults: Faults) -> None:
    faults.put("late")
    kept = faults.put("lost")
    gone = faults.put("lost")

    faults.clear(name="late")
    faults.clear(fault_id=gone.id)

    assert faults.pending() == [kept]
