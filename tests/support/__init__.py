"""What tests share: servers, gateways, vendors and their data."""
