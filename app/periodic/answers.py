"""How the outcome of a start is put into words; who speaks HTTP supplies them."""

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from app.errors import GatewayError
from app.storage.session_views import SessionView


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a caller is told, ready to be given again.

    Attributes:
        session_id: Where the caller can follow it; None when there is nothing to follow.
    """

    status: int
    body: bytes
    session_id: UUID | None = None


class AnswerWriter(Protocol):
    """Puts outcomes into words."""

    def accepted(self, session: SessionView) -> Answer:
        """Tell of a session that is under way, or may be."""

    def refused(self, error: GatewayError) -> Answer:
        """Tell why nothing was started."""

    def doubtful(self, error: GatewayError, session: SessionView) -> Answer:
        """Tell that nobody knows whether it was started."""
