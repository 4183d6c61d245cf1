"""Periodic location: starting, watching and stopping sessions, and giving early reports to theirs."""

from app.periodic.answers import AnswerWriter, StoredAnswer
from app.periodic.sessions import Periodic
from app.periodic.stop import StopFailure, Stopped
from app.periodic.unclaimed import UnclaimedTransactions

__all__ = ["AnswerWriter", "Periodic", "StopFailure", "Stopped", "StoredAnswer", "UnclaimedTransactions"]
