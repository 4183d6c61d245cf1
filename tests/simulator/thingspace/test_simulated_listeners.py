import base64
import hashlib
import hmac

import pytest
from thingspace_caller import ACCOUNT, Caller

from app.simulator.options import Options
from app.simulator.vendors.thingspace.listeners import RegisteredListener

URL = "https://gateway.example/callbacks/1"


async def test_registering_hands_out_the_secret_in_a_header(caller: Caller) -> None:
    answer = await caller.register(URL)

    assert answer.json() == {"account": ACCOUNT, "name": "DeviceLocation"}
    assert len(answer.headers["X-Callback-Secret"]) == 32


async def test_the_account_can_be_called_accountname(caller: Caller) -> None:
    caller.fault("registration_account_name")

    assert (await caller.register(URL)).json() == {"accountName": ACCOUNT, "name": "DeviceLocation"}


async def test_registering_again_changes_address_and_secret(caller: Caller) -> None:
    first, second = await caller.register(URL), await caller.register("https://gateway.example/2")

    listed = await caller.call("GET", f"callbacks/{ACCOUNT}")

    assert first.headers["X-Callback-Secret"] != second.headers["X-Callback-Secret"]
    assert listed.json() == [{"name": "DeviceLocation", "url": "https://gateway.example/2"}]


async def test_both_services_are_listed_in_either_form(caller: Caller) -> None:
    await caller.register(URL)
    await caller.register("https://gateway.example/2", "Location")
    caller.fault("listeners_long")

    long, short = [(await caller.call("GET", f"callbacks/{ACCOUNT}")).json() for _ in range(2)]

    assert [element["serviceName"] for element in long] == [element["name"] for element in short]
    assert set(long[0]) == {"accountName", "serviceName", "url", "username", "password"}


async def test_a_removed_listener_is_gone(caller: Caller) -> None:
    await caller.register(URL)
    path = f"callbacks/{ACCOUNT}/name/DeviceLocation"

    removed, again = await caller.call("DELETE", path), await caller.call("DELETE", path)

    assert removed.json() == {"success": True}
    assert again.status_code == 400
    assert (await caller.call("GET", f"callbacks/{ACCOUNT}")).json() == []


async def test_removing_can_answer_with_names(caller: Caller) -> None:
    await caller.register(URL)
    caller.fault("removal_named")

    removed = await caller.call("DELETE", f"callbacks/{ACCOUNT}/name/DeviceLocation")

    assert removed.json() == {"accountName": ACCOUNT, "serviceName": "DeviceLocation"}


async def test_the_vendor_can_forget_its_listeners_and_withhold_secrets(caller: Caller) -> None:
    caller.fault("secret_withheld")
    caller.fault("listener_forgotten")

    assert "X-Callback-Secret" not in (await caller.register(URL)).headers
    assert (await caller.call("GET", f"callbacks/{ACCOUNT}")).json() == []


@pytest.mark.parametrize(
    "body", [{"name": "Elsewhere", "url": URL}, {"name": "Location"}, {"name": "Location", "url": "ftp://x"}]
)
async def test_a_registration_needs_a_known_service_and_an_address(caller: Caller, body: dict[str, str]) -> None:
    assert (await caller.call("POST", f"callbacks/{ACCOUNT}", json=body)).status_code == 400


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_registry_needs_tokens_and_a_known_account(stranger: Caller, method: str) -> None:
    assert (await stranger.call(method, f"callbacks/{ACCOUNT}", json={})).status_code == 401
    await stranger.enter()

    assert "Could not find account 1-1" in (await stranger.call(method, "callbacks/1-1", json={})).text


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("hex", hmac.new(b"s", b"body", hashlib.sha256).hexdigest()),
        ("sha256=hex", "sha256=" + hmac.new(b"s", b"body", hashlib.sha256).hexdigest()),
        ("base64", base64.b64encode(hmac.new(b"s", b"body", hashlib.sha256).digest()).decode()),
    ],
)
def test_signatures_are_hmacs_in_any_of_three_forms(encoding: str, expected: str) -> None:
    assert RegisteredListener(URL, "s").sign(b"body", encoding) == expected


class TestStrict:
    @pytest.fixture
    def options(self) -> Options:
        return Options(fleet=20, strict=True, callback_required=True, secret_header="X-Own", consent="both")

    async def test_every_service_needs_an_address_of_its_own(self, caller: Caller) -> None:
        first, second = await caller.register(URL), await caller.register(URL, "Location")

        assert "X-Own" in first.headers
        assert second.status_code == 400

    async def test_work_without_a_listener_is_refused(self, caller: Caller) -> None:
        answer = await caller.start()

        assert (answer.status_code, answer.json()["errorCode"]) == (403, "CALLBACK_NOT_REGISTERED")
