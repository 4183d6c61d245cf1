"""What the tests of periodic location play on."""

from datetime import datetime, timedelta
from typing import Any

import orjson
from msgspec.structs import replace

from app.api.periodic_rendering import SessionAnswerWriter, to_session
from app.model import AccountName, Device, Fix, Mdn, PeriodicPlan, Report, ReportError, ReportType, TransactionId
from app.periodic import Periodic, Stopped, StoredAnswer, UnclaimedTransactions
from app.plausibility import GIVEN_UP
from app.settings import Settings
from app.storage.database import Database
from app.storage.idempotency import Key
from app.storage.rows import to_row
from app.storage.writer import Entry, Writer
from tests.support.trackers import ACCOUNT, NAME, HandClock, StubTracker, provider_with

IMEIS = [f"99000112345{number:04d}" for number in range(10_000)]
MDNS = [f"508555{number:04d}" for number in range(10_000)]
PLAN = PeriodicPlan(
    account=ACCOUNT, devices=(Device(id=IMEIS[0], kind="imei", mdn=Mdn(MDNS[0])),), interval_s=300, count=6
)


def plan(devices: int = 1, *, with_mdn: bool = True, first: int = 0, **changes: Any) -> PeriodicPlan:
    """Make a plan for some devices."""
    numbers = range(first, first + devices)
    made = tuple(Device(id=IMEIS[at], kind="imei", mdn=Mdn(MDNS[at]) if with_mdn else None) for at in numbers)
    return replace(PLAN, devices=made, **changes)


def key(text: str = "once", *, body: bytes = b"one", owner: str = "me") -> Key:
    return Key(owner=owner, text=text, fingerprint=body)


class Stage:
    """A gateway's periodic location, with shortcuts for what happens around it."""

    def __init__(
        self,
        database: Database,
        writer: Writer,
        tracker: StubTracker,
        clock: HandClock,
        unclaimed: UnclaimedTransactions,
    ) -> None:
        self.database = database
        self.writer = writer
        self.tracker = tracker
        self.clock = clock
        self.unclaimed = unclaimed
        self.periodic = self.replica(unclaimed)

    def replica(self, unclaimed: UnclaimedTransactions | None = None) -> Periodic:
        """Make another process's worth of the use case, on the same database."""
        return Periodic(
            [provider_with(self.tracker)],
            self.database,
            self.writer,
            Settings(),
            unclaimed=unclaimed,
            now=self.clock,
            describe=to_session,
        )

    async def start(self, plan: PeriodicPlan = PLAN, *, key: Key | None = None) -> dict[str, Any]:
        """Start a session and read the answer."""
        return self.read(await self.periodic.start(plan, key=key, words=SessionAnswerWriter("a request")))

    def read(self, answer: StoredAnswer) -> dict[str, Any]:
        content: dict[str, Any] = orjson.loads(answer.body)
        return content

    async def show(self, reference: str) -> dict[str, Any]:
        return to_session(await self.periodic.show(reference))

    async def stop(self, reference: str, *mdns: str) -> Stopped:
        return await self.periodic.stop(reference, mdns)

    async def report(
        self,
        transaction_id: str,
        device: int = 0,
        *,
        number: int = 0,
        type: ReportType = "location",  # noqa: A002 -- the report's own word
        failed: bool = False,
        account: str = ACCOUNT,
        at: datetime | None = None,
        flags: tuple[str, ...] = (),
        given_up: bool = False,
    ) -> None:
        """Store a report as ingest does, at the present time of the clock; equal numbers are the same report."""
        at = at or self.clock()
        fix = Fix(
            latitude_deg=42.0,
            longitude_deg=-71.0,
            accuracy_m=35.0,
            confidence_pct=None,
            fixed_at=at,
            source="network",
            provider=NAME,
        )
        failed = failed or given_up
        located = type == "location" and not failed
        report = Report(
            provider=NAME,
            type=type,
            status="located" if located else "failed" if failed else "info",
            content_key=f"{transaction_id}|{device}|{number}|{type}",
            account=AccountName(account),
            transaction_id=TransactionId(transaction_id),
            device=Device(id=IMEIS[device], kind="imei", mdn=Mdn(MDNS[device])),
            fix=fix if located else None,
            error=ReportError(type="TS DEVICE TYPE CHECK FAILED", info="no consent", at=at) if failed else None,
            said_at=at + timedelta(milliseconds=number),
            flags=(*flags, GIVEN_UP) if given_up else flags,
        )
        await self.writer.submit(Entry(reports=(to_row(report, received_at=self.clock()),)))

    async def settle(self) -> None:
        """Do what the worker does about reports without a session."""
        if self.unclaimed.pending():
            jobs = {job.name: job for job in self.periodic.jobs()}
            await jobs["periodic claims"].run()

    async def sweep(self) -> None:
        """Do what the worker does now and then."""
        jobs = {job.name: job for job in self.periodic.jobs()}
        await jobs["periodic sweep"].run()
