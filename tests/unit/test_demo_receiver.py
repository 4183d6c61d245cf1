"""The demo's receiver takes what is correctly signed, and says what it was."""

from datetime import UTC, datetime

import httpx
import orjson
from standardwebhooks import Webhook

from app.demo.receiver import EventReceiver

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
EVENTS = [{"type": "location.report.located"}, {"type": "periodic.overdue"}, {"type": "location.report.located"}]


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    now = datetime.now(UTC)
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign("msg_1", now, body.decode()),
    }


def test_a_delivery_that_is_correctly_signed_is_taken_and_told() -> None:
    lines: list[str] = []
    receiver = EventReceiver(lines.append)
    receiver.secret = SECRET
    body = orjson.dumps(EVENTS)

    with receiver.running():
        response = httpx.post(receiver.url, content=body, headers=signed(body))

    assert response.status_code == 204
    assert lines == ["  receiver: 3 events, correctly signed: 2 location.report.located, 1 periodic.overdue"]


def test_a_delivery_with_another_signature_is_refused() -> None:
    lines: list[str] = []
    receiver = EventReceiver(lines.append)
    body = orjson.dumps(EVENTS[0])
    other = signed(body, "whsec_" + "A" * 32)

    before = receiver.accepts(body, signed(body))
    receiver.secret = SECRET

    assert (before, receiver.accepts(body, other), receiver.accepts(body, signed(body))) == (False, False, True)
    assert len(lines) == 1
