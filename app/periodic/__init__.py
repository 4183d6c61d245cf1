"""Periodic location: starting, watching and stopping sessions, and giving early reports to theirs."""

from app.periodic.answers import Answer, Words
from app.periodic.stopping import StopFailure, Stopped
from app.periodic.use_case import Periodic

__all__ = ["Answer", "Periodic", "StopFailure", "Stopped", "Words"]
