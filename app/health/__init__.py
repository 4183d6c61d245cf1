"""Whether the gateway can do its work, and the figures that are looked up for its metrics."""

from app.health.gauges import Gauges
from app.health.readiness import Readiness

__all__ = ["Gauges", "Readiness"]
