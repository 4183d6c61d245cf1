"""What `location-gateway demo` runs: everything at once, with simulated vendors."""

from app.demo.run import run_demo

__all__ = ["run_demo"]
