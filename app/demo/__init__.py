"""What `location-gateway demo` runs: everything at once, with simulated vendors, and a receiver of events."""

from app.demo.run import run_demo

__all__ = ["run_demo"]
