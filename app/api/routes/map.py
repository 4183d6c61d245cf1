"""`/map`, where people see the fleet. It holds no data: it asks for an API key, and uses the public API with it."""

from http import HTTPStatus
from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from app.errors import NotFound
from app.map.page import ASSETS, BUILT, read_page

_NOT_BUILT = (
    "The map is not part of this installation, because its page was not built: `make .venv` in a checkout builds it, "
    "and so do the image and the wheel. Everything else works without it; see /docs."
)


def add_map(app: FastAPI, style_url: str | None, folder: Path = BUILT) -> None:
    """Serve `/map` and its assets, and lead there from `/`."""
    app.mount(f"/{ASSETS}", _Assets(directory=folder / ASSETS, check_dir=False), name=ASSETS)

    def show(request: Request) -> Response:
        if request.scope.get("raw_path", b"").endswith(b"/"):
            # The page's links are relative, so that they hold behind a prefix; after a slash they would not.
            return RedirectResponse("../map")
        page = read_page(style_url, folder)
        if page is None:
            raise NotFound(_NOT_BUILT)
        return HTMLResponse(
            page.html,
            headers={
                "Content-Security-Policy": page.policy,
                "Cache-Control": "no-cache",
                "Referrer-Policy": "no-referrer",
                "X-Content-Type-Options": "nosniff",
            },
        )

    async def root(_: Request) -> RedirectResponse:
        # Relative, so that it holds behind a load balancer that adds a prefix as well.
        return RedirectResponse("map")

    app.add_route("/", root, include_in_schema=False)
    app.add_route("/map", show, include_in_schema=False)


class _Assets(StaticFiles):
    """Files that never change, because their names hold a hash of what is in them."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer with a file."""
        response = await super().get_response(path, scope)
        if response.status_code < HTTPStatus.BAD_REQUEST:
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response
