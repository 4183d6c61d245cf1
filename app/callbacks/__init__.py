"""Callbacks of providers: the tokens of their addresses, taking them in, showing and replaying them."""

from app.storage.callbacks import CallbackFilter, StoredCallback

__all__ = ["CallbackFilter", "StoredCallback"]
