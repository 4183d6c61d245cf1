"""Secrets of subscriptions, and the headers of Standard Webhooks that are made with them."""

import base64
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime

from standardwebhooks import Webhook

_PREFIX = "whsec_"
_SECRET_BYTES = 32


def new_secret() -> str:
    """Make a secret as Standard Webhooks writes it: `whsec_` and 256 random bits in base64."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def signed(valid: Sequence[str], webhook_id: str, at: datetime, body: bytes) -> Mapping[str, str]:
    """Make the headers of a delivery.

    Args:
        valid: The secrets to sign with; several while one of them is being replaced.
        at: When the attempt is made; receivers refuse what is older than a few minutes.
    """
    text = body.decode()
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(webhook_id, at, text) for secret in valid),
    }
