import base64
import contextlib
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thingspace_stand_in import ACCOUNT, IMEI, MDN, TRANSACTION, sample

from app.errors import MalformedJson, UnexpectedReply
from app.model import AccountName, Device, Report, ReportError, TransactionId
from app.providers.thingspace.callbacks import ThingSpaceCallbacks
from app.providers.thingspace.settings import ThingSpaceSettings

POSITION = {"time": "20240517143005", "x": "42.09551", "y": "-71.26483", "radius": "35", "locationType": "1"}
ZEROS = POSITION | {"x": "0.0", "y": "0.0", "radius": "0"}
ABSENT = {"time": "20240517143006", "type": "POSITION METHOD FAILURE", "info": "Exception code=ABSENT SUBSCRIBER"}
ERROR = {
    "time": "20240517143006",
    "type": "TS DEVICE TYPE CHECK FAILED",
    "info": "Specified device category is not IoT",
}
DEVICE = {"id": IMEI, "kind": "IMEI", "mdn": MDN}
SAID_AT = datetime(2024, 5, 17, 14, 30, 5, tzinfo=UTC)


@pytest.fixture
def callbacks() -> ThingSpaceCallbacks:
    return ThingSpaceCallbacks(ThingSpaceSettings())


def message(device: Any = None, **members: Any) -> bytes:
    body = {
        "accountName": ACCOUNT,
        "deviceList": [{**DEVICE, "positionData": POSITION} if device is None else device],
        "reportType": "LOCATION_REPORT",
        "status": "SUCCESS",
        "transactionID": TRANSACTION,
    }
    return json.dumps({name: member for name, member in (body | members).items() if member != "absent"}).encode()


def report_of(body: bytes) -> Report:
    [report] = ThingSpaceCallbacks(ThingSpaceSettings()).read(body)
    return report


def test_the_vendors_position_callback_is_read_exactly(callbacks: ThingSpaceCallbacks) -> None:
    [report] = callbacks.read(sample("periodic-location.callback-success"))

    assert (report.type, report.status, report.vendor_type) == ("location", "located", "LOCATION_REPORT")
    assert (report.provider, report.account) == ("thingspace", "2234434445-32333")
    assert report.transaction_id == "9d98e12b-5287-4db2-8b1b-f295ced4527e"
    assert report.device == Device(
        id="354677790348290",
        kind="imei",
        mdn="5557337468",
        account="2234434445-32333",  # type: ignore[arg-type]
    )
    assert report.fix
    assert (report.fix.latitude_deg, report.fix.longitude_deg) == (37.65996174987342, -122.46907314206896)
    assert (report.fix.accuracy_m, report.fix.confidence_pct) == (1782.0, None)
    assert report.fix.fixed_at == report.said_at == datetime(2020, 7, 23, 3, 3, 57, tzinfo=UTC)
    assert (report.fix.source, report.fix.cached, report.flags, report.error) == ("network", False, (), None)


def test_the_vendors_error_callback_is_read_exactly(callbacks: ThingSpaceCallbacks) -> None:
    [report] = callbacks.read(sample("periodic-location.callback-failed"))

    at = datetime(2020, 10, 2, 1, 1, 40, tzinfo=UTC)
    assert (report.type, report.status, report.fix, report.flags) == ("location", "failed", None, ("given_up",))
    assert report.error == ReportError(
        type="TS DEVICE TYPE CHECK FAILED", info="Specified device category is not IoT", at=at
    )
    assert report.said_at == at


