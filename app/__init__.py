"""One normalized location API in front of several positioning services."""
