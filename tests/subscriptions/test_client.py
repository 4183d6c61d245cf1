"""What the HTTP client of deliveries connects to, sends, reads, and makes of what goes wrong."""

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.subscriber import HttpReceiver
from app.subscriptions.addresses import DeliveryRules

RULES = DeliveryRules(allowed=(ipaddress.ip_network("127.0.0.0/8"),))
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfine!"


class Peer:
    """A receiver that answers with bytes; notes what it is sent, and how often it is connected to."""

    def __init__(self, *answers: bytes, then: Callable[[asyncio.StreamWriter], Awaitable[None]] | None = None) -> None:
        self.answers = list(answers)
        self.then = then
        self.requests: list[str] = []
        self.connections = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                self.requests.append((head + await reader.readexactly(length)).decode())
                writer.write(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
                await writer.drain()
                if self.then is not None:
                    await self.then(writer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def listening(peer: Peer, tls: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0, ssl=tls)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        server.close()


@asynccontextmanager
async def receiver(
    *, rules: DeliveryRules = RULES, names: dict[str, Sequence[str]] | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[HttpReceiver]:
    async def resolve(host: str, port: int) -> Sequence[str]:
        try:
            return (names or {})[host]
        except KeyError:
            raise OSError from None

    client = HttpReceiver(rules, resolve=resolve, tls=tls, timeout_s=1)
    yield client
    await client.aclose()


NAMED = {"receiver.test": ["127.0.0.1"]}


async def test_a_delivery_bears_the_name_and_the_headers() -> None:
    async with listening(Peer(OK)) as peer, receiver(names=NAMED) as client:
        answer = await client.post(f"http://receiver.test:{peer.port}/hook?a=1", {"webhook-id": "x"}, b"{}")

    assert (answer.status, answer.text, answer.error) == (200, "fine!", None)
    head, body = peer.requests[0].split("\r\n\r\n")
    assert head.startswith("POST /hook?a=1 HTTP/1.1\r\n")
    assert f"Host: receiver.test:{peer.port}" in head
    assert "webhook-id: x" in head
    assert body == "{}"


async def test_a_connection_is_used_again_while_its_address_is_permitted() -> None:
    async with listening(Peer(OK)) as peer, receiver(names=NAMED) as client:
        for _ in range(3):
            assert (await client.post(f"http://receiver.test:{peer.port}/", {}, b"{}")).is_delivered

    assert peer.connections == 1


async def test_a_name_that_leads_to_a_private_address_by_now_is_not_connected_to() -> None:
    names: dict[str, Sequence[str]] = {"receiver.test": ["127.0.0.1"]}
    async with listening(Peer(OK)) as peer, receiver(names=names) as client:
        assert (await client.post(f"http://receiver.test:{peer.port}/", {}, b"{}")).is_delivered
        names["receiver.test"] = ["10.0.0.1", "::1"]
        answer = await client.post(f"http://receiver.test:{peer.port}/", {}, b"{}")

    assert answer.status is None
    assert answer.error == "none of the addresses that the name leads to may be connected to"
    assert len(peer.requests) == 1


async def test_loopback_is_not_connected_to_unless_it_is_listed() -> None:
    async with listening(Peer(OK)) as peer, receiver(names=NAMED, rules=DeliveryRules()) as client:
        answer = await client.post(f"https://receiver.test:{peer.port}/", {}, b"{}")

    assert (answer.status, peer.connections) == (None, 0)


async def test_the_next_address_is_tried_when_one_cannot_be_connected_to() -> None:
    async with (
        listening(Peer(OK)) as peer,
        receiver(names={"receiver.test": ["127.0.0.2", "127.0.0.1"]}) as client,
    ):
        assert (await client.post(f"http://receiver.test:{peer.port}/", {}, b"{}")).is_delivered


async def test_a_redirect_is_not_followed() -> None:
    moved = b"HTTP/1.1 307 Moved\r\nLocation: http://receiver.test/\r\nContent-Length: 0\r\n\r\n"
    async with listening(Peer(moved)) as peer, receiver(names=NAMED) as client:
        answer = await client.post(f"http://receiver.test:{peer.port}/", {}, b"{}")

    assert (answer.status, answer.is_delivered) == (307, False)
    assert len(peer.requests) == 1


async def test_the_environment_cannot_send_deliveries_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:1")

    async with listening(Peer(OK)) as peer, receiver(names=NAMED) as client:
        assert (await client.post(f"http://receiver.test:{peer.port}/", {}, b"{}")).is_delivered


async def test_of_an_endless_answer_only_the_beginning_is_read() -> None:
    async def pour(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async with listening(Peer(b"HTTP/1.1 200 OK\r\n\r\n\0", then=pour)) as peer, receiver(names=NAMED) as client:
        answer = await client.post(f"http://receiver.test:{peer.port}/", {}, b"{}")

    assert answer.is_delivered
    assert answer.text == "\ufffd" + "x" * 999


async def test_no_answer_in_time_is_a_failure() -> None:
    async with listening(Peer(b"")) as peer, receiver(names=NAMED) as client:
        answer = await client.post(f"http://receiver.test:{peer.port}/", {}, b"{}")

    assert (answer.status, answer.error) == (None, "no answer within 1 seconds")
    assert 900 <= answer.duration_ms < 5000


async def test_a_status_whose_body_never_ends_is_an_answer() -> None:
    late = b"HTTP/1.1 503 Busy\r\nContent-Length: 100\r\nRetry-After: 7200\r\n\r\nbusy"
    async with listening(Peer(late)) as peer, receiver(names=NAMED) as client:
        answer = await client.post(f"http://receiver.test:{peer.port}/", {}, b"{}")

    assert (answer.status, answer.is_busy, answer.retry_after_s) == (503, True, 7200)


@pytest.mark.parametrize("answer", [b"no HTTP\r\n\r\n", b"HTTP/1.1 200"])
async def test_what_is_no_answer_is_a_failure(answer: bytes) -> None:
    async def hang_up(writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with listening(Peer(answer, then=hang_up)) as peer, receiver(names=NAMED) as client:
        result = await client.post(f"http://receiver.test:{peer.port}/", {}, b"{}")

    assert (result.status, result.error) == (None, "the connection broke before an answer came")


async def test_a_name_without_an_address_is_a_failure() -> None:
    async with receiver() as client:
        answer = await client.post("http://nowhere.test/", {}, b"{}")

    assert answer.error == "the name of the host could not be resolved"


def certificate(folder: Path, name: str) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    path = folder / "certificate.pem"
    path.write_bytes(
        made.public_bytes(pem) + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.mark.parametrize(
    ("name", "error"), [("receiver.test", None), ("other.test", "the certificate of the receiver is not valid")]
)
async def test_the_certificate_has_to_be_the_names(tmp_path: Path, name: str, error: str | None) -> None:
    file = certificate(tmp_path, "receiver.test")
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(file)
    trusting = ssl.create_default_context(cafile=str(file))

    async with (
        listening(Peer(OK), served) as peer,
        receiver(names={name: ["127.0.0.1"]}, tls=trusting) as client,
    ):
        answer = await client.post(f"https://{name}:{peer.port}/", {}, b"{}")

    assert (answer.error, answer.is_delivered) == (error, error is None)
