"""Our callback listeners: which token belongs to whom, registering them at the providers, trying and checking them."""

from app.callbacks.tokens import Address, CallbackTokens
from app.listeners.registration import Listener, ListenerRegistry
from app.listeners.trial import ListenerTest, Trial
from app.listeners.urls import ListenerUrls

__all__ = ["Address", "CallbackTokens", "Listener", "ListenerRegistry", "ListenerTest", "ListenerUrls", "Trial"]
