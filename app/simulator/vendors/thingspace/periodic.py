"""Periodic location: sessions that find their devices again and again, without a task for each."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from app.simulator.state import State
from app.simulator.vendors.thingspace.agenda import Agenda
from app.simulator.vendors.thingspace.consents import Consents
from app.simulator.vendors.thingspace.delivery import Callback, Delivery
from app.simulator.vendors.thingspace.fault_values import amount
from app.simulator.vendors.thingspace.fixes import NOT_IOT, Failure, Fixes, Outcome
from app.simulator.vendors.thingspace.listeners import DEVICES
from app.simulator.vendors.thingspace.locations import CONSENT_FAILED
from app.simulator.vendors.thingspace.messages import Message, location_report, stop_response
from app.simulator.world.world import SimulatedDevice

FAULTS = {
    "fixes_after_stop": "ThingSpace periodic: fixes of a stopped device come for `value` intervals more (2 by default)"
}

_TOGETHER = 5
_REMEMBERED = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a periodic session is to do; `fixes` is 0 for one that runs until stopped."""

    fixes: int
    interval: timedelta
    delay: timedelta
    longest_age: timedelta


@dataclass(slots=True, kw_only=True)
class PeriodicSession:
    """One periodic session; `lingering` counts the fixes that devices still send after they were stopped."""

    transaction: str
    account: str
    plan: Plan
    begins_at: datetime
    devices: dict[int, SimulatedDevice]
    asked: int
    rounds: int = 0
    lingering: dict[int, int] = field(default_factory=dict)

    @property
    def due_at(self) -> datetime:
        """When the next fix of every device is due."""
        return self.begins_at + self.rounds * self.plan.interval

    @property
    def is_over(self) -> bool:
        """Whether no fix is left to come."""
        return not self.devices or (self.plan.fixes > 0 and self.rounds >= self.plan.fixes)

    def running(self, mdns: Iterable[str] | None) -> list[SimulatedDevice]:
        """Return the devices that are not stopped yet: those of these MDNs, or all."""
        wanted = None if mdns is None else set(mdns)
        return [
            device
            for device in self.devices.values()
            if device.index not in self.lingering and (wanted is None or device.mdn in wanted)
        ]


class PeriodicSessions:
    """All periodic sessions, the ended ones of late included."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._agenda = state.part(Agenda)
        self._trackings: dict[str, PeriodicSession] = {}

    def find(self, transaction: str) -> PeriodicSession | None:
        """Return a session by its transaction id."""
        return self._trackings.get(transaction.strip())

    def all(self) -> Sequence[PeriodicSession]:
        """Return the sessions, oldest first."""
        return list(self._trackings.values())

    def begin(self, transaction: str, account: str, plan: Plan, devices: Iterable[SimulatedDevice]) -> PeriodicSession:
        """Remember a session; its fixes begin with `plan_fixes`."""
        chosen = {device.index: device for device in devices}
        tracking = PeriodicSession(
            transaction=transaction,
            account=account,
            plan=plan,
            begins_at=self._agenda.now() + plan.delay,
            devices=chosen,
            asked=len(chosen),
        )
        self._forget_old()
        self._trackings[transaction.strip()] = tracking
        return tracking

    async def plan_fixes(self, tracking: PeriodicSession) -> None:
        """Put the next fixes of a session on the agenda."""
        self._agenda.at(tracking.due_at, partial(self._find_all, tracking))

    async def stop(self, tracking: PeriodicSession, devices: Iterable[SimulatedDevice], stop: str) -> None:
        """End the fixes of these devices, and tell the listener of each."""
        is_start = self._state.spells("stop_with_start_id", account=tracking.account)
        transaction = tracking.transaction if is_start else stop
        for device in devices:
            self._end(tracking, device)
            write = partial(stop_response, self._state, tracking.account, transaction, device)
            await self._send(tracking.account, [device], write)

    async def report_device(self, device: SimulatedDevice) -> None:
        """Send a fix that the device began itself, without a transaction."""
        outcome = self._state.part(Fixes).locate(device, self._agenda.now(), is_precise=True)
        write = partial(location_report, self._state, device.account, None, [(device, outcome)])
        await self._send(device.account, [device], write)

    def _end(self, tracking: PeriodicSession, device: SimulatedDevice) -> None:
        fault = self._state.faults.take("fixes_after_stop", device=device.identifiers, account=tracking.account)
        if fault is None:
            tracking.devices.pop(device.index, None)
        else:
            tracking.lingering[device.index] = int(amount(fault, 2))

    async def _find_all(self, tracking: PeriodicSession) -> None:
        """Find every device once: the fixes of one round are all due at the same instant."""
        due, fix_number = tracking.due_at, tracking.rounds
        tracking.rounds += 1
        devices = list(tracking.devices.values())
        random.Random(f"{self._state.options.seed} {tracking.transaction} {fix_number}").shuffle(devices)  # noqa: S311 an order
        size = _TOGETHER if self._state.spells("devices_together", account=tracking.account) else 1
        for start in range(0, len(devices), size):
            group = devices[start : start + size]
            allowed = {device.index: self._keep(tracking, device) for device in group}
            await self._send(
                tracking.account, group, partial(self._write, tracking, group, allowed, due, is_first=fix_number == 0)
            )
        if tracking.is_over:
            tracking.devices = {}
        else:
            await self.plan_fixes(tracking)

    def _keep(self, tracking: PeriodicSession, device: SimulatedDevice) -> bool:
        """Say whether the device may be found now, and drop it from the session if this was the last time."""
        is_allowed = self._state.part(Consents).allow(device, is_precise=True)
        if device.index in tracking.lingering:
            tracking.lingering[device.index] -= 1
        if not is_allowed or tracking.lingering.get(device.index) == 0:
            tracking.devices.pop(device.index, None)
        return is_allowed

    def _write(
        self,
        tracking: PeriodicSession,
        group: Sequence[SimulatedDevice],
        allowed: dict[int, bool],
        due: datetime,
        *,
        is_first: bool,
    ) -> Message:
        found = [
            (device, self._find(tracking, device, due, is_first=is_first))
            if allowed[device.index]
            else (device, Failure(*CONSENT_FAILED, due))
            for device in group
        ]
        for device, outcome in found:
            if isinstance(outcome, Failure) and outcome.type == NOT_IOT:
                # The vendor drops what it refuses: one error, and no more.
                tracking.devices.pop(device.index, None)
        return location_report(self._state, tracking.account, tracking.transaction, found)

    def _find(self, tracking: PeriodicSession, device: SimulatedDevice, due: datetime, *, is_first: bool) -> Outcome:
        fixes, plan = self._state.part(Fixes), tracking.plan
        # A fix older than the previous round was reported with it, or is that round's own.
        age = plan.longest_age if is_first else min(plan.longest_age, plan.interval)
        return fixes.cached_within(device, due, age) or fixes.locate(device, due, is_precise=True)

    async def _send(self, account: str, devices: Sequence[SimulatedDevice], write: partial[Message]) -> None:
        identifiers = tuple(name for device in devices for name in device.identifiers)
        await self._state.part(Delivery).send(
            Callback(account=account, service=DEVICES, identifiers=identifiers, write=write)
        )

    def _forget_old(self) -> None:
        """Keep the memory of ended sessions bounded."""
        ended = [name for name, tracking in self._trackings.items() if tracking.is_over]
        for name in ended[: max(0, len(ended) - _REMEMBERED)]:
            del self._trackings[name]
