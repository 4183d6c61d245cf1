"""How ThingSpace is doing, told without calling it."""

from collections.abc import Iterator, Sequence
from typing import Literal

from app.provider import Health
from app.providers.thingspace.client import Client

FAILING_AFTER = 3

State = Literal["ready", "not_configured", "paused", "cooling_down", "failing"]


def to_health(client: Client, missing: Sequence[str]) -> Health:
    """Sum up tokens and recent calls, without secrets; `missing` names the variables that are not set."""
    tokens = client.tokens.both
    trouble = client.trouble
    return Health(
        state="not_configured" if missing else _to_state(client),
        token_age_s=max((age_s for token in tokens if (age_s := token.age_s) is not None), default=None),
        cooldown_s=max(token.cooldown_s for token in tokens) or None,
        last_error=trouble.code if trouble else None,
        last_error_at=trouble.at if trouble else None,
        notes=tuple(_notes(client, missing)),
    )


def _notes(client: Client, missing: Sequence[str]) -> Iterator[str]:
    if missing:
        yield f"set {', '.join(missing)}"
    for token in client.tokens.both:
        if token.paused:
            yield (
                f"ThingSpace rejected the credentials for the {token.name} twice; they are not tried again before they "
                "are changed or the provider is reset."
            )


def _to_state(client: Client) -> State:
    tokens = client.tokens.both
    if any(token.paused for token in tokens):
        return "paused"
    if any(token.cooldown_s for token in tokens):
        return "cooling_down"
    return "failing" if client.failures >= FAILING_AFTER else "ready"
