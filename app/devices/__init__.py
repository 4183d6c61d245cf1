"""What concerns a device as a whole."""
