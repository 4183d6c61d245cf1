"""The HTTP client of deliveries: connects to addresses that were judged, and to nothing else."""

from app.subscriber.client import HttpReceiver

__all__ = ["HttpReceiver"]
