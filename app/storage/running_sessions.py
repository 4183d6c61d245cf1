"""The sessions in which devices are to report at present, and what the devices owe there."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from app.caller import Reach
from app.storage.reach import sessions_within
from app.storage.session_views import due_reports, missing_reports
from app.storage.sessions import SessionClock, goes_on
from app.storage.tables import DeviceRow, SessionDeviceRow, SessionRow

DeviceState = Literal["reporting", "silent", "idle"]


class RunningSession(NamedTuple):
    """A session in which a device is to report.

    Attributes:
        due: Reports that should have come from the device by now.
        missing: Of those, the ones that neither came nor failed.
        is_within_reach: Whether the reader may see the session, which may have other devices.
    """

    id: UUID
    state: str
    due: int
    missing: int
    is_within_reach: bool


def state_of(sessions: Sequence[RunningSession]) -> DeviceState:
    """Return how a device stands in its running sessions."""
    if not sessions:
        return "idle"
    return "silent" if any(session.missing for session in sessions) else "reporting"


def has_state(state: DeviceState, clock: SessionClock, reach: Reach) -> ColumnElement[bool]:
    """Hold for registered devices of which `state_of` says this.

    Most devices report, so that a page of these is found by looking at each in turn. Silent and idle ones may be few:
    for them the devices of all running sessions are gathered first. OFFSET 0 keeps the planner from doing otherwise.
    """
    running = _running(reach)
    mine = running.where(SessionDeviceRow.device == DeviceRow.device)
    is_lacking = missing_reports(clock) > 0
    match state:
        case "idle":
            return DeviceRow.device.not_in(running.offset(0))
        case "silent":
            return DeviceRow.device.in_(running.where(is_lacking).offset(0))
        case "reporting":
            return and_(mine.exists(), ~mine.where(is_lacking).exists())


async def running_sessions(
    session: AsyncSession, devices: Sequence[str], clock: SessionClock, reach: Reach
) -> Mapping[str, Sequence[RunningSession]]:
    """Find the sessions in which these devices are to report, by device, oldest first."""
    found: dict[str, list[RunningSession]] = {}
    is_within_reach = and_(true(), *sessions_within(reach))
    wanted = (
        _running(reach)
        .add_columns(SessionRow.id, SessionRow.state, due_reports(clock), missing_reports(clock), is_within_reach)
        .where(SessionDeviceRow.device.in_(devices))
        .order_by(SessionRow.id)
    )
    for device, *owed in await session.execute(wanted):
        found.setdefault(device, []).append(RunningSession(*owed))
    return found


def _running(reach: Reach) -> Select[Any]:
    """Select the devices that are to report; how a device stands is no secret of its session's other devices."""
    running = (
        select(SessionDeviceRow.device)
        .join(SessionRow, SessionRow.id == SessionDeviceRow.session_id)
        .where(SessionRow.state.in_(("active", "stopping")), goes_on())
    )
    return running if reach.accounts is None else running.where(SessionRow.account.in_(sorted(reach.accounts)))
