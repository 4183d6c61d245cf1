"""Locate a device: from a stored fix that is fresh enough, else by the first provider that can."""

from app.locate.answers import LocateResult
from app.locate.locate import Locate
from app.locate.rehearsal import Explanation, RehearsedCandidate, Verdict

__all__ = ["Explanation", "Locate", "LocateResult", "RehearsedCandidate", "Verdict"]
