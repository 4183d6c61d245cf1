"""API keys: making them, knowing them again, and holding their limits."""

from app.access.api_keys import Actor, KeyPlan, KeyStore, NewKey
from app.access.authentication import Authenticator
from app.access.limits import Rate, RateLimits, meter_for

__all__ = ["Actor", "Authenticator", "KeyPlan", "KeyStore", "NewKey", "Rate", "RateLimits", "meter_for"]
