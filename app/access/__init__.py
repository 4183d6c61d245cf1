"""API keys: creating, recognising and limiting them; permissions; the audit trail."""

from app.access.api_keys import KeyPlan, KeyStore, NewKey
from app.access.audit import AuditLog, AuditTrail
from app.access.authentication import Authenticator
from app.access.limits import Budget, Rate, RateLimits, budget_of, meter_for
from app.storage.audit import Action, Actor, AuditFilter, AuditRecord
from app.storage.keys import KeyRecord

__all__ = [
    "Action",
    "Actor",
    "AuditFilter",
    "AuditLog",
    "AuditRecord",
    "AuditTrail",
    "Authenticator",
    "Budget",
    "KeyPlan",
    "KeyRecord",
    "KeyStore",
    "NewKey",
    "Rate",
    "RateLimits",
    "budget_of",
    "meter_for",
]
