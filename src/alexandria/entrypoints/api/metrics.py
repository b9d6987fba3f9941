"""What `/metrics` shows: requests, the queue, jobs and the errors of stores."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter as Tally
from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from alexandria.domain.errors import AlexandriaError
from alexandria.domain.job import Job, JobRecord, JobState, Phase
from alexandria.entrypoints.api.memo import Memo
from alexandria.entrypoints.control_plane import ControlPlane
from alexandria.ports.job_queue import RunningJob

logger = logging.getLogger(__name__)

CONTENT_TYPE = CONTENT_TYPE_LATEST

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REQUEST_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_JOB_S = (1, 5, 15, 30, 60, 120, 300, 600, 1200, 3600)


@dataclass(frozen=True, slots=True)
class _QueueState:
    waiting: Sequence[Job]
    running: Sequence[RunningJob]
    ended: Sequence[JobRecord]


class Metrics:
    """Counters of this process, and a look at the queue that is remembered so that scraping costs little.

    Args:
        plane: Where the queue is.
        remembered_s: Seconds for which the look at the queue is remembered.
    """

    def __init__(self, plane: ControlPlane, remembered_s: float) -> None:
        self._plane = plane
        self._queue_state = Memo(self._look, remembered_s)
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "alexandria_http_requests", "Requests answered.", ("method", "route", "status"), registry=registry
        )
        self._request_seconds = Histogram(
            "alexandria_http_request_duration_seconds",
            "Time from the request's header to the answer's last byte.",
            ("route",),
            buckets=_REQUEST_S,
            registry=registry,
        )
        self._store_errors = Counter(
            "alexandria_store_errors", "Calls of a store that failed.", ("store",), registry=registry
        )
        self._depth = Gauge("alexandria_queue_depth", "Jobs that wait.", registry=registry)
        self._jobs = Gauge(
            "alexandria_jobs",
            "Jobs that wait, run, or are among the last 100 that ended.",
            ("state",),
            registry=registry,
        )
        self._phases = Gauge(
            "alexandria_jobs_running", "Jobs that run, by what their worker does.", ("phase",), registry=registry
        )
        self._job_seconds = Histogram(
            "alexandria_job_duration_seconds",
            "Wall time of the attempt that ended a job, for jobs whose end this process saw in the history.",
            ("status",),
            buckets=_JOB_S,
            registry=registry,
        )
        self._up = Gauge("alexandria_queue_up", "Whether the queue answered the last look at it.", registry=registry)
        self._seen: set[str] | None = None
        self._shown: _QueueState | None = None
        for store in ("queue", "database", "vector_store"):
            self._store_errors.labels(store)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request; `route` is a template, so that there are few of them."""
        self._requests.labels(method if method in _METHODS else "other", route, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)

    def store_failed(self, store: str) -> None:
        """Count a call of a store that failed."""
        self._store_errors.labels(store).inc()

    async def exposition(self) -> bytes:
        """Return all of it in the text format of Prometheus; a queue that does not answer shows as down."""
        try:
            state = await self._queue_state.get()
        except AlexandriaError as error:
            logger.warning("metrics: the queue cannot be read: %s", error)
            self.store_failed("queue")
            self._up.set(0)
        else:
            self._up.set(1)
            self._show(state)
        return generate_latest(self._registry)

    async def close(self) -> None:
        """End a look at the queue that is under way."""
        await self._queue_state.close()

    async def _look(self) -> _QueueState:
        waiting, running, ended = await asyncio.gather(
            self._plane.pending_jobs(), self._plane.running_jobs(), self._plane.job_history()
        )
        return _QueueState(waiting, running, ended)

    def _show(self, state: _QueueState) -> None:
        if state is self._shown:
            return
        self._shown = state
        self._depth.set(len(state.waiting))
        states = Tally(record.status for record in state.ended)
        states[JobState.QUEUED], states[JobState.RUNNING] = len(state.waiting), len(state.running)
        for job_state in JobState:
            self._jobs.labels(str(job_state)).set(states[job_state])
        phases = Tally(job.phase for job in state.running)
        for phase in (None, *Phase):
            self._phases.labels("starting" if phase is None else str(phase)).set(phases[phase])
        # What had ended before this process began is not its to count.
        for record in state.ended if self._seen is not None else ():
            if record.job_id not in (self._seen or ()):
                self._job_seconds.labels(str(record.status)).observe(record.duration_seconds)
        self._seen = {record.job_id for record in state.ended}
