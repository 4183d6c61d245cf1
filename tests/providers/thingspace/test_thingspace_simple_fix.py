"""The fast path makes of a simple fix exactly the rows that the full path would have made."""

import json
from datetime import UTC
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from app.callbacks.decoding import arrived, decode
from app.callbacks.tokens import Address
from app.ids import EPOCH
from app.providers.thingspace import NAME
from app.providers.thingspace.callbacks import ThingSpaceCallbacks
from app.providers.thingspace.settings import ThingSpaceSettings
from app.providers.thingspace.simple_fix import to_simple_fix
from app.storage.rows import to_simple_fix_row
from tests.support.reports import columns_of, columns_of_simple_fix

NOW_MS = 1_772_409_600_412

ODD: dict[str, st.SearchStrategy[Any]] = {
    "time": st.sampled_from(
        ["20241301000000", "99999999999999", "20240517 43005", "00010101000000", "2024", 20240517143005]
    ),
    "x": st.sampled_from(["-0", "42.10", "1_0", "nan", "inf", "1e2", " 4.5 ", "", "x", "90", "91", 42.5]),
    "y": st.sampled_from(["-0", "-180.0", "-181", "4e-7", "1e400", "", None]),
    "radius": st.sampled_from(["0", "-1", "", "1e9", 35, None]),
    "locationType": st.sampled_from(["0", "1", 0, 1, " 0 ", 0.0, True]),
    "utcoffset": st.sampled_from(["+0500", "0", "", None]),
    "id": st.sampled_from(
        ["99000112345678", "A1000049D2C3E4", " 990001123456782", "", 990001123456782, "990001123456789", "0" * 15]
    ),
    "kind": st.sampled_from(["Imei", "MEID", "", " IMEI"]),
    "mdn": st.sampled_from(["15085550101", "+1 508 555 0101", "", "508555010", 5085550101, "0" * 10]),
    "accountName": st.one_of(
        st.sampled_from([" padded ", "", "\u00fcn\u00ef", "x" * 200, "0844559123 00001", "'x"]), st.text(max_size=20)
    ),
    "transactionID": st.one_of(st.sampled_from(["595ffce4 ", "", "x" * 400]), st.text(max_size=20)),
    "reportType": st.sampled_from(["CONSENT_RESPONSE", "location_report"]),
    "status": st.sampled_from(["FAILED", "success", ""]),
}
PLACES = {
    **dict.fromkeys(("time", "x", "y", "radius", "locationType", "utcoffset"), "positionData"),
    **dict.fromkeys(("id", "kind", "mdn"), "device"),
}


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a simple fix in which up to two members are odd."""
    said_at = draw(st.datetimes(timezones=st.just(UTC)))
    position = {
        "time": f"{said_at:%Y%m%d%H%M%S}".zfill(14),
        "x": repr(draw(st.floats(-90, 90))),
        "y": repr(draw(st.floats(-180, 180))),
        "radius": "35",
        "locationType": draw(st.sampled_from(["0", "1"])),
    }
    device = {"id": "990001123456782", "kind": "IMEI", "mdn": "5085550101", "positionData": position}
    message = {
        "accountName": "0844559123-00001",
        "deviceList": [device],
        "reportType": "LOCATION_REPORT",
        "status": "SUCCESS",
        "transactionID": "3d1c9a52-7b1e-4c3a-9f60-2a7c51e0b9d4",
    }
    places: dict[str, dict[str, Any]] = {"positionData": position, "device": device}
    for name in draw(st.lists(st.sampled_from(sorted(ODD)), max_size=2, unique=True)):
        places.get(PLACES.get(name, ""), message)[name] = draw(ODD[name])
    return message


@limits(suppress_health_check=[HealthCheck.too_slow])  # the first text takes long: which characters exist is read then
@given(messages(), st.sampled_from(["escaped", "as it is"]))
def test_both_paths_make_the_same_rows(message: dict[str, Any], written: str) -> None:
    body = json.dumps(message, ensure_ascii=written == "escaped").encode("utf-8", "replace")
    reader = ThingSpaceCallbacks(ThingSpaceSettings(_env_file=None))
    fix = reader.read_simple_fix(body)
    if fix is None:
        return
    address = Address(provider=NAME, account=fix.account, service="DeviceLocation", reader=reader)

    row = to_simple_fix_row(
        fix, body, provider=NAME, service="DeviceLocation", signature="unchecked", received_ms=NOW_MS
    )
    callback = arrived(address, "unchecked", NOW_MS)
    callback.id = row.callback_id
    [report] = decode(address, body, callback)

    assert columns_of_simple_fix(row) == columns_of(report)
    assert msgspec.structs.replace(row.quarantined("never"), state="stored", reason=None) == callback
    assert report.at >= EPOCH
    assert reader.redacted(body) == body


def documented_callback(**position: str) -> bytes:
    stated = {
        "locationType": "1",
        "radius": "1782",
        "time": "20200723030357",
        "x": "37.65996174987342",
        "y": "-122.46907314206896",
    }
    device = {"id": "354677790348290", "kind": "IMEI", "mdn": "5557337468", "positionData": stated | position}
    message = {
        "accountName": "2234434445-32333",
        "deviceList": [device],
        "reportType": "LOCATION_REPORT",
        "status": "SUCCESS",
        "transactionID": "9d98e12b-5287-4db2-8b1b-f295ced4527e",
    }
    return json.dumps(message).encode()


def test_the_documented_callback_takes_the_fast_path() -> None:
    report = to_simple_fix(documented_callback())

    assert report is not None
    assert (report.latitude_deg, report.longitude_deg) == (37.65996174987342, -122.46907314206896)


def test_a_character_that_postgres_refuses_takes_the_full_path() -> None:
    body = documented_callback()

    assert to_simple_fix(body.replace(b'"2234434445-32333"', b'"2234434445-32333\\u0031"')) is not None
    assert to_simple_fix(body.replace(b'"2234434445-32333"', b'"2234434445\\u000032333"')) is None


@pytest.mark.parametrize("zero", ["0", "-0.0", "0.000000", "0e1"])
def test_a_position_of_zeros_takes_the_full_path(zero: str) -> None:
    assert to_simple_fix(documented_callback(x=zero, y="0")) is None
    assert to_simple_fix(documented_callback(x=zero)) is not None


@pytest.mark.parametrize("time", ["20240230000000", "20240517250000", "2024051714300x", "19991231235959"])
def test_a_time_that_is_none_or_before_the_first_fix_takes_the_full_path(time: str) -> None:
    assert to_simple_fix(documented_callback(time=time)) is None
