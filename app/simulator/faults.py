"""Pending faults: what shall go wrong, for whom, and how often."""

import itertools
from collections.abc import Mapping
from typing import Any

import msgspec

CATALOGUE: dict[str, str] = {
    "slow": "any call: wait `delaySeconds` (real seconds, 1 by default), then answer properly",
    "slow_after": "any call: carried out, and answered properly only after `delaySeconds` (real seconds, 1 by default)",
    "reset_before": "any call: the connection is reset before the request is looked at",
    "reset_after": "any call: the request is carried out, then the connection is reset instead of an answer",
    "truncated": "any call: carried out, but the connection closes in the middle of the body",
    "hang": "any call: no answer at all until the caller gives up",
    "status": "any call: the status given as `value` with an empty body, nothing done",
    "status_500_html": "any call: 500 with an HTML page, nothing done",
    "status_500_after": "any call: carried out, then 500 with an empty body",
    "status_502_xml": "any call: 502 with an XML body, nothing done",
    "status_503_empty": "any call: 503 with an empty body, nothing done",
    "status_504_html": "any call: carried out, then 504 with an HTML page",
    "rate_limited": 'any call: 429; Retry-After is `value`: seconds, "date" for one a minute ahead, or none',
    "garbage": "any call: carried out, then 200 with a body that is no JSON",
    "html_200": "any call: carried out, then 200 with an HTML page",
    "redirect": "any call: 302 to the address given as `value`",
}
"""The faults of the transport, for every call of either vendor. `path` says which calls, by the start of their path."""


class UnknownFault(ValueError):
    """Nobody has described a fault of that name."""


class Fault(msgspec.Struct, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One thing that shall go wrong.

    Attributes:
        name: From the catalogue.
        device: An identifier of the device concerned; None for any.
        account: The account concerned; None for any.
        path: The start of the path of the calls concerned; None for any. Only for faults of the transport.
        times: How often; None until it is cleared.
        after: How many matching calls are spared first.
        delay_seconds: For faults that wait. Real seconds for faults of the transport.
        value: For faults that take one; its meaning is in the catalogue.
        id: Given by the board.
    """

    name: str
    device: str | None = None
    account: str | None = None
    path: str | None = None
    times: int | None = 1
    after: int = 0
    delay_seconds: float = 0.0
    value: Any = None
    id: int = 0

    @property
    def delay_s(self) -> float:
        """The delay under the name that the rest of the code uses."""
        return self.delay_seconds


class Faults:
    """The board of pending faults; the oldest match is taken first."""

    def __init__(self) -> None:
        self.catalogue: dict[str, str] = dict(CATALOGUE)
        self._pending: list[Fault] = []
        self._ids = itertools.count(1)

    def describe(self, names: Mapping[str, str]) -> None:
        """Add names, with one line each, to the catalogue."""
        self.catalogue.update(names)

    def add(self, fault: Fault) -> Fault:
        """Put a fault on the board.

        Raises:
            UnknownFault: Its name is not in the catalogue.
        """
        if fault.name not in self.catalogue:
            raise UnknownFault(fault.name)
        fault.id = next(self._ids)
        self._pending.append(fault)
        return fault

    def put(self, name: str, **details: Any) -> Fault:
        """Put a fault on the board, by its name and the attributes of `Fault`."""
        return self.add(Fault(name=name, **details))

    def take(
        self,
        *names: str,
        device: str | tuple[str, ...] | None = None,
        account: str | None = None,
        path: str | None = None,
    ) -> Fault | None:
        """Use up one pending fault of these names that concerns this device, account and path; None if there is none.

        `device` may be all identifiers of one device. A fault that names a device or an account does not concern
        a call for which none is given.
        """
        if not self._pending:
            return None
        devices = (device,) if isinstance(device, str) else device or ()
        for fault in self._pending:
            if fault.name in names and _concerns(fault, devices, account, path):
                if fault.after > 0:
                    fault.after -= 1
                    continue
                self._use(fault)
                return fault
        return None

    def pending(self) -> list[Fault]:
        """Return what is on the board, oldest first."""
        return list(self._pending)

    def clear(self, *, name: str | None = None, fault_id: int | None = None) -> int:
        """Take faults off the board: of one name, of one id, or all; return how many."""
        kept = [
            fault
            for fault in self._pending
            if (name is not None and fault.name != name) or (fault_id is not None and fault.id != fault_id)
        ]
        cleared = len(self._pending) - len(kept)
        self._pending = kept
        return cleared

    def _use(self, fault: Fault) -> None:
        if fault.times is None:
            return
        fault.times -= 1
        if fault.times <= 0:
            self._pending.remove(fault)


def _concerns(fault: Fault, devices: tuple[str, ...], account: str | None, path: str | None) -> bool:
    return (
        (fault.device is None or fault.device in devices)
        and (fault.account is None or fault.account == account)
        and (fault.path is None or (path is not None and path.startswith(fault.path)))
    )
