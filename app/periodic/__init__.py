"""Periodic location: starting, watching and stopping sessions, and assigning early reports to them."""

from app.periodic.answers import AnswerWriter, StoredAnswer
from app.periodic.sessions import Periodic, SessionDevices
from app.periodic.stop import StopFailure, Stopped
from app.periodic.unclaimed import UnclaimedTransactions
from app.storage.idempotency import Key
from app.storage.session_views import DeviceView, SessionView

__all__ = [
    "AnswerWriter",
    "DeviceView",
    "Key",
    "Periodic",
    "SessionDevices",
    "SessionView",
    "StopFailure",
    "Stopped",
    "StoredAnswer",
    "UnclaimedTransactions",
]
