"""Which addresses may be registered as listeners: for most keys those of the gateway alone."""

import pytest

from app.errors import InvalidArgument, PermissionDenied
from app.listeners import ListenerUrls

URLS = ListenerUrls(
    public="https://gateway.example.com/location",
    allowed=("https://proxy.example.com/thingspace", "http://127.0.0.1:9000"),
)


@pytest.mark.parametrize(
    "url",
    [
        "https://gateway.example.com/location/callbacks/thingspace/token",
        "https://GATEWAY.example.com:443/location/callbacks/thingspace/token",
        "https://proxy.example.com/thingspace/token",
        "http://127.0.0.1:9000/callbacks/thingspace/token",
    ],
)
def test_an_address_that_leads_here_may_be_registered(url: str) -> None:
    assert URLS.check(url, is_admin=False) == url


@pytest.mark.parametrize(
    "url",
    [
        "https://elsewhere.example.com/location/callbacks/thingspace/token",
        "https://gateway.example.com.elsewhere.example.com/location/x",
        "https://gateway.example.com:8443/location/x",
        "https://gateway.example.com/locations/x",
        "https://gateway.example.com/location/../x",
        "https://gateway.example.com/location/%2e%2e/x",
        "https://gateway.example.com",
        "https://proxy.example.com/thingspaces/x",
        "https://169.254.169.254/latest/meta-data",
        "http://127.0.0.1:9001/x",
        "http://localhost:9000/x",
        "http://[::1]:9000/x",
    ],
)
def test_no_other_address_may_be_registered_but_by_an_administrator(url: str) -> None:
    with pytest.raises(PermissionDenied) as refusal:
        URLS.check(url, is_admin=False)

    assert refusal.value.errors[0].pointer == "/url"
    assert URLS.check(url, is_admin=True) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://gateway.example.com/location/x",
        "https://gateway.example.com@elsewhere.example.com/location/x",
        "https://user:password@gateway.example.com/location/x",
        "https:///location/x",
        "https://gateway.example.com:port/x",
        "ftp://gateway.example.com/location/x",
        "file:///etc/passwd",
        "nothing",
    ],
)
@pytest.mark.parametrize("is_admin", [True, False])
def test_what_is_no_https_address_is_refused(url: str, *, is_admin: bool) -> None:
    with pytest.raises(InvalidArgument):
        URLS.check(url, is_admin=is_admin)


def test_without_a_public_address_nothing_leads_here() -> None:
    with pytest.raises(PermissionDenied):
        ListenerUrls().check("https://gateway.example.com/x", is_admin=False)


def test_only_what_is_at_the_public_address_is_the_gateways_own() -> None:
    assert URLS.is_own("https://gateway.example.com/location/callbacks/thingspace/token")
    assert not URLS.is_own("https://proxy.example.com/thingspace/token")
