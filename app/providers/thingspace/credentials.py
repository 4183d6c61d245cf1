"""Blots credentials out of raw bodies, which Verizon may send back in clear (reference, section 8.1); pure.

Bodies that are no JSON are kept as well, so this goes from text to text instead of decoding the whole. Whatever is no
credential stays byte for byte as it came.
"""

import json
import re

_NAMES = ("username", "password")
_BLOT = b'"***"'
_STRING = rb'"(?:[^"\\]++|\\.)*+(?:"|\Z)'
# Possessive, because what does not match must not be tried again in parts: that takes the square of the time.
_TEXT = re.compile(_STRING, re.DOTALL)
_TEXT_OR_BRACKET = re.compile(_STRING + rb"|[\[\]{}]", re.DOTALL)
_COLON = re.compile(rb"\s*+:\s*+")
_SCALAR = re.compile(rb"[^\s,}\]]*+")


def without_credentials(body: bytes) -> bytes:
    """Replace the values of `username` and `password` at any depth, however names and values are written."""
    lowered = body.lower()
    if not (b"username" in lowered or b"password" in lowered or b"\\u" in lowered):
        return body
    kept: list[bytes] = []
    copied = position = 0
    while text := _TEXT.search(body, position):
        position = text.end()
        colon = _COLON.match(body, position)
        if colon is not None and _is_credential(text[0]):
            kept += body[copied : colon.end()], _BLOT
            copied = position = _end_of_value(body, colon.end())
    return b"".join((*kept, body[copied:]))


def _is_credential(name: bytes) -> bool:
    written = name.decode("utf-8", "replace")
    try:
        decoded = json.loads(written, strict=False) if "\\" in written else written.strip('"')
    except ValueError:
        return False
    return decoded.strip().lower() in _NAMES


def _end_of_value(body: bytes, start: int) -> int:
    if body[start : start + 1] in (b"{", b"["):
        return _end_of_nested(body, start)
    value = _TEXT.match(body, start) or _SCALAR.match(body, start)
    return value.end() if value else start


def _end_of_nested(body: bytes, start: int) -> int:
    depth = 0
    for part in _TEXT_OR_BRACKET.finditer(body, start):
        depth += {b"{": 1, b"[": 1, b"}": -1, b"]": -1}.get(part[0], 0)
        if depth == 0:
            return part.end()
    return len(body)
