"""The text of a body: its content coding undone, its characters in UTF-8, both within the limits.

Codings are bounded while they are undone, so that a small body cannot become a large one. JSON is UTF-8 whatever its
`charset` claims (RFC 8259, section 8.1); UTF-16 and UTF-32 are known by their zeros or marks, and only bytes that are
none of these are read by `charset`.
"""

import json
import zlib
from collections.abc import Iterable

from app.errors import BodyTooLarge, MalformedJson, UnsupportedCoding, UnsupportedMediaType

RawHeaders = Iterable[tuple[bytes, bytes]]

_CODINGS = frozenset({b"content-encoding", b"transfer-encoding"})
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP = 16 + zlib.MAX_WBITS
_ZLIB = zlib.MAX_WBITS
_BARE_DEFLATE = -zlib.MAX_WBITS
# Not whatever Python knows: some of its codecs take a time that grows with the square of the body.
_CHARSETS = {
    "iso-8859-1": "latin-1",
    "latin1": "latin-1",
    "windows-1252": "cp1252",
    "us-ascii": "ascii",
    "utf-8": "utf-8",
    "utf-16": "utf-16",
    "utf-32": "utf-32",
}


def decoded(body: bytes, headers: RawHeaders, limit: int) -> bytes:
    """Undo the content coding of a body, and write it in UTF-8.

    Args:
        headers: The request's; names in lower case.
        limit: How many bytes the body may have without its coding.

    Raises:
        UnsupportedCoding, UnsupportedMediaType: The coding, or the charset, is none that is read here.
        BodyTooLarge: It is larger without its coding.
        MalformedJson: It is not coded as its header states, or holds bytes that are no characters.
    """
    codings, charset = _stated(headers)
    return _to_utf8(_without_coding(body, codings, limit), charset or "utf-8")


def legible(body: bytes, headers: RawHeaders, limit: int) -> bytes:
    """Do what `decoded` does for a callback, whose sender will not correct it: it is read whatever it calls itself.

    Returns:
        The bytes as they came where they cannot be read.

    Raises:
        UnsupportedCoding, BodyTooLarge: As `decoded` does.
    """
    codings, charset = _stated(headers)
    if not codings and body.startswith(_GZIP_MAGIC):
        codings = ["gzip"]
    try:
        body = _without_coding(body, codings, limit)
        text = _to_utf8(body, charset if charset in _CHARSETS and charset != "utf-8" else "latin1")
    except MalformedJson:
        return body
    return text if text.lstrip().startswith(b"{") else body


def _stated(headers: RawHeaders) -> tuple[list[str], str]:
    """Read which codings a body has, in the order in which they were applied, and its charset."""
    codings: list[str] = []
    charset = ""
    for name, value in headers:
        if name in _CODINGS:
            found = (coding.strip() for coding in value.decode("latin-1").lower().split(","))
            # The server has undone `chunked`.
            codings += [coding for coding in found if coding not in ("", "identity", "chunked")]
        elif name == b"content-type" and b";" in value:
            charset = _charset_of(value.decode("latin-1"))
    return codings, charset


def _without_coding(body: bytes, codings: list[str], limit: int) -> bytes:
    match codings:
        case []:
            return body
        case ["gzip" | "x-gzip"]:
            return _inflated(body, _GZIP, limit)
        case ["deflate"]:
            return _inflated(body, _ZLIB if _has_zlib_header(body) else _BARE_DEFLATE, limit)
    raise UnsupportedCoding("Send the body as it is, or with one Content-Encoding of: gzip, deflate.")


def _has_zlib_header(body: bytes) -> bool:
    # `deflate` means zlib's format (RFC 9110, section 8.4.1.2), which some clients have always sent without its header.
    return len(body) > 1 and body[0] & 0x8F == zlib.DEFLATED and int.from_bytes(body[:2]) % 31 == 0


def _inflated(body: bytes, window_bits: int, limit: int) -> bytes:
    inflating = zlib.decompressobj(window_bits)
    try:
        inflated = inflating.decompress(body, limit + 1)
    except zlib.error as error:
        raise MalformedJson("The body is not coded as its Content-Encoding states.") from error
    if len(inflated) > limit:
        raise BodyTooLarge(f"Send at most {limit} bytes, counted without Content-Encoding.")
    if not inflating.eof or inflating.unused_data:
        raise MalformedJson("The body breaks off, or goes on after the end of its Content-Encoding.")
    return inflated


def _to_utf8(body: bytes, charset: str) -> bytes:
    """Write JSON in UTF-8, without a byte order mark; `charset` counts where the bytes are no UTF at all.

    Raises:
        UnsupportedMediaType: They are in none that is read here.
        MalformedJson: They are not in the encoding that they seem, or claim, to be in.
    """
    if body.isascii() and b"\0" not in body:
        # Nearly every body; only UTF-16 and UTF-32 write such text with zeros.
        return body
    encoding: str = json.detect_encoding(body)
    if encoding == "utf-8":
        if charset == "utf-8" or _is_utf8(body):
            return body
        if charset not in _CHARSETS:
            raise UnsupportedMediaType("Send JSON in UTF-8.")
        encoding = _CHARSETS[charset]
    try:
        return body.decode(encoding).encode()
    except UnicodeError as error:
        raise MalformedJson("The body holds bytes that are no characters; send JSON in UTF-8.") from error


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _charset_of(content_type: str) -> str:
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip('"').lower()
    return ""