def test_the_vendors_stop_callback_is_read_exactly(callbacks: ThingSpaceCallbacks) -> None:
    [report] = callbacks.read(sample("periodic-location.callback-stopped"))

    assert (report.type, report.status, report.flags) == ("stopped", "info", ())
    assert (report.device.imei, report.device.mdn) == ("354677790348290", "5557337468")
    assert report.vendor_type == "STOP_PERIODIC_LOCATION_RESPONSE"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(message({**DEVICE, "positionData": {**POSITION, "x": 42.09551, "radius": 35}}), id="numbers"),
        pytest.param(message({**DEVICE, "positionData": {**POSITION, "x": "42.095510"}}), id="longer number"),
        pytest.param(message({**DEVICE, "positionData": {**POSITION, "time": 20240517143005}}), id="time a number"),
        pytest.param(message({"id": IMEI, "mdn": MDN, "positionData": POSITION}), id="no kind"),
        pytest.param(message({**DEVICE, "kind": "imei", "positionData": POSITION}), id="kind in lower case"),
        pytest.param(message({**DEVICE, "mdn": "15085550101", "positionData": POSITION}), id="MDN with country code"),
        pytest.param(message({**DEVICE, "mdn": 5085550101, "positionData": POSITION}), id="MDN a number"),
        pytest.param(message({**DEVICE, "positionData": POSITION, "error": {}}), id="error empty"),
        pytest.param(message({**DEVICE, "positionData": POSITION, "error": None}), id="error null"),
        pytest.param(message({**DEVICE, "pd": POSITION}), id="pd"),
        pytest.param(message({"deviceIds": [DEVICE], "positionData": POSITION}), id="nested ids"),
        pytest.param(message({"deviceIds": {"id": IMEI, "kind": "imei"}, "mdn": MDN, "pd": POSITION}), id="nested id"),
        pytest.param(message(deviceList={**DEVICE, "positionData": POSITION}), id="list is an object"),
        pytest.param(message(transactionID="absent", txid=TRANSACTION), id="txid"),
        pytest.param(message(transactionID="absent", transactionId=TRANSACTION), id="transactionId"),
        pytest.param(message(transactionID="absent", TRANSACTIONID=TRANSACTION), id="TRANSACTIONID"),
        pytest.param(message(transactionID=TRANSACTION + " "), id="trailing blank"),
        pytest.param(message(unknown={"a": [1, {"b": None}]}), id="unknown member"),
        pytest.param(message(account=ACCOUNT, accountName="absent"), id="account"),
        pytest.param(message(status="success"), id="status in lower case"),
        pytest.param(message(reportType="location_report"), id="type in lower case"),
        pytest.param(message().decode().replace("reportType", "ReportType").encode(), id="other member case"),
        pytest.param(b"\xef\xbb\xbf" + message(), id="byte order mark"),
        pytest.param(b"  \n" + json.dumps(json.loads(message()), indent=4).encode(), id="blanks"),
        pytest.param(message(huge=10**30, larger=10**600), id="huge numbers"),
        pytest.param(b'{"reportType":"STOP","deviceList":[],' + message()[1:], id="duplicate members"),
        pytest.param(message(note="\u0000\ud800"), id="escapes"),
        pytest.param(message({**DEVICE, "positionData": {**POSITION, "locationType": 1}}), id="locationType a number"),
        pytest.param(
            message({**DEVICE, "positionData": {n: v for n, v in POSITION.items() if n != "locationType"}}),
            id="no locationType",
        ),
        pytest.param(
            message({"msid": MDN, "id": IMEI, "pd": POSITION, "error": {}}, reportType="absent", status="absent"),
            id="old style",
        ),
    ],
)
def test_every_spelling_is_the_same_report(body: bytes) -> None:
    expected, report = report_of(message()), report_of(body)

    assert report.content_key == expected.content_key
    assert report.fix == expected.fix
    assert (report.device, report.account, report.said_at) == (expected.device, ACCOUNT, SAID_AT)
    assert (report.transaction_id, report.type, report.status) == (TRANSACTION, "location", "located")
    assert report.flags == ()


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(message(accountName="another"), id="account"),
        pytest.param(message(transactionID="another"), id="transaction"),
        pytest.param(message(transactionID="absent"), id="no transaction"),
        pytest.param(message({**DEVICE, "id": "990001123456790", "positionData": POSITION}), id="device"),
        pytest.param(message({**DEVICE, "positionData": {**POSITION, "time": "20240517143006"}}), id="time"),
        pytest.param(message({**DEVICE, "positionData": {**POSITION, "x": "42.09552"}}), id="latitude"),
        pytest.param(message({**DEVICE, "positionData": {**POSITION, "y": "71.26483"}}), id="longitude"),
        pytest.param(message({**DEVICE, "error": {**ERROR, "time": "20240517143005"}}), id="error"),
        pytest.param(message(reportType="STOP_PERIODIC_LOCATION_RESPONSE"), id="type"),
    ],
)
def test_what_differs_is_another_report(body: bytes) -> None:
    assert report_of(body).content_key != report_of(message()).content_key


