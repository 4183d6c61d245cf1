"""Callbacks of providers: the tokens of their addresses, taking them in, replaying them."""
