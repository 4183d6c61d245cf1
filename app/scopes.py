"""The scopes of API keys: what a key may be used for."""

from typing import Literal, get_args

Scope = Literal[
    "locate", "periodic", "periodic:unlimited", "reports:read", "callbacks", "listeners", "subscriptions", "admin"
]
SCOPES: frozenset[str] = frozenset(get_args(Scope))