def test_another_error_is_another_report() -> None:
    first = report_of(message({**DEVICE, "error": ERROR}))
    second = report_of(message({**DEVICE, "error": {**ERROR, "info": "another"}}))

    assert first.content_key != second.content_key


@pytest.mark.parametrize("report_type", ["STOP_PERIODIC_LOCATION_RESPONSE", "CONSENT_RESPONSE", "NEW_REPORT"])
def test_other_messages_are_the_same_when_all_of_their_content_is(report_type: str) -> None:
    first = message({**DEVICE, "consent": 1}, reportType=report_type)
    reordered = json.dumps(dict(reversed(json.loads(first).items())), indent=2).encode()
    other = message({**DEVICE, "consent": 0}, reportType=report_type)

    assert report_of(first).content_key == report_of(reordered).content_key
    assert report_of(first).content_key != report_of(other).content_key


def test_a_position_without_a_time_is_the_same_when_all_of_its_content_is() -> None:
    timeless = {name: value for name, value in POSITION.items() if name != "time"}
    first = report_of(message({**DEVICE, "positionData": timeless}))
    second = report_of(message({**DEVICE, "positionData": timeless}))
    third = report_of(message({**DEVICE, "positionData": {**timeless, "radius": "36"}}))

    assert first.content_key == second.content_key != third.content_key
    assert first.said_at is None
    assert first.fix


@pytest.mark.parametrize(
    ("members", "key"),
    [
        ({}, '["0844559123-00001","t-1","location","990001123456782","1715956205","42.09551","-71.26483"]'),
        ({"transactionID": "t" * 600}, "76f6682e2e2c3795d9e9814298f1a6a0728bca86e55e5df4267c4000545aefcd"),
        (
            {"reportType": "CONSENT_RESPONSE"},
            "6cc88ccfc83c81a183a0dcab4fe774846049930fc6852c5567bc000bbc97569f/0",
        ),
    ],
    ids=["a position", "one that is too long to be its own key", "a message about something else"],
)
def test_what_is_stored_already_keeps_its_key(members: dict[str, str], key: str) -> None:
    device = {"id": "990001123456782", "kind": "IMEI", "mdn": "5085550101"}
    position = {"time": "20240517143005", "x": "42.09551", "y": "-71.26483"}
    stated = {"accountName": "0844559123-00001", "transactionID": "t-1"} | members

    assert report_of(message({**device, "positionData": position}, **stated)).content_key == key


def test_more_devices_than_any_message_lists_are_not_read(callbacks: ThingSpaceCallbacks) -> None:
    assert len(callbacks.read(json.dumps({"deviceList": [str(number) for number in range(50_000)]}).encode())) == 50_000
    with pytest.raises(UnexpectedReply):
        callbacks.read(json.dumps({"deviceList": ["1"] * 50_001}).encode())


def test_a_content_key_has_a_bounded_length() -> None:
    key = report_of(message(accountName="a" * 100_000)).content_key

    assert len(key) <= 512
    assert key != report_of(message(accountName="a" * 100_001)).content_key


def test_several_devices_make_several_reports(callbacks: ThingSpaceCallbacks) -> None:
    devices = [
        {**DEVICE, "positionData": POSITION},
        {"id": "990001123456790", "kind": "imei", "error": ERROR},
        {**DEVICE, "positionData": POSITION},
    ]

    reports = callbacks.read(message(deviceList=devices))

    assert [report.status for report in reports] == ["located", "failed"]
    assert {report.transaction_id for report in reports} == {TRANSACTION}


@pytest.mark.parametrize("listed", ["absent", None, [], {}, [None], [{}], "", 7])
def test_a_message_without_devices_makes_one_report(listed: Any) -> None:
    report = report_of(message(deviceList=listed))

    assert (report.device.id, report.device.mdn) == (None, None)
    assert (report.type, report.status, report.transaction_id) == ("location", "failed", TRANSACTION)
    assert report.flags == ("nothing_reported",)


def test_a_bare_id_names_the_device() -> None:
    assert report_of(message(deviceList=[IMEI], reportType="CONSENT_RESPONSE")).device.imei == IMEI


