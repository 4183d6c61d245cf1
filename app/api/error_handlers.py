"""Error responses: every error becomes a problem document, those of the framework included."""

from collections.abc import Sequence

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route

from app.api.gateway import request_id_of
from app.api.problems import problem_response, to_fields_error
from app.errors import GatewayError, MethodNotAllowed, NotFound, RequestError


def add_error_handlers(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Answer all errors with problems; `routes` are those whose methods `Allow` names."""

    async def answer_http_exception(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        problem: RequestError
        if error.status_code == 405:  # noqa: PLR2004 -- the statuses that the router itself answers with
            problem = MethodNotAllowed("Use another method; the Allow header lists them.")
            return problem_response(problem, request_id_of(request), headers={"Allow": _allowed(request, routes)})
        problem = NotFound("Nothing exists at this path; /docs lists the routes.")
        return problem_response(problem, request_id_of(request), headers=dict(error.headers or {}))

    app.add_exception_handler(Exception, _answer_unexpected)
    app.add_exception_handler(GatewayError, _answer_gateway_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid_parameters)
    app.add_exception_handler(HTTPException, answer_http_exception)


async def _answer_unexpected(request: Request, _: Exception) -> Response:
    return problem_response(GatewayError(), request_id_of(request))


async def _answer_gateway_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError)
    return problem_response(error, request_id_of(request))


async def _answer_invalid_parameters(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problem = to_fields_error("Some parameters are not valid.", error.errors())
    return problem_response(problem, request_id_of(request))


def _allowed(request: Request, routes: Sequence[BaseRoute]) -> str:
    """List the methods of a path, of all its routes; the router itself knows only those of the first one."""
    methods: set[str] = set()
    for route in routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            methods |= route.methods or set()
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))
