import base64
import hashlib
import hmac
from datetime import UTC, datetime

from app.subscriptions.signatures import new_secret, signed

AT = datetime(2026, 3, 2, 8, 15, 1, 400_000, tzinfo=UTC)


def by_hand(secret: str, headers: dict[str, str], body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    message = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body])
    return "v1," + base64.b64encode(hmac.new(key, message, hashlib.sha256).digest()).decode()


def test_a_secret_is_written_as_standard_webhooks_has_it() -> None:
    secret = new_secret()

    assert secret.startswith("whsec_")
    assert 24 <= len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) <= 64
    assert new_secret() != secret


def test_a_signature_is_the_one_that_is_made_by_hand() -> None:
    secret, body = new_secret(), '{"name": "Bü"}'.encode()

    headers = dict(signed([secret], "msg_1", AT, body))

    assert headers["webhook-timestamp"] == str(int(AT.timestamp()))
    assert headers["webhook-signature"] == by_hand(secret, headers, body)


def test_while_a_secret_is_replaced_both_sign() -> None:
    new, old = new_secret(), new_secret()

    headers = dict(signed([new, old], "msg_1", AT, b"{}"))

    assert headers["webhook-signature"].split(" ") == [by_hand(new, headers, b"{}"), by_hand(old, headers, b"{}")]
