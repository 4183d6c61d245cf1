"""How the outcome of a start is put into words; who speaks HTTP supplies them."""

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

import orjson

from app.errors import GatewayError
from app.storage.audit import About
from app.storage.session_views import SessionView

_PROBLEM_FROM = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """What a caller is told, ready to be given again.

    Attributes:
        session_id: Where the caller can follow it; None when there is nothing to follow.
    """

    status: int
    body: bytes
    session_id: UUID | None = None


def to_audited(answer: StoredAnswer) -> tuple[str, About]:
    """Read from an answer what the audit trail says of a start: its outcome, and what came of it."""
    session_id = None if answer.session_id is None else answer.session_id.hex
    if answer.status >= _PROBLEM_FROM:
        is_billed = None if answer.session_id else False
        return orjson.loads(answer.body)["code"], About(billed=is_billed, session_id=session_id)
    return "accepted", About(billed=None, session_id=session_id)


class AnswerWriter(Protocol):
    """Puts outcomes into words."""

    def accepted(self, session: SessionView) -> StoredAnswer:
        """Tell of a session that is under way, or may be."""

    def refused(self, error: GatewayError) -> StoredAnswer:
        """Tell why nothing was started."""

    def doubtful(self, error: GatewayError, session: SessionView) -> StoredAnswer:
        """Tell that nobody knows whether it was started."""
