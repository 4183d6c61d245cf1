"""`python -m app` is `location-gateway`."""

from app.cli import main

main()
