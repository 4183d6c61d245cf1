import base64

import pytest
from cloudlocate_stage import OFFICIAL_REPAIRED, VECTORS
from cloudlocate_stage import ubx as vector
from hypothesis import given
from hypothesis import strategies as st
from pyubx2 import UBXReader

from app.providers.cloudlocate import ubx

COMPACT = st.sampled_from(sorted(ubx.COMPACT_LENGTHS.items()))


@st.composite
def compact_frames(draw: st.DrawFn) -> ubx.Frame:
    identity, length = draw(COMPACT)
    return ubx.Frame(identity=identity, payload=draw(st.binary(min_size=length, max_size=length)))


@given(compact_frames())
def test_a_frame_we_write_is_one_for_an_independent_parser(frame: ubx.Frame) -> None:
    parsed = UBXReader.parse(ubx.to_bytes(frame))

    assert parsed.msg_cls + parsed.msg_id == frame.identity.to_bytes(2, "big")
    assert parsed.payload == frame.payload


@given(st.lists(compact_frames(), min_size=1, max_size=4))
def test_frames_in_a_row_are_read_back_as_they_were_written(frames: list[ubx.Frame]) -> None:
    written = b"".join(map(ubx.to_bytes, frames))

    read = ubx.read(written)

    assert [(frame.identity, frame.payload) for frame in read] == [(frame.identity, frame.payload) for frame in frames]
    assert all(frame.is_sound for frame in read)
    assert b"".join(map(ubx.as_it_came, read)) == written


@given(st.one_of(st.binary(max_size=120), st.binary(max_size=120).map(ubx.SYNC.__add__)))
def test_reading_any_bytes_gives_frames_or_the_one_error(data: bytes) -> None:
    try:
        frames = ubx.read(data)
    except ubx.MalformedUbx:
        return

    for frame in frames:
        assert ubx.has_satellites(frame) in {True, False}
        assert ubx.carries_time(frame) in {True, False}


@given(st.sampled_from(sorted(VECTORS.values())), st.data())
def test_a_cut_off_frame_is_never_taken(encoded: str, data: st.DataObject) -> None:
    whole = base64.b64decode(encoded)
    part = whole[: data.draw(st.integers(2, len(whole) - 1))]

    with pytest.raises(ubx.MalformedUbx):
        ubx.read(part)


@pytest.mark.parametrize("name", VECTORS)
def test_the_vectors_have_the_right_checksum(name: str) -> None:
    (frame,) = ubx.read(vector(name))

    assert frame.is_sound


def test_the_vendors_own_sample_is_whole_and_its_checksum_is_wrong() -> None:
    (frame,) = ubx.read(vector("OFFICIAL"))

    assert frame.identity == ubx.MEAS50
    assert not frame.is_sound
    assert ubx.to_bytes(frame) == base64.b64decode(OFFICIAL_REPAIRED)


@pytest.mark.parametrize(("length", "identity"), [(20, ubx.MEAS20), (50, ubx.MEAS50)])
def test_a_bare_payload_is_known_by_its_length(length: int, identity: int) -> None:
    (frame,) = ubx.read(bytes(length))

    assert frame == ubx.Frame(identity=identity, payload=bytes(length))


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(bytes(12), "AMBIGUOUS", id="bare 12 bytes"),
        pytest.param(bytes(19), "INVALID_FORMAT", id="bare 19 bytes"),
        pytest.param(vector("MEAS50")[:-1], "TRUNCATED", id="last byte missing"),
        pytest.param(vector("MEAS50") + b"\n", "LEFTOVER_BYTES", id="a byte too many"),
        pytest.param(vector("MEAS50") + b"\xb5\x62", "TRUNCATED", id="second frame begun"),
        pytest.param(ubx.to_bytes(ubx.Frame(identity=ubx.MEAS20, payload=bytes(19))), "INVALID_LENGTH", id="MEAS20"),
        pytest.param(ubx.to_bytes(ubx.Frame(identity=ubx.MEASC12, payload=bytes(24))), "INVALID_LENGTH", id="C12"),
        pytest.param(ubx.to_bytes(ubx.Frame(identity=ubx.MEASX, payload=b"")), "INVALID_LENGTH", id="empty MEASX"),
        pytest.param(
            ubx.to_bytes(ubx.Frame(identity=ubx.MEASX, payload=bytes(34) + b"\x05" + bytes(9 + 48))),
            "INVALID_LENGTH",
            id="MEASX of two satellites that says five",
        ),
    ],
)
def test_what_does_not_add_up_is_malformed(data: bytes, code: str) -> None:
    with pytest.raises(ubx.MalformedUbx) as caught:
        ubx.read(data)

    assert caught.value.code == code


def test_satellites_are_counted_as_strong_by_their_carrier_to_noise_density() -> None:
    (frame,) = ubx.read(vector("MEASX"))

    assert ubx.strong_satellites(frame, least_dbhz=30) == 4
    assert ubx.strong_satellites(frame, least_dbhz=41) == 0
