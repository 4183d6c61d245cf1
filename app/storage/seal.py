"""Sealing of secrets that have to be stored: Fernet (AES-128-CBC with HMAC-SHA256), keys never stored beside them."""

import base64

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


class Seal:
    """Encrypts and decrypts secrets with the gateway's encryption keys, or with key material of the caller's.

    What was sealed with the caller's before there were encryption keys is opened all the same.

    Attributes:
        has_own_keys: Whether `GATEWAY_ENCRYPTION_KEY` is set.
    """

    def __init__(self, keys: str | None = None) -> None:
        """Take the keys of `GATEWAY_ENCRYPTION_KEY`: any texts, separated by commas; the first one encrypts."""
        self._keys = [key.strip().encode() for key in (keys or "").split(",") if key.strip()]
        self.has_own_keys = bool(self._keys)

    def encrypt(self, secret: bytes, *, sealed_with: bytes) -> bytes:
        """Encrypt a secret."""
        return self._box(sealed_with).encrypt(secret)

    def decrypt(self, sealed: bytes, *, sealed_with: bytes) -> bytes | None:
        """Decrypt a secret; None when it was encrypted with another key."""
        try:
            return self._box(sealed_with).decrypt(sealed)
        except InvalidToken:
            return None

    def _box(self, sealed_with: bytes) -> MultiFernet:
        return MultiFernet([Fernet(_derive(key)) for key in (*self._keys, sealed_with)])


def _derive(material: bytes) -> bytes:
    kdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"location-gateway secrets")
    return base64.urlsafe_b64encode(kdf.derive(material))