def test_a_message_that_is_itself_an_old_style_element_is_read() -> None:
    report = report_of(json.dumps({"msid": MDN, "pd": POSITION, "error": {}}).encode())

    assert (report.type, report.status, report.device.mdn) == ("location", "located", MDN)


def test_a_notice_of_a_finished_report_keeps_its_transaction() -> None:
    report = report_of(json.dumps({"txid": TRANSACTION, "status": "COMPLETED"}).encode())

    assert (report.type, report.status, report.transaction_id) == ("other", "info", TRANSACTION)
    assert (report.vendor_type, report.flags) == (None, ())


def test_an_unknown_type_is_kept_with_its_position() -> None:
    report = report_of(message(reportType="Geofence_Report"))

    assert (report.type, report.status, report.vendor_type) == ("other", "located", "Geofence_Report")


@pytest.mark.parametrize(
    ("members", "status"),
    [
        ({}, "info"),
        ({"status": "FAILED"}, "failed"),
        ({"deviceList": [{**DEVICE, "error": ERROR}]}, "failed"),
    ],
)
@pytest.mark.parametrize(
    ("words", "type_"),
    [("STOP_PERIODIC_LOCATION_RESPONSE", "stopped"), ("CONSENT_RESPONSE", "consent"), ("X", "other")],
)
def test_what_is_not_about_a_position_is_information_or_a_failure(
    members: dict[str, Any], status: str, words: str, type_: str
) -> None:
    report = report_of(message(**({"deviceList": [DEVICE], "reportType": words} | members)))

    assert (report.type, report.status) == (type_, status)


@pytest.mark.parametrize(
    ("device", "claimed", "status", "flags"),
    [
        pytest.param({"positionData": POSITION}, "FAILED", "located", ("status_mismatch",), id="position"),
        pytest.param({"error": ABSENT}, "SUCCESS", "failed", ("status_mismatch",), id="error"),
        pytest.param(
            {"positionData": POSITION, "error": ABSENT},
            "SUCCESS",
            "located",
            ("status_mismatch", "error_beside_position"),
            id="both",
        ),
        pytest.param({"positionData": ZEROS}, "SUCCESS", "failed", ("zero_island",), id="zeros"),
        pytest.param({"positionData": ZEROS}, "FAILED", "failed", ("zero_island",), id="zeros of a failure"),
        pytest.param({"positionData": ZEROS, "error": ABSENT}, "FAILED", "failed", ("zero_island",), id="zeros, error"),
        pytest.param({}, "SUCCESS", "failed", ("nothing_reported",), id="nothing"),
        pytest.param({"positionData": {}, "error": {}}, "FAILED", "failed", ("nothing_reported",), id="empty"),
        pytest.param({"positionData": POSITION}, "PARTIAL", "located", (), id="unknown status"),
    ],
)
def test_content_wins_over_the_claimed_status(
    device: dict[str, Any], claimed: str, status: str, flags: tuple[str, ...]
) -> None:
    report = report_of(message(DEVICE | device, status=claimed))

    assert (report.status, report.flags) == (status, flags)


@pytest.mark.parametrize(
    ("position", "flag"),
    [
        ({"x": "0", "y": "0"}, "zero_island"),
        ({"x": "-0", "y": "0.000000"}, "zero_island"),
        ({"x": 0, "y": -0.0}, "zero_island"),
        ({"x": "0e5", "y": " 0. "}, "zero_island"),
        ({"x": "-122.4", "y": "37.6"}, "axes_swapped_suspected"),
        ({"x": "91", "y": "0"}, "axes_swapped_suspected"),
        ({"x": "91", "y": "91"}, "position_out_of_range"),
        ({"x": "1", "y": "181"}, "position_out_of_range"),
        ({"x": "north"}, "position_unreadable"),
        ({"y": None}, "position_unreadable"),
    ],
)
def test_a_position_that_cannot_be_believed_is_no_fix(position: dict[str, Any], flag: str) -> None:
    report = report_of(message({**DEVICE, "positionData": POSITION | position}))

    assert (report.status, report.fix, report.flags) == ("failed", None, (flag,))
    assert report.said_at == SAID_AT


