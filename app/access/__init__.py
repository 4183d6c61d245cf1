"""API keys: making them, knowing them again, and holding their limits."""

from app.access.api_keys import KeyPlan, KeyStore, NewKey
from app.access.audit import AuditLog
from app.access.authentication import Authenticator
from app.access.limits import Rate, RateLimits, meter_for
from app.storage.audit import Actor

__all__ = ["Actor", "AuditLog", "Authenticator", "KeyPlan", "KeyStore", "NewKey", "Rate", "RateLimits", "meter_for"]
