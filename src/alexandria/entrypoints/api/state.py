"""What the routes share, and how they get at it."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import Depends, Request
from starlette.responses import Response

from alexandria.domain.worker_status import WorkerStatus
from alexandria.entrypoints.api.access import Gatekeeper
from alexandria.entrypoints.api.events import EventHub
from alexandria.entrypoints.api.health import StoreHealth, examine
from alexandria.entrypoints.api.memo import Memo
from alexandria.entrypoints.api.metrics import Metrics
from alexandria.entrypoints.control_plane import ControlPlane
from alexandria.ports.status_board import SeenWorker, word_of

_LEAST_INTERVAL_S = 1.0

Workers = tuple[WorkerStatus, tuple[SeenWorker, ...]]


class ApiState:
    """One object an app.

    Args:
        plane: The opened stores.
        gatekeeper: Who may.

    Attributes:
        plane: The opened stores.
        gatekeeper: Who may.
        health: How the stores answered, remembered for `HEALTH_CACHE_SECONDS`.
        workers: What the workers say, remembered for `STATUS_CACHE_SECONDS`.
        metrics: What `/metrics` shows.
        events: The event streams.
        stopping: Whether the process was told to stop: answers then end their connection.
    """

    def __init__(self, plane: ControlPlane, gatekeeper: Gatekeeper) -> None:
        settings = plane.settings
        self.plane = plane
        self.gatekeeper = gatekeeper
        self.health: Memo[list[StoreHealth]] = Memo(lambda: examine(plane), settings.health_cache_seconds)
        self.workers: Memo[Workers] = Memo(self._ask_workers, settings.status_cache_seconds)
        self.metrics = Metrics(plane, settings.health_cache_seconds)
        self.events = EventHub(max(_LEAST_INTERVAL_S, settings.status_cache_seconds))
        self.stopping = False

    async def _ask_workers(self) -> Workers:
        workers = await self.plane.workers()  # one look: a second one, at the status, would double what it costs
        return word_of(workers), tuple(workers)

    async def close(self) -> None:
        """End what goes on in the background."""
        await self.events.close()
        for memo in (self.health, self.workers, self.metrics):
            await memo.close()


def json_response(shape: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return `shape` as JSON; names that are no valid Unicode are escaped."""
    return Response(json.dumps(shape), status, headers, media_type="application/json")


async def _state(request: Request) -> ApiState:
    state: ApiState = request.app.state.api
    return state


async def _admit_admin(request: Request) -> None:
    sent = request.headers.getlist("authorization")
    await request.app.state.api.gatekeeper.admit_admin(sent, request.scope["state"]["peer"])


async def _admit_reader(request: Request) -> None:
    sent = request.headers.getlist("authorization")
    await request.app.state.api.gatekeeper.admit_reader(sent, request.scope["state"]["peer"])


State = Annotated[ApiState, Depends(_state)]
ADMIN = Depends(_admit_admin)
"""Only for those who may submit."""
READER = Depends(_admit_reader)
"""Only for those who may read."""