@pytest.mark.parametrize(
    "device",
    [
        {"positionData": {**POSITION, "time": "noon"}},
        {"positionData": {**POSITION, "time": None}},
        {"error": {**ABSENT, "time": "20241332"}},
    ],
    ids=["position", "position without one", "error"],
)
def test_an_unreadable_time_is_flagged_and_nothing_is_dropped(device: dict[str, Any]) -> None:
    report = report_of(message(DEVICE | device, status="absent"))

    assert report.said_at is None
    assert report.flags == ("time_unreadable",)
    assert report.fix or report.error


@pytest.mark.parametrize(
    ("time", "said_at"),
    [
        ("20260301240000", datetime(2026, 3, 2, tzinfo=UTC)),
        ("20261231235960", datetime(2027, 1, 1, tzinfo=UTC)),
        ("1772366400", datetime(2026, 3, 1, 12, tzinfo=UTC)),
        (1772366400318, datetime(2026, 3, 1, 12, 0, 0, 318_000, tzinfo=UTC)),
        (20260301120000, datetime(2026, 3, 1, 12, tzinfo=UTC)),
        ("2026-03-01 12:00:00.318 +0000 UTC", datetime(2026, 3, 1, 12, 0, 0, 318_000, tzinfo=UTC)),
        ("20260301120000.5", datetime(2026, 3, 1, 12, 0, 0, 500_000, tzinfo=UTC)),
    ],
)
@pytest.mark.parametrize("part", ["positionData", "error"])
def test_every_time_that_is_certain_is_read(part: str, time: Any, said_at: datetime) -> None:
    whole = {"positionData": POSITION, "error": ABSENT}[part]

    report = report_of(message({**DEVICE, part: {**whole, "time": time}}, status="absent"))

    assert (report.said_at, report.flags) == (said_at, ())


@pytest.mark.parametrize("time", ["19700101000000", "19800106000000", "0001-01-01 00:00:00 +0000 UTC", 0])
def test_a_clock_that_was_never_set_states_no_time(time: Any) -> None:
    report = report_of(message({**DEVICE, "positionData": {**POSITION, "time": time}}))

    assert (report.said_at, report.flags) == (None, ("time_unreadable",))


def test_an_unreadable_offset_is_flagged() -> None:
    report = report_of(message({**DEVICE, "positionData": {**POSITION, "utcoffset": "Eastern"}}))

    assert (report.said_at, report.flags) == (SAID_AT, ("offset_unreadable",))


@pytest.mark.parametrize(
    "position", [{"x": "0", "y": "-71.26483"}, {"x": "42.09551", "y": "0"}, {"x": "0", "y": "1e-9"}]
)
def test_one_zero_is_a_line_on_the_globe(position: dict[str, Any]) -> None:
    assert report_of(message({**DEVICE, "positionData": POSITION | position})).status == "located"


@pytest.mark.parametrize(
    ("device", "cached"),
    [
        pytest.param({"positionData": {**POSITION, "locationType": "0"}}, True, id="inside"),
        pytest.param({"positionData": {**POSITION, "locationType": 0}}, True, id="a number"),
        pytest.param({"positionData": {**POSITION, "locationType": None}, "locationType": "0"}, True, id="beside"),
        pytest.param({"positionData": POSITION, "locationType": "0"}, False, id="inside wins"),
    ],
)
def test_location_type_zero_means_cached(device: dict[str, Any], *, cached: bool) -> None:
    report = report_of(message(DEVICE | device))

    assert report.fix
    assert report.fix.cached is cached


@pytest.mark.parametrize(
    ("device", "id_", "kind"),
    [
        ({"id": IMEI, "kind": "MEID"}, IMEI[:14], "meid"),
        ({"id": "A1000049D2C3E4"}, "A1000049D2C3E4", "meid"),
        ({"id": "12345678901"}, "12345678901", "esn"),
        ({"id": 990001123456782.0}, IMEI, "imei"),
        ({"id": IMEI, "kind": "iccid"}, None, None),
        ({"id": "?"}, None, None),
        ({"kind": "imei"}, None, None),
    ],
)
def test_the_kind_of_an_id_is_told_by_its_shape_where_it_is_not_stated(
    device: dict[str, Any], id_: str | None, kind: str | None
) -> None:
    report = report_of(message({**device, "positionData": POSITION}))

    assert (report.device.id, report.device.kind) == (id_, kind)


