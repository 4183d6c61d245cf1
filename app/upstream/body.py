"""Unpacks bodies, up to a limit."""

import zlib
from collections.abc import Iterable

import httpx

_EITHER_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


def decode(headers: Iterable[tuple[bytes, bytes]], body: bytes, max_bytes: int) -> bytes:
    """Undo the content encoding that the headers state.

    Raises:
        httpx.DecodingError: It is not gzip or deflate, is broken, or unpacks to more than `max_bytes`.
    """
    encodings = [value.strip().lower() for name, value in headers if name.lower() == b"content-encoding"]
    encoding = b",".join(encodings)
    if not body or encoding in {b"", b"identity"}:
        return body
    if encoding not in {b"gzip", b"x-gzip", b"deflate"}:
        raise httpx.DecodingError("The answer is packed in an unknown way.")
    unpacker = zlib.decompressobj(_EITHER_GZIP_OR_ZLIB)
    try:
        unpacked = unpacker.decompress(body, max_bytes)
    except zlib.error as error:
        raise httpx.DecodingError("The answer cannot be unpacked.") from error
    if not unpacker.eof:
        raise httpx.DecodingError("The answer is too large, or cut off.")
    return unpacked
