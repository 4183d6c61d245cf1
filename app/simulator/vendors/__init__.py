"""The two vendors, as the gateway sees them."""
