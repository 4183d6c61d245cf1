"""Benchmarks of the gateway, each beside what it is compared with, in one run."""
