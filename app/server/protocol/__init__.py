"""HTTP/1.1 as uvicorn speaks it, and what it lacks; only this package leans on the inside of uvicorn's protocol."""

from app.server.protocol.connection import LARGEST_HEAD, DrainState, GatewayProtocol

__all__ = ["LARGEST_HEAD", "DrainState", "GatewayProtocol"]
