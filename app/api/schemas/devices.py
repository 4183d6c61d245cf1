"""Answers about devices."""

from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from app.api import examples
from app.api.answers import Next, ReportAnswer, ReportDeviceAnswer
from app.api.schemas.reports import REPORT_EXAMPLE
from app.devices import DeviceState
from app.errors import InvalidArgument, NotAcceptable


class RunningSessionAnswer(TypedDict):
    """A periodic session in which the device is to report."""

    id: str
    state: str
    due: Annotated[int, Field(description="reports that should have come from this device by now")]
    missing: Annotated[int, Field(description="of those, the ones that neither came nor failed")]


class KnownDeviceAnswer(TypedDict):
    """A device and how it stands."""

    id: Annotated[str, Field(description="identifies the device in paths such as `/devices/{id}/track`")]
    device: ReportDeviceAnswer
    accounts: Annotated[list[str], Field(description="in which it is known")]
    state: Annotated[
        DeviceState,
        Field(
            description="`reporting`: a session is under way and nothing is overdue; `silent`: a due report is "
            "missing; `idle`: no session is under way"
        ),
    ]
    sessions: Annotated[list[RunningSessionAnswer], Field(description="those under way, oldest first")]
    latestReport: Annotated[ReportAnswer | None, Field(description="whatever it says, by its time")]
    latestPosition: Annotated[ReportAnswer | None, Field(description="the report with the latest fix")]


class DevicesAnswer(TypedDict):
    """Devices, in an order that does not change while they report."""

    devices: list[KnownDeviceAnswer]
    next: Next


_DEVICE: dict[str, Any] = {
    "id": "990001123456782",
    "device": {"imei": "990001123456782", "mdn": "5085550101"},
    "accounts": ["0844559123-00001"],
    "state": "reporting",
    "sessions": [{"id": "01HY3J5Z8M4C0M8T5Y6Z7A8B9C", "state": "active", "due": 3, "missing": 0}],
    "latestReport": REPORT_EXAMPLE,
    "latestPosition": REPORT_EXAMPLE,
}
DEVICES_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The devices",
        "content": {"application/json": {"example": {"devices": [_DEVICE], "next": None}}},
    },
    **examples.problems(*examples.ACCESS, InvalidArgument, NotAcceptable),
}
