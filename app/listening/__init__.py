"""Our callback listeners: which token belongs to whom, registering them at the providers, trying and checking them."""

from app.listening.addresses import Address, Addresses
from app.listening.registering import Listener, Registering
from app.listening.trying import Trial, Trying

__all__ = ["Address", "Addresses", "Listener", "Registering", "Trial", "Trying"]
