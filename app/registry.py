"""PROVIDERS, the one list of positioning services; the order is the order of preference."""

from app.provider import Build
from app.providers import cloudlocate, thingspace

PROVIDERS: tuple[Build, ...] = (cloudlocate.build, thingspace.build)