def test_characters_that_postgres_refuses_are_removed() -> None:
    body = message({**DEVICE, "error": {**ERROR, "info": "a\u0000b\ud800c\U0001f600"}}, transactionID="t\u0000 ")

    report = report_of(body)

    assert report.error
    assert (report.error.info, report.transaction_id) == ("ab\ufffdc\U0001f600", "t")


def test_long_identifiers_are_cut_to_fit_an_index() -> None:
    report = report_of(message(transactionID="t" * 1000, accountName="a" * 1000))

    assert (report.transaction_id, report.account) == ("t" * 128, "a" * 128)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"<html>",
        b"[]",
        b"7",
        b'"x"',
        b"null",
        b"\xff",
        b'{"a":NaN}',
        b'{"a":1}x',
        b"{'a':1}",
        b'{"a":Infinity}',
    ],
)
def test_what_is_no_json_object_is_malformed(callbacks: ThingSpaceCallbacks, body: bytes) -> None:
    with pytest.raises(MalformedJson):
        callbacks.read(body)


@pytest.mark.parametrize("member", [b"[", b'{"a":', b'[{"deviceList":'])
def test_deep_nesting_is_said_to_be_unreadable(callbacks: ThingSpaceCallbacks, member: bytes) -> None:
    with pytest.raises((MalformedJson, UnexpectedReply)):
        callbacks.read(b'{"deviceList":' + member * 100_000)


def test_nesting_that_can_be_read_is_read() -> None:
    report = report_of(b'{"reportType":"CONSENT_RESPONSE","x":' + b"[" * 500 + b"]" * 500 + b"}")

    assert report.type == "consent"


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(alphabet=st.characters())
    | st.sampled_from(
        ["20240517143005", "42.1", "-71", "0", "1", "SUCCESS", "FAILED", "LOCATION_REPORT", "+0200", IMEI, MDN]
    )
)
NAMES = st.sampled_from(
    [
        "accountName",
        "deviceList",
        "reportType",
        "status",
        "transactionID",
        "txid",
        "id",
        "kind",
        "mdn",
        "msid",
        "positionData",
        "pd",
        "error",
        "x",
        "y",
        "radius",
        "time",
        "utcoffset",
        "locationType",
        "type",
        "info",
        "deviceIds",
        "errorCode",
        "fault",
    ]
) | st.text(max_size=3)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6))
OBJECTS = st.dictionaries(NAMES, JSON, max_size=8)


@settings(deadline=None, max_examples=300)
@given(OBJECTS)
def test_any_json_object_becomes_at_least_one_storable_report(body: dict[str, Any]) -> None:
    encoded = json.dumps(body).encode()
    try:
        reports = ThingSpaceCallbacks(ThingSpaceSettings()).read(encoded)
    except MalformedJson:
        assert b"NaN" in encoded or b"Infinity" in encoded
        return

    assert reports
    for report in reports:
        assert (report.status == "located") == (report.fix is not None)
        assert "\x00" not in repr(report)
        texts = (report.account, report.transaction_id, report.device.id, report.device.mdn, report.content_key)
        assert all("\x00" not in text.encode().decode() for text in texts if text)
        if report.fix:
            assert abs(report.fix.latitude_deg) <= 90
            assert abs(report.fix.longitude_deg) <= 180
    again = ThingSpaceCallbacks(ThingSpaceSettings()).read(encoded)
    assert [report.content_key for report in again] == [report.content_key for report in reports]


@given(st.binary())
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(MalformedJson, UnexpectedReply):
        assert ThingSpaceCallbacks(ThingSpaceSettings()).read(body)


@given(
    st.floats(-90, 90),
    st.floats(-180, 180),
    st.sampled_from([repr, float]),
    st.datetimes(min_value=datetime(2000, 1, 2), max_value=datetime(2100, 1, 1)),  # noqa: DTZ001 - local at the offset
    st.integers(-14 * 60, 14 * 60),
)
def test_axes_and_times_are_never_mixed_up(
    latitude: float, longitude: float, written: Callable[[float], Any], local: datetime, offset_minutes: int
) -> None:
    sign, (hours, minutes) = "-" if offset_minutes < 0 else "+", divmod(abs(offset_minutes), 60)
    position = {
        "x": written(latitude),
        "y": written(longitude),
        "time": local.strftime("%Y%m%d%H%M%S"),
        "utcoffset": f"{sign}{hours:02}{minutes:02}",
    }

    report = report_of(message({**DEVICE, "positionData": position}))

    if latitude == longitude == 0:
        assert report.flags == ("zero_island",)
        return
    assert report.fix
    assert (report.fix.latitude_deg, report.fix.longitude_deg) == (latitude, longitude)
    seconds = local.replace(tzinfo=UTC, microsecond=0).timestamp() - offset_minutes * 60
    assert report.fix.fixed_at.timestamp() == seconds


