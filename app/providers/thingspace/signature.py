"""Authenticity of callbacks: HMAC-SHA256 over the raw bytes (reference, section 8.1)."""

import binascii
import hashlib
import hmac
from base64 import b64decode, b64encode
from typing import Literal

Encoding = Literal["hex", "base64"]

_PREFIX = "sha256="


def is_signed_with(secret: str, body: bytes, signature: str, encoding: Encoding) -> bool:
    """Compare in constant time; a signature that cannot be read is a wrong one."""
    expected = hmac.digest(secret.encode(), body, hashlib.sha256)
    return hmac.compare_digest(expected, _decoded(signature.strip(), encoding))


def signature_of(secret: str, body: bytes, encoding: Encoding) -> str:
    """Sign as ThingSpace would."""
    signature = hmac.digest(secret.encode(), body, hashlib.sha256)
    return signature.hex() if encoding == "hex" else b64encode(signature).decode()


def _decoded(signature: str, encoding: Encoding) -> bytes:
    if signature[: len(_PREFIX)].lower() == _PREFIX:
        signature = signature[len(_PREFIX) :]
    try:
        return bytes.fromhex(signature) if encoding == "hex" else b64decode(signature, validate=True)
    except (ValueError, binascii.Error):
        return b""
