"""PROVIDERS, the one list of positioning services; the order is the order of preference."""

from app.provider import ProviderModule
from app.providers import cloudlocate, thingspace

PROVIDERS: tuple[ProviderModule, ...] = (cloudlocate, thingspace)
