"""The CloudLocate half of the simulator."""

from starlette.routing import BaseRoute, Route

from app.simulator.state import State
from app.simulator.vendors.cloudlocate.position import PositionEndpoint
from app.simulator.vendors.cloudlocate.tokens import Doorkeeper, TokenEndpoint


def routes(state: State) -> list[BaseRoute]:
    """Return the routes of the position and the token operation."""
    doorkeeper = Doorkeeper(state)
    return [
        Route(state.options.cloudlocate_position_path, PositionEndpoint(state, doorkeeper), methods=["POST"]),
        Route(state.options.cloudlocate_token_path, TokenEndpoint(doorkeeper), methods=["POST"]),
    ]