SECRET = "shared"
BODY = b'{"a": 1}'
DIGEST = hmac.new(SECRET.encode(), BODY, hashlib.sha256)


@pytest.mark.parametrize(
    ("encoding", "signature"),
    [
        ("hex", DIGEST.hexdigest()),
        ("hex", f"sha256={DIGEST.hexdigest()}"),
        ("hex", f" SHA256={DIGEST.hexdigest().upper()} "),
        ("base64", base64.b64encode(DIGEST.digest()).decode()),
        ("base64", "sha256=" + base64.b64encode(DIGEST.digest()).decode()),
    ],
)
def test_a_right_signature_is_authentic(monkeypatch: pytest.MonkeyPatch, encoding: str, signature: str) -> None:
    monkeypatch.setenv("THINGSPACE_CALLBACK_SIGNATURE_HEADER", "X-Signed")
    monkeypatch.setenv("THINGSPACE_CALLBACK_SIGNATURE_ENCODING", encoding)
    callbacks = ThingSpaceCallbacks(ThingSpaceSettings())

    assert callbacks.is_authentic(BODY, {"x-signed": signature}, SECRET) is True


@pytest.mark.parametrize(
    "signature", ["0" * 64, DIGEST.hexdigest()[:-2], "sha256=", "zz", "é", base64.b64encode(DIGEST.digest()).decode()]
)
def test_any_other_signature_is_not(callbacks: ThingSpaceCallbacks, signature: str) -> None:
    assert callbacks.is_authentic(BODY, {"x-callback-signature": signature}, SECRET) is False


def test_a_body_altered_after_signing_is_not_authentic(callbacks: ThingSpaceCallbacks) -> None:
    assert callbacks.is_authentic(BODY + b" ", {"x-callback-signature": DIGEST.hexdigest()}, SECRET) is False


@pytest.mark.parametrize("headers", [{}, {"x-callback-signature": ""}, {"x-other": "1"}])
def test_no_signature_is_neither(callbacks: ThingSpaceCallbacks, headers: dict[str, str]) -> None:
    assert callbacks.is_authentic(BODY, headers, SECRET) is None


@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_what_we_sign_ourselves_is_authentic(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    monkeypatch.setenv("THINGSPACE_CALLBACK_SIGNATURE_ENCODING", encoding)
    callbacks = ThingSpaceCallbacks(ThingSpaceSettings())

    headers = callbacks.sign(BODY, SECRET)

    assert callbacks.is_authentic(BODY, headers, SECRET) is True
    assert callbacks.is_authentic(BODY, headers, "another") is False


def test_a_message_to_try_the_listener_with_is_about_no_device(callbacks: ThingSpaceCallbacks) -> None:
    [report] = callbacks.read(callbacks.test_message(AccountName(ACCOUNT), TransactionId("listener-test-1")))

    assert (report.type, report.status, report.device.id, report.flags) == ("other", "info", None, ())
    assert (report.account, report.transaction_id) == (ACCOUNT, "listener-test-1")


def test_the_receiver_learns_what_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THINGSPACE_CALLBACK_SIGNATURE", "enforce")
    monkeypatch.setenv("THINGSPACE_CALLBACK_TOKEN", "fixed")
    monkeypatch.setenv("THINGSPACE_CALLBACK_SECRET", SECRET)

    callbacks = ThingSpaceCallbacks(ThingSpaceSettings())

    assert (callbacks.signature_mode, callbacks.fixed_token, callbacks.fixed_secret) == ("enforce", "fixed", SECRET)


def test_by_default_signatures_are_logged_and_no_token_is_fixed(callbacks: ThingSpaceCallbacks) -> None:
    assert (callbacks.signature_mode, callbacks.fixed_token, callbacks.fixed_secret) == ("log", None, None)
