"""The HTTP face of the gateway: routes, schemas and problem documents."""
