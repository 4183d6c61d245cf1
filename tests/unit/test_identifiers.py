"""Identifiers are read alike, however they are written, and what is none is never taken for one."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import identifiers
from app.identifiers.hardware import check_digit
from app.model import DeviceIdKind

IMEI = "990001123456782"
MEID = "A10000EE77FF88"
ESN = "8021AB4F"
MDN = "5085550101"

READERS = (identifiers.imei, identifiers.meid, identifiers.esn, identifiers.mdn)
NAMES = (identifiers.account, identifiers.transaction_id, identifiers.device_name)
SEPARATORS = (" ", "-", ".", ":", "/", "_", "\t", "\u00a0", "\u2009", "\u2011", "\u2013", "\uff0d")
INVISIBLE = ("\u200b", "\u200e", "\u202a", "\u2060", "\ufeff", "\u00ad", "\u2066", "\ufe0f")

full_width = str.maketrans({chr(code): chr(code + 0xFEE0) for code in range(0x21, 0x7F)})
arabic = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
bodies = st.from_regex(r"[0-9]{13}[1-9]", fullmatch=True)
meids = st.from_regex(r"[A-F][0-9A-F]{13}", fullmatch=True)
mdns = st.from_regex(r"[2-9][0-9]{9}", fullmatch=True)
quoted = st.sampled_from(
    ["{}", "<{}>", "[{}]", " {} ", "'{}", '"{}"', '="{}"', "\u2018{}\u2019", "\ufeff{}\r\n", "\u202a{}\u202c"]
)


def decimal_meid(meid: str) -> str:
    return f"{int(meid[:8], 16):010d}{int(meid[8:], 16):08d}"


@st.composite
def spread(draw: st.DrawFn, groups: list[str]) -> str:
    """Groups with one separator between them, invisible characters anywhere, and marks around it all."""
    text = draw(st.sampled_from(["", *SEPARATORS])).join(groups)
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(text)))
        text = text[:place] + draw(st.sampled_from(INVISIBLE)) + text[place:]
    return draw(quoted).format(text)


@given(st.data(), bodies)
def test_every_spelling_of_an_imei_reads_to_its_fifteen_digits(data: st.DataObject, body: str) -> None:
    imei = body + check_digit(body)
    groups = data.draw(
        st.sampled_from(
            [
                [imei],
                [body],
                [imei[:2], imei[2:8], imei[8:14], imei[14:]],
                [imei[:6], imei[6:8], imei[8:14], imei[14:]],
                [imei[:8], imei[8:14], imei[14:]],
                [body[:8], body[8:]],
                [body + "07"],
                [body[:8], body[8:], "42"],
            ]
        )
    )
    prefix = data.draw(st.sampled_from(["", "imei:", "IMEI ", "Imei=", "urn:gsma:imei:", "URN:IMEI:"]))
    alphabet = data.draw(st.sampled_from([{}, full_width, arabic]))

    text = data.draw(spread([prefix + groups[0], *groups[1:]]))

    assert identifiers.imei(text.translate(alphabet)) == imei


@given(st.data(), meids)
def test_every_spelling_of_a_meid_reads_to_its_hexadecimal_digits(data: st.DataObject, meid: str) -> None:
    with_check = meid + check_digit(meid)
    groups = data.draw(
        st.sampled_from(
            [
                [meid],
                [meid.lower()],
                [with_check],
                [meid[at : at + 2] for at in range(0, 14, 2)],
                [meid[:2], meid[2:8].lower(), meid[8:]],
                [decimal_meid(meid)],
                [decimal_meid(meid)[:5], decimal_meid(meid)[5:10], decimal_meid(meid)[10:14], decimal_meid(meid)[14:]],
                ["0x" + meid],
                ["MEID:" + meid],
                ["meid " + meid],
            ]
        )
    )

    assert identifiers.meid(data.draw(spread(groups))) == meid


@given(st.data(), st.integers(0, 255), st.integers(1000, 2**24 - 1))
def test_every_spelling_of_an_esn_reads_to_its_hexadecimal_digits(
    data: st.DataObject, manufacturer: int, serial: int
) -> None:
    esn = f"{manufacturer:02X}{serial:06X}"
    decimal = f"{manufacturer:03d}{serial:08d}"
    groups = data.draw(
        st.sampled_from(
            [
                [esn],
                [esn.lower()],
                [esn[:2], esn[2:]],
                ["0x" + esn],
                [decimal],
                [decimal[:3], decimal[3:]],
                ["ESN:" + esn],
            ]
        )
    )

    assert identifiers.esn(data.draw(spread(groups))) == esn


@given(st.data(), mdns)
def test_every_spelling_of_a_number_reads_to_its_ten_digits(data: st.DataObject, mdn: str) -> None:
    groups = [mdn[:3], mdn[3:6], mdn[6:]]
    groups = data.draw(
        st.sampled_from(
            [
                [mdn],
                groups,
                [f"({groups[0]}) {groups[1]}", groups[2]],
                ["1", *groups],
                ["1" + mdn],
                ["+1", *groups],
                ["+1" + mdn],
                ["+1 (" + groups[0] + ")", *groups[1:]],
                ["001" + mdn],
                ["011 1 " + mdn],
                ["tel:+1" + mdn],
                ["mdn: " + mdn],
                ["MDN " + mdn],
                [f"sip:+1{mdn}@ims.example.com;user=phone"],
                [f"tel:{mdn};phone-context=+1"],
            ]
        )
    )

    assert identifiers.mdn(data.draw(spread(groups))) == mdn


@given(bodies, mdns)
def test_numbers_that_kept_all_their_digits_are_read(body: str, mdn: str) -> None:
    imei = "9" + body[1:] + check_digit("9" + body[1:])

    for value in (int(imei), f"{imei}.0", f"{imei},00", f"{imei[0]}.{imei[1:]}E+14", f"{imei[0]},{imei[1:]}e14"):
        assert identifiers.imei(value) == imei
    for value in (int(mdn), int("1" + mdn), f"{mdn}.0", f"1{mdn}.00", f"{mdn[0]}.{mdn[1:]}E+9"):
        assert identifiers.mdn(value) == mdn


anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=200),
    st.text("0123456789abcdefABCDEF -.:/+()'=,;xeE\u200b\u0660", max_size=40),
    st.lists(st.integers()),
)


@given(anything)
def test_whatever_is_read_is_canonical_and_reads_to_itself(value: object) -> None:
    shapes = {
        identifiers.imei: r"[0-9]{15}",
        identifiers.meid: r"[0-9A-F]{14}",
        identifiers.esn: r"[0-9A-F]{8}|[0-9]{11}",
        identifiers.mdn: r"[0-9]{10}",
    }
    for read, shape in shapes.items():
        found = read(value)
        if found is not None:
            assert re.fullmatch(shape, found)
            assert read(found) == found


@given(st.text(max_size=200))
def test_reading_a_name_twice_changes_nothing_more(text: str) -> None:
    for read in NAMES:
        assert read(read(text)) == read(text)


@given(st.text(max_size=200))
def test_a_text_of_unknown_kind_is_read_without_an_error(text: str) -> None:
    found = identifiers.readings(text)

    assert all(found.ids)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "null",
        "N/A",
        "unknown",
        "=HYPERLINK(1)",
        "@SUM(1+1)",
        "9.90001E+14",
        "5.08555E+09",
        "\x00",
        None,
        True,
        -1,
    ],
)
def test_what_is_no_identifier_is_read_as_none(read: Callable[[object], str | None], value: object) -> None:
    assert read(value) is None


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("9900011234567", id="too short"),
        pytest.param("99000112345678212", id="too long"),
        pytest.param("990001123456782\u00b9", id="a footnote is no digit"),
        pytest.param(9.90001e14, id="rounded"),
        pytest.param(12345678901234, id="fifteen digits that have lost a zero"),
        pytest.param("12345678901234.0", id="the same as a text"),
        pytest.param("99000112345678A", id="a letter"),
        pytest.param("990001123456782 990001123456790", id="two"),
        pytest.param("meid:990001123456782", id="says that it is something else"),
    ],
)
def test_no_imei_is_guessed(value: object) -> None:
    assert identifiers.imei(value) is None


@pytest.mark.parametrize(
    ("value", "is_foreign"),
    [
        pytest.param("+447700900123", True, id="United Kingdom"),
        pytest.param("00447700900123", True, id="dialled from Europe"),
        pytest.param("011 44 7700 900123", True, id="dialled from America"),
        pytest.param("tel:+49-30-123456", True, id="as a URI"),
        pytest.param("+5085550101", True, id="a plus sign leads a country code, here of Saint-Pierre"),
        pytest.param("+1 508 555 010", False, id="one digit short"),
        pytest.param("508555010", False, id="nine digits"),
        pytest.param("25085550101", False, id="eleven digits"),
        pytest.param("508555010.1", False, id="a fraction"),
        pytest.param("508 555 0101 x12", False, id="an extension"),
        pytest.param("tel:5085550101;phone-context=+44", False, id="a number within another country"),
    ],
)
def test_a_number_of_another_country_is_no_mdn(value: str, *, is_foreign: bool) -> None:
    assert identifiers.mdn(value) is None
    assert identifiers.is_foreign(value) is is_foreign


def test_a_wrong_check_digit_is_kept_and_equals_no_other_number() -> None:
    wrong = "990001123456789"

    assert identifiers.imei(wrong) == wrong
    assert identifiers.imei("99000112345678") == IMEI


def test_the_spare_digit_of_a_urn_is_no_check_digit() -> None:
    assert identifiers.imei("urn:gsma:imei:99000112-345678-0") == IMEI
    assert identifiers.imei("urn:gsma:imei:99000112-345678-0;svn=42") == IMEI


def test_an_imei_with_its_software_version_as_phones_show_it_is_read() -> None:
    assert identifiers.imei("99 000112 345678 2 / 01") == IMEI


def test_hexadecimal_digits_that_look_like_a_power_of_ten_stay_digits() -> None:
    assert identifiers.esn("1234e003") == "1234E003"
    assert identifiers.meid("99000112345e10") == "99000112345E10"


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        pytest.param(IMEI, None, ("imei", IMEI), id="15 digits"),
        pytest.param("a10000ee77ff88", None, ("meid", MEID), id="14 hexadecimal digits"),
        pytest.param(decimal_meid(MEID), None, ("meid", MEID), id="18 digits"),
        pytest.param("8021ab4f", None, ("esn", ESN), id="8 hexadecimal digits"),
        pytest.param("12345678901", None, ("esn", "12345678901"), id="11 digits without a hexadecimal form"),
        pytest.param("a10000ee77ff88", "imei", None, id="not of the kind that is stated"),
        pytest.param(MDN, None, None, id="ten digits"),
    ],
)
def test_the_shape_tells_the_kind_where_none_is_stated(
    value: str, kind: DeviceIdKind | None, expected: tuple[str, str] | None
) -> None:
    assert identifiers.hardware_id(value, kind) == expected


def test_a_text_of_unknown_kind_keeps_all_its_meanings() -> None:
    assert identifiers.readings("1-508-555-0101").mdn == MDN
    assert identifiers.readings("99000112345678").ids == (IMEI, "99000112345678")
    assert identifiers.readings(" pump-0417\u200b").name == "pump-0417"


def test_names_lose_what_surrounds_them_unseen_and_nothing_else() -> None:
    assert identifiers.account("\ufeff0844559123\u201300001 ") == "0844559123-00001"
    assert identifiers.account("'0844559123 00001") == "0844559123-00001"
    assert identifiers.account("TestAccount-1") == "TestAccount-1"
    assert identifiers.transaction_id(" 0d5c2a1e\u200b ") == "0d5c2a1e"
    assert (
        identifiers.device_name("Gara\u0302ge \U0001f468\u200d\U0001f469\u200e")
        == "Gar\u00e2ge \U0001f468\u200d\U0001f469"
    )


@pytest.mark.parametrize(
    ("pattern", "canonical"),
    [
        pytest.param("99-000112-345678-2", {IMEI}, id="IMEI with separators"),
        pytest.param("9900011234567801", {IMEI}, id="IMEI with a software version"),
        pytest.param("a10000ee77ff88", {MEID}, id="MEID in lower case"),
        pytest.param("99-000112-*", {"99000112*"}, id="beginning of an IMEI with separators"),
        pytest.param("a10000*", {"A10000*"}, id="beginning of a MEID in lower case"),
        pytest.param("A1-0000-e*", {"A10000E*"}, id="beginning of a MEID with separators"),
        pytest.param("cafe-0001-*", set(), id="names of letters and digits"),
        pytest.param("+1508555*", {"508555*"}, id="beginning of a number with a country code"),
        pytest.param("9900011234567*", set(), id="canonical already"),
        pytest.param("pump-*", set(), id="names"),
        pytest.param("a-*", set(), id="names of letters that are digits, too"),
        pytest.param(".*", set(), id="next to nothing"),
    ],
)
def test_a_pattern_allows_what_it_is_written_for(pattern: str, canonical: set[str]) -> None:
    assert set(identifiers.canonical_patterns([pattern])) == {pattern} | canonical


@pytest.mark.parametrize("pattern", ["+1 (508) 555-0101", "15085550101", MDN])
def test_a_pattern_that_is_a_number_means_nothing_else(pattern: str) -> None:
    assert identifiers.canonical_patterns([pattern]) == (MDN,)


def test_a_phone_number_needs_its_country_code() -> None:
    assert identifiers.phone_number("+1 508 555 0101") == identifiers.phone_number("15085550101") == MDN
    assert identifiers.phone_number(MDN) is None


@given(st.text("0123456789ABCDEF", min_size=14, max_size=14))
def test_a_check_digit_makes_the_sum_of_digits_and_doubled_digits_a_multiple_of_the_base(body: str) -> None:
    base = 10 if body.isdecimal() else 16
    digits = [int(character, base) for character in body + check_digit(body)]
    doubled = [sum(divmod(digit * 2, base)) if place % 2 else digit for place, digit in enumerate(digits)]

    assert sum(doubled) % base == 0
