"""Checks before the gateway starts, and of `config check`: settings, address, database."""
