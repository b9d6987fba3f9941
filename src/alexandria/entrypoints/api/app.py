"""The FastAPI application over an opened control plane."""

from __future__ import annotations

from collections.abc import Collection
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp

from alexandria.domain.errors import AlexandriaError
from alexandria.entrypoints.api.addresses import RateLimiter, TrustedProxies
from alexandria.entrypoints.api.gate import Gate
from alexandria.entrypoints.api.problems import (
    ProblemError,
    internal_error,
    problem_of,
    problem_of_http,
    problem_of_validation,
    problem_response,
)
from alexandria.entrypoints.api.routes import jobs, search, system
from alexandria.entrypoints.api.state import ApiState

DESCRIPTION = (
    "Submit repositories, watch their jobs, and ask which files play the same part and what hangs on a file. "
    "Errors are problem documents (RFC 9457). Times are UTC. Submitting and cancelling take `Authorization: "
    "Bearer` with the admin token; reading takes the read token if one is set."
)

_ROUTERS = (jobs.router, search.router, system.router)


def create_app(state: ApiState) -> FastAPI:
    """Return the application: routes and error handlers, without the gate."""
    app = _Api(
        title="Alexandria",
        version=version("alexandria"),
        description=DESCRIPTION,
        openapi_url=None,  # served by a route of ours, with a page that needs nothing from elsewhere
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.api = state
    for router in _ROUTERS:
        app.router.routes.extend(router.routes)  # as they are: `include_router` would build each of them once more
    if state.plane.settings.api_docs:
        app.router.routes.extend(system.documentation.routes)
    app.add_exception_handler(AlexandriaError, _on_error)
    app.add_exception_handler(HTTPException, _on_error)
    app.add_exception_handler(RequestValidationError, _on_error)
    app.add_exception_handler(Exception, _on_error)
    return app


class _Api(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """Return the document; the framework takes every null out of it, also out of examples."""
        if self.openapi_schema is None:
            document = super().openapi()
            for route in _routes():
                for status, answer in route.responses.items():
                    for kind, content in answer.get("content", {}).items():
                        for method in route.methods or ():
                            found = document["paths"][route.path_format][method.lower()]["responses"][str(status)]
                            found["content"][kind]["example"] = content["example"]
        return self.openapi_schema or {}


def gated(app: FastAPI, state: ApiState, hosts: Collection[str] = ()) -> ASGIApp:
    """Return the application behind its gate.

    Args:
        app: What `create_app` returned.
        state: The same as of `app`.
        hosts: Names that `Host` may have; empty for any.
    """
    settings = state.plane.settings
    return Gate(
        app,
        metrics=state.metrics,
        limiter=RateLimiter(settings.requests_per_minute, settings.requests_per_minute),
        proxies=TrustedProxies(settings.trusted_proxies),
        hosts=hosts,
        cors_origins=settings.cors_origins,
        is_stopping=lambda: state.stopping,
    )


async def _on_error(request: Request, error: Exception) -> Response:
    problem = _problem(request, error)
    if problem.store:
        state: ApiState = request.app.state.api
        state.metrics.store_failed(problem.store)
    return problem_response(problem, request.scope["state"]["request_id"])


def _problem(request: Request, error: Exception) -> ProblemError:
    match error:
        case RequestValidationError():
            return problem_of_validation(error)
        case HTTPException():
            problem = problem_of_http(error)
            if problem.status_code == 405:
                problem.headers = {"Allow": _allowed(request)}
            return problem
        case AlexandriaError():
            return problem_of(error)
    return internal_error()


def _allowed(request: Request) -> str:
    """Return every method of the address; the framework names those of the first route only."""
    fitting = [route for route in _routes() if route.path_regex.match(request.scope["path"])]
    methods = {method for route in fitting for method in route.methods or ()}
    if any("GET" in (route.methods or ()) and route.response_class is not StreamingResponse for route in fitting):
        methods.add("HEAD")
    return ", ".join(sorted(methods))


def _routes() -> list[APIRoute]:
    return [route for router in _ROUTERS for route in router.routes if isinstance(route, APIRoute)]
