import ipaddress

import pytest

from app.errors import InvalidArgument
from app.subscriptions.addresses import DeliveryRules, permitted

PUBLIC_ONLY = DeliveryRules()
LOOPBACK_TOO = DeliveryRules(allowed=(ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("10.20.0.0/16")))
INTERNAL = [
    "127.0.0.1",
    "10.0.0.1",
    "172.16.5.4",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "0.0.0.0",  # noqa: S104 -- nobody listens on it here
    "255.255.255.255",
    "224.0.0.1",
    "198.18.0.1",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%1",
    "fc00::1",
    "fd00:ec2::254",
    "fec0::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "::7f00:1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "not an address",
]


@pytest.mark.parametrize("address", INTERNAL)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_internal_address_is_never_connected_to(address: str, scheme: str) -> None:
    assert not PUBLIC_ONLY.permits(address, scheme=scheme)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_a_public_address_is_connected_to_over_https_alone(address: str) -> None:
    assert PUBLIC_ONLY.permits(address, scheme="https")
    assert not PUBLIC_ONLY.permits(address, scheme="http")


@pytest.mark.parametrize("address", ["127.0.0.1", "10.20.3.4", "::ffff:10.20.3.4"])
def test_a_listed_network_is_connected_to_over_http_too(address: str) -> None:
    assert LOOPBACK_TOO.permits(address, scheme="http")
    assert LOOPBACK_TOO.permits(address, scheme="https")


def test_a_network_beside_the_listed_one_stays_closed() -> None:
    assert not LOOPBACK_TOO.permits("10.21.0.1", scheme="https")


def test_of_the_addresses_of_a_name_only_those_are_used_that_are_permitted() -> None:
    assert permitted(PUBLIC_ONLY, ["10.0.0.1", "8.8.8.8", "8.8.8.8", "::1"], scheme="https") == ["8.8.8.8"]


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://127.0.0.1./",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.0.0.1/",
        "https://017700000001/",
        "https://0177.0.0.1/",
        "https://0/",
        "https://0.0.0.0/",
        "https://999999999999/",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/",
        "https://[::]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:7f00:1]/",
        "https://[fd00::1]/",
        "https://[fe80::1%25eth0]/",
        "https://10.0.0.1:8443/x",
        "https://localhost/",
        "https://LOCALHOST:8443/",
        "https://receiver.localhost/",
        "http://8.8.8.8/",
        "http://receiver.example/",
        "ftp://receiver.example/",
        "//receiver.example/",
        "receiver.example",
        "https://",
        "https:///path",
        "https://receiver.example:99999/",
        "https://[::1/",
        "https://name:password@receiver.example/",
        "https://receiver.example@127.0.0.1/",
        "https://receiver.example/#part",
        "https://receiver.example\\@127.0.0.1/",
        "https://receiver.example/a b",
        "https://receiver.example/\r\nX: y",
        "https://\uff11\uff12\uff17.0.0.1/",
        "https://b\u00fccher.example/",
        "https://%31%32%37.0.0.1/",
        "https://receiver..example/",
        "https://receiver.example/" + "x" * 2000,
    ],
)
def test_an_address_that_deliveries_cannot_go_to_is_refused_at_once(url: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        PUBLIC_ONLY.check_url(url)

    [field] = refused.value.errors
    assert field.pointer == "/url"
    assert "receiver" not in field.detail


@pytest.mark.parametrize(
    "url",
    [
        "https://receiver.example/hook?a=1",
        "https://receiver.example:8443",
        "https://8.8.8.8/",
        "https://xn--bcher-kva.example/",
    ],
)
def test_a_public_https_address_is_taken(url: str) -> None:
    assert PUBLIC_ONLY.check_url(url) == url


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9000/", "http://localhost:9000/", "https://10.20.0.7/", "http://receiver.internal/"]
)
def test_a_listed_network_may_be_named_over_http(url: str) -> None:
    assert LOOPBACK_TOO.check_url(url) == url


@pytest.mark.parametrize("url", ["http://10.21.0.1/", "https://192.168.0.1/", "http://8.8.8.8/"])
def test_what_is_not_listed_stays_refused(url: str) -> None:
    with pytest.raises(InvalidArgument):
        LOOPBACK_TOO.check_url(url)
