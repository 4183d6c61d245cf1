"""The time per byte from the bytes of a callback to its rows, over sizes: a ratio near 1 is a time that is linear."""

import json
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

from app.callbacks.decoding import to_entry
from app.callbacks.tokens import Address
from app.model import AccountName, ProviderName
from app.providers.thingspace.callbacks import ThingSpaceCallbacks
from app.providers.thingspace.settings import ThingSpaceSettings
from benchmarks.figures import Goal
from benchmarks.plan import Plan

_SIZES = (16 * 1024, 64 * 1024, 256 * 1024, 1024 * 1024)
_ACCOUNT = "0844559123-00001"
_POSITION = {"time": "20240517143005", "x": "42.09551", "y": "-71.26483", "radius": "35"}


def run(plan: Plan) -> None:
    """Measure each kind of body at each size, and print the time per byte."""
    table = Table(title="µs per KiB, from bytes to rows", title_justify="left")
    for heading in ("", *(f"{size // 1024} KiB" for size in _SIZES)):
        table.add_column(heading, justify="right" if heading else "left")
    grows = []
    for name, make in KINDS.items():
        per_kib = [_us_per_kib(make(size), plan.rounds) for size in _SIZES]
        table.add_row(name, *(f"{each:.0f}" for each in per_kib))
        grows.append((per_kib[-1] / per_kib[0], name))
    Console().print(table)
    worst, name = max(grows)
    print(f"grows most: {name}")
    Goal("largest ÷ smallest, per byte", floor=4, goal=2, less=True).judge(worst)


def _us_per_kib(body: bytes, rounds: int) -> float:
    reader = ThingSpaceCallbacks(ThingSpaceSettings(_env_file=None))
    address = Address(provider=ProviderName("thingspace"), account=AccountName(_ACCOUNT), service="", reader=reader)
    took_s = []
    for _ in range(rounds):
        started = time.process_time()
        to_entry(address, body, "unchecked", time.time_ns() // 1_000_000)
        took_s.append(time.process_time() - started)
    return min(took_s) * 1e6 / (len(body) / 1024)


def _listing(device: Callable[[int], Any], **members: Any) -> Callable[[int], bytes]:
    def make(size: int) -> bytes:
        message = {"accountName": _ACCOUNT, "reportType": "LOCATION_REPORT", "transactionID": "t"} | members
        count = (size - len(json.dumps(message))) // (len(json.dumps(device(1000))) + 2)
        return json.dumps(message | {"deviceList": [device(number) for number in range(count)]}).encode()

    return make


KINDS: dict[str, Callable[[int], bytes]] = {
    "as documented": _listing(
        lambda number: {"id": f"{number:015}", "mdn": f"{number:010}", "positionData": _POSITION}
    ),
    "devices as texts": _listing(lambda number: f"device {number:015}"),
    "positions without a time": _listing(lambda number: {"id": f"{number:015}", "pd": {"x": 1, "y": 2}}),
    "consent": _listing(lambda number: {"id": f"{number:015}", "kind": "IMEI"}, reportType="CONSENT_RESPONSE"),
    "more devices than allowed": lambda size: b'{"deviceList":[' + b'"1",' * (size // 4) + b'"1"]}',
    "a long account": lambda size: _listing(lambda number: {"id": f"{number:015}"}, accountName="a" * (size // 2))(
        size
    ),
    "many members": lambda size: json.dumps({f"k{number:07}": number for number in range(size // 20)}).encode(),
    "nested deeply": lambda size: b'{"a":' + b"[" * (size // 2) + b"]" * (size // 2) + b"}",
    "a number of many digits": lambda size: b'{"a":' + b"7" * size + b"}",
    "a text that does not end": lambda size: b'{"password":"' + b'\\"' * (size // 2),
    "members without values": lambda size: b'{"a":[' + b'"password":' * (size // 11),
    "halves of surrogates": lambda size: b'{"accountName":"' + b"\\ud800" * (size // 6) + b'"}',
}
