"""How the outcome of a start is answered; the routes supply the rendering."""

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
    """An answer as it is sent, and stored to be sent again.

    Attributes:
        session_id: Where the caller can follow it; None when there is nothing to follow.
    """

    status: int
    body: bytes
    session_id: UUID | None = None


def to_audited(answer: StoredAnswer) -> tuple[str, About]:
    """Read from an answer the audit row of a start: its outcome, and what else the row names."""
    session_id = None if answer.session_id is None else answer.session_id.hex
    if answer.status >= _PROBLEM_FROM:
        is_billed = None if answer.session_id else False
        return orjson.loads(answer.body)["code"], About(billed=is_billed, session_id=session_id)
    return "accepted", About(billed=None, session_id=session_id)


class AnswerWriter(Protocol):
    """Renders outcomes."""

    def accepted(self, session: SessionView) -> StoredAnswer:
        """Report a session that is under way, or may be."""

    def refused(self, error: GatewayError) -> StoredAnswer:
        """Report why nothing was started."""

    def doubtful(self, error: GatewayError, session: SessionView) -> StoredAnswer:
        """Report that it is unknown whether the session was started."""
