"""What is sent to a receiver, and what came of it; the subscriptions know no more of HTTP than this."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

LONGEST_ANSWER = 1000
"""Characters of an answer that are kept."""

_SUCCESS = range(200, 300)
GONE = 410
_BUSY = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How one attempt ended.

    Attributes:
        status: None when no answer came.
        text: The beginning of the answer.
        error: Why no answer came, in words.
        retry_after_s: When the receiver wants to be asked again.
    """

    status: int | None
    duration_ms: int
    text: str = ""
    error: str | None = None
    retry_after_s: float | None = None

    @property
    def is_delivered(self) -> bool:
        """Whether the receiver has taken the delivery."""
        return self.status in _SUCCESS

    @property
    def is_gone(self) -> bool:
        """Whether the receiver wants no more deliveries at all."""
        return self.status == GONE

    @property
    def is_busy(self) -> bool:
        """Whether the receiver as a whole, not this delivery, is in trouble."""
        return self.status in _BUSY


class Receiver(Protocol):
    """Where deliveries go to."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send a delivery once; never raises for what the receiver or the network does."""
        ...
