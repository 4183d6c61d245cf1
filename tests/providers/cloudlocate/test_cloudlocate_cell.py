import pytest
from cloudlocate_stage import SERVING, TWO_POINTS, Assess, MakeLocator, Vendor, by_cells, measured, soon
from msgspec.structs import replace

from app.errors import InvalidArgument
from app.model import CellTower, Device, Evidence, LocationQuery

NEIGHBOUR = CellTower(physical_cell_id=288, channel=1300, signal_dbm=-101)
GSM = CellTower(radio="gsm", mobile_country_code=262, mobile_network_code=1, area_code=7, cell_id=9, serving=True)


async def test_a_scan_goes_out_in_the_vendors_words(locator: MakeLocator, vendor: Vendor) -> None:
    await locator().locate(by_cells(SERVING, NEIGHBOUR), request_id="r", deadline=soon())

    assert vendor.asked["CellMeasurements"] == {
        "HomeMCC": 262,
        "HomeMNC": 1,
        "RAT": "LTE",
        "NetworkCells": [
            {
                "CellIdentifier": 26385408,
                "AreaCode": 4711,
                "SignalStrength": -95,
                "Code": 117,
                "Frequency": 1300,
                "IsServingCell": True,
            },
            {"SignalStrength": -101, "Code": 288, "Frequency": 1300},
        ],
    }


async def test_the_serving_cell_comes_first_wherever_it_stood(locator: MakeLocator, vendor: Vendor) -> None:
    await locator().locate(by_cells(NEIGHBOUR, SERVING), request_id="r", deadline=soon())

    assert [one.get("IsServingCell") for one in vendor.asked["CellMeasurements"]["NetworkCells"]] == [True, None]


@pytest.mark.parametrize(
    ("radio", "rat"),
    [("gsm", "GSM"), ("lte", "LTE"), ("ltem", "LTECATM1"), ("lte-m", "LTECATM1"), ("cat-m1", "LTECATM1")],
)
async def test_radio_types_are_translated(radio: str, rat: str, locator: MakeLocator, vendor: Vendor) -> None:
    await locator().locate(by_cells(replace(GSM, radio=radio)), request_id="r", deadline=soon())

    assert vendor.asked["CellMeasurements"]["RAT"] == rat


@pytest.mark.parametrize(
    ("towers", "says"),
    [
        pytest.param([replace(SERVING, radio="nbiot")], "supported radioType", id="narrowband"),
        pytest.param([replace(SERVING, radio="wcdma"), replace(NEIGHBOUR, radio="nr")], "supported radioType", id="3G"),
        pytest.param([replace(SERVING, serving=False)], "no tower is the serving one", id="none marked"),
        pytest.param([NEIGHBOUR], "no tower is the serving one", id="neighbours only"),
        pytest.param([replace(SERVING, cell_id=None)], "the serving tower needs", id="no cellId"),
        pytest.param([replace(SERVING, mobile_country_code=None)], "the serving tower needs", id="no country"),
        pytest.param([replace(SERVING, radio=None)], "supported radioType", id="no radioType"),
    ],
)
def test_a_scan_that_cannot_be_used_says_why(towers: list[CellTower], says: str, assess: Assess) -> None:
    assessment = assess(by_cells(*towers))

    assert not assessment.usable
    assert assessment.hints[0].startswith("cell: ")
    assert says in assessment.reason
    assert all(error.pointer.startswith("/measurements/cellTowers") for error in assessment.errors)
    assert assessment.errors


def test_a_scan_that_cannot_be_used_is_left_out_beside_good_parts(assess: Assess) -> None:
    query = measured(cell_towers=(replace(SERVING, radio="nr"),), access_points=TWO_POINTS)

    assert assess(query).usable


@pytest.mark.parametrize(
    ("tower", "member"),
    [
        (replace(SERVING, cell_id=268_435_456), "cellId"),
        (replace(SERVING, area_code=65_536), "locationAreaCode"),
        (replace(SERVING, physical_cell_id=504), "physicalCellId"),
        (replace(SERVING, channel=262_144), "channel"),
        (replace(SERVING, signal_dbm=0), "signalStrength"),
        (replace(SERVING, signal_dbm=-157), "signalStrength"),
        (replace(SERVING, mobile_country_code=0), "mobileCountryCode"),
        (replace(SERVING, mobile_network_code=1000), "mobileNetworkCode"),
        (replace(GSM, cell_id=65_536), "cellId"),
        (replace(GSM, area_code=0), "locationAreaCode"),
        (replace(GSM, physical_cell_id=64), "physicalCellId"),
        (replace(GSM, channel=1024), "channel"),
        (replace(GSM, signal_dbm=-114), "signalStrength"),
    ],
)
def test_a_value_out_of_the_radios_range_is_refused_with_a_pointer_to_it(
    tower: CellTower, member: str, assess: Assess
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        assess(by_cells(tower))

    assert [error.pointer for error in caught.value.errors] == [f"/measurements/cellTowers/0/{member}"]


@pytest.mark.parametrize(
    ("stranger", "reason"),
    [
        (replace(NEIGHBOUR, radio="gsm", physical_cell_id=7, channel=7), "serving cell's radioType"),
        (replace(NEIGHBOUR, radio="nr"), "serving cell's radioType"),
        (replace(NEIGHBOUR, mobile_country_code=263), "serving cell's network"),
        (replace(NEIGHBOUR, mobile_network_code=2), "serving cell's network"),
        (replace(NEIGHBOUR, physical_cell_id=None), "needs physicalCellId and channel"),
        (replace(NEIGHBOUR, channel=None), "needs physicalCellId and channel"),
        (replace(NEIGHBOUR, physical_cell_id=2_147_483_647), "physicalCellId must be 0 to 503"),
        (replace(NEIGHBOUR, signal_dbm=99), "signalStrength must be -156 to -31"),
        (replace(SERVING, serving=False, cell_id=1, physical_cell_id=None), "needs physicalCellId and channel"),
    ],
)
async def test_neighbours_that_do_not_fit_are_left_out_with_a_hint_that_names_them(
    stranger: CellTower, reason: str, locator: MakeLocator, vendor: Vendor
) -> None:
    query = by_cells(SERVING, stranger, NEIGHBOUR, stranger)
    cloudlocate = locator()

    hints = cloudlocate.assess(query).hints
    await cloudlocate.locate(query, request_id="r", deadline=soon())

    assert len(vendor.asked["CellMeasurements"]["NetworkCells"]) == 2
    named = "/measurements/cellTowers/1, /measurements/cellTowers/3"
    assert [hint for hint in hints if hint.startswith(f"cell: left out {named}: ") and reason in hint]


@pytest.mark.parametrize(
    ("tower", "hint"),
    [
        (GSM, "of the serving cell improve accuracy"),
        (replace(SERVING, area_code=65_535), "reserved value"),
    ],
)
def test_hints_tell_what_would_help(tower: CellTower, hint: str, assess: Assess) -> None:
    assert any(hint in one for one in assess(by_cells(tower)).hints)


@pytest.mark.parametrize(("send_imei", "sent"), [(False, None), (True, "990001123456782")])
async def test_the_imei_is_sent_only_when_enabled(
    *, send_imei: bool, sent: str | None, locator: MakeLocator, vendor: Vendor
) -> None:
    device = Device(id="990001123456782", kind="imei")
    query = LocationQuery(device=device, evidence=Evidence(cell_towers=(SERVING,)))

    await locator(send_imei=send_imei).locate(query, request_id="r", deadline=soon())

    assert vendor.asked["CellMeasurements"].get("IMEI") == sent
