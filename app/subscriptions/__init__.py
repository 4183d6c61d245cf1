"""Subscriptions: events of the log delivered by POST, signed, in order for each device, until they have arrived."""
