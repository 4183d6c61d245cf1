"""API keys: making them, knowing them again, and holding their limits."""

from app.access.keeping import By, Keeping, KeyPlan, NewKey
from app.access.limiting import Limiting, Rate, meter_for
from app.access.ring import KeyRing

__all__ = ["By", "Keeping", "KeyPlan", "KeyRing", "Limiting", "NewKey", "Rate", "meter_for"]
