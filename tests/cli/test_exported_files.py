"""An export that was interrupted goes on behind its last whole report."""

from io import BytesIO

import pytest

from app.cli.exported import Format, last_report, without_heading

HEADING = b"id,name\r\n"


@pytest.mark.parametrize(
    ("format_", "content", "left", "last"),
    [
        pytest.param("csv", b"", b"", None, id="nothing"),
        pytest.param("csv", HEADING, b"", None, id="a heading alone"),
        pytest.param("csv", HEADING + b"A,x\r\nB,y\r\n", HEADING + b"A,x\r\nB,y\r\n", "B", id="whole rows"),
        pytest.param("csv", HEADING + b"A,x\r\nB,", HEADING + b"A,x\r\n", "A", id="half a row"),
        pytest.param("csv", HEADING + b'A,x\r\nB,"y\r\nz', HEADING + b"A,x\r\n", "A", id="an open text"),
        pytest.param("csv", HEADING + b'B,"y\r\nz"\r\n', HEADING + b'B,"y\r\nz"\r\n', "B", id="a text of two lines"),
        pytest.param("ndjson", b'{"id":"A"}\n{"id":"B","na', b'{"id":"A"}\n', "A", id="half a line of JSON"),
    ],
)
def test_what_is_not_whole_is_cut_off(format_: Format, content: bytes, left: bytes, last: str | None) -> None:
    file = BytesIO(content)

    assert last_report(file, format_) == last
    assert file.getvalue() == left
    assert file.tell() == len(left)


def test_a_heading_is_left_out_however_it_arrives() -> None:
    assert b"".join(without_heading(iter([b"id,", b"name\r", b"\nA,x\r\n", b"B,y\r\n"]))) == b"A,x\r\nB,y\r\n"
