"""Manners towards providers: connections, time limits, retries, and the translation of failures."""

from app.upstream.breaker import guarded
from app.upstream.call_slots import CallSlots
from app.upstream.call_times import CallTimes
from app.upstream.network import USER_AGENT, http_client, limits_until
from app.upstream.paid_calls import PaidCalls, part_of, reserved
from app.upstream.retries import retry_after_s, wait_for_turn_s, was_declined, with_retries, within
from app.upstream.translation import translated_errors
from app.upstream.vault import InMemoryVault

__all__ = [
    "USER_AGENT",
    "CallSlots",
    "CallTimes",
    "InMemoryVault",
    "PaidCalls",
    "guarded",
    "http_client",
    "limits_until",
    "part_of",
    "reserved",
    "retry_after_s",
    "translated_errors",
    "wait_for_turn_s",
    "was_declined",
    "with_retries",
    "within",
]
