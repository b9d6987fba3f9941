"""Health, metrics and the documentation."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from alexandria.entrypoints.api import examples, models
from alexandria.entrypoints.api.docs_page import POLICY, docs_page
from alexandria.entrypoints.api.gate import LIVE
from alexandria.entrypoints.api.metrics import CONTENT_TYPE
from alexandria.entrypoints.api.problems import ProblemError
from alexandria.entrypoints.api.routes.described import answers
from alexandria.entrypoints.api.state import READER, State, json_response

router = APIRouter(tags=["operation"])
documentation = APIRouter(include_in_schema=False)

_WORDS = {"down": "does not answer", "refused": "answers, and not as it should"}


@router.get(
    LIVE, response_model=models.Alive, responses=answers({"status": "alive"}, "It answers."), summary="Is it there?"
)
async def live() -> Response:
    """Answer, and touch nothing."""
    return json_response({"status": "alive"})


@router.get(
    "/health",
    response_model=models.Health,
    responses=answers(examples.HEALTH, "Every store answers."),
    summary="Do the stores answer?",
)
async def health(state: State) -> Response:
    """Return how queue, vector store and database answer; 503 if one does not. Remembered for a while."""
    examined = await state.health.get()
    services: dict[str, Any] = {one.name: one.shape() for one in examined}
    faults = [f"the {one.name.replace('_', ' ')} {_WORDS[one.status]}" for one in examined if one.error]
    if not faults:
        return json_response({"status": "healthy", "services": services})
    raise ProblemError(
        503, ", ".join(faults), kind="unhealthy", headers={"Retry-After": "10"}, members={"services": services}
    )


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses={
        200: {
            "description": "Metrics in the text format of Prometheus.",
            "content": {"text/plain": {"example": "alexandria_queue_depth 1.0\n"}},
        },
        "default": answers(None, "")["default"],
    },
    dependencies=[READER],
    summary="Metrics",
)
async def metrics(state: State) -> Response:
    """Return the metrics of this process, and how the queue stood at most `HEALTH_CACHE_SECONDS` ago."""
    return Response(await state.metrics.exposition(), headers={"Content-Type": CONTENT_TYPE})


@documentation.get("/openapi.json")
async def openapi(request: Request) -> Response:
    """Return the OpenAPI document."""
    return JSONResponse(await _document(request))


@documentation.get("/docs")
async def docs(request: Request) -> Response:
    """Return the documentation: a page without scripts, and nothing in it from elsewhere."""
    return HTMLResponse(docs_page(await _document(request)), headers={"Content-Security-Policy": POLICY})


async def _document(request: Request) -> dict[str, Any]:
    # The first time it takes a while to write: other requests go on meanwhile.
    document: dict[str, Any] = await asyncio.to_thread(request.app.openapi)
    return document
