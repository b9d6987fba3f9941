"""Submit jobs, watch them, cancel them."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.responses import Response, StreamingResponse

from alexandria.domain.job import MAX_ID_LENGTH
from alexandria.entrypoints import shapes
from alexandria.entrypoints.api import examples, models
from alexandria.entrypoints.api.events import Event, Look
from alexandria.entrypoints.api.problems import ProblemError
from alexandria.entrypoints.api.routes.described import answers
from alexandria.entrypoints.api.state import ADMIN, READER, ApiState, State, Workers, json_response
from alexandria.ports.job_queue import JobView
from alexandria.ports.status_board import SeenWorker

PREFIX = "/api/v1/ingestion"
MAX_HISTORY = 100

router = APIRouter(prefix=PREFIX, tags=["jobs"])

JobId = Annotated[str, Path(max_length=MAX_ID_LENGTH, description="Id of a job.", examples=[models.JOB_ID])]
Limit = Annotated[int, Query(ge=1, le=MAX_HISTORY, description="How many records at most.")]
Ref = Annotated[str, Query(description="Branch, tag or commit; empty for the default branch.", examples=["main"])]

_MERGED_SLASHES = re.compile(r"(https?):/+(?=[^/])", re.IGNORECASE)
_STREAM_EXAMPLE = 'event: job\ndata: {"id": "…", "state": "running", "percentage": 40.0, …}\n\n'


@router.post(
    "/ingest/{repo_url:path}",
    status_code=202,
    response_model=models.Dispatched,
    responses=answers(examples.DISPATCHED, "The job waits.", status=202),
    dependencies=[ADMIN],
    summary="Submit a repository",
)
async def ingest(
    request: Request,
    state: State,
    repo_url: Annotated[
        str, Path(description="`github.com/owner/name` or a whole https URL.", examples=["github.com/pallets/flask"])
    ],
    ref: Ref = "",
) -> Response:
    """Put a repository into the queue; a repeat of one that waits or runs answers that job."""
    if request.query_params.keys() - {"ref"}:
        # `…/github.com/u/r?x` would otherwise be taken for github.com/u/r: what a URL holds is not dropped unsaid.
        raise ProblemError(400, "the only parameter here is `ref`; an address with a `?` is not accepted")
    # A proxy on the way may have merged the two slashes of https://.
    return await _dispatch(state, _MERGED_SLASHES.sub(r"\1://", repo_url, count=1), ref)


async def _submission(request: Request) -> models.Submission:
    """Read the body, after the token: the framework would read it first, and tell a stranger what is wrong with it.

    Raises:
        ProblemError: 415: it is not JSON.
        RequestValidationError: It is not a submission.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ProblemError(415, "the body must be JSON: send `Content-Type: application/json`")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ProblemError(415, "the body must be sent as it is, without a `Content-Encoding`")
    try:
        return models.Submission.model_validate_json(await request.body())
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError([{**fault, "loc": ("body", *fault["loc"])} for fault in faults]) from None


_SUBMISSION = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": models.Submission.model_json_schema()}},
    }
}


@router.post(
    "/jobs",
    status_code=202,
    response_model=models.Dispatched,
    responses=answers(examples.DISPATCHED, "The job waits.", status=202),
    dependencies=[ADMIN],
    openapi_extra=_SUBMISSION,
    summary="Submit a repository, as JSON",
)
async def submit(state: State, submission: Annotated[models.Submission, Depends(_submission)]) -> Response:
    """Put a repository into the queue; a repeat of one that waits or runs answers that job."""
    return await _dispatch(state, submission.repo_url, submission.ref)


async def _dispatch(state: ApiState, url: str, ref: str) -> Response:
    answer = await state.plane.submit(url, ref=ref)
    shape = {
        "status": "dispatched",
        "job_id": answer.job.id,
        "queue_position": answer.position,
        "queue_size": answer.pending,
        "max_queue_size": state.plane.settings.queue_cap,
        "target": answer.job.repo.url,
        "ref": answer.job.ref,
        "state": str(answer.job.state),
        "created": answer.created,
    }
    return json_response(shape, 202, {"Location": f"{PREFIX}/jobs/{answer.job.id}"})


@router.get(
    "/jobs",
    response_model=models.Jobs,
    responses=answers(examples.JOBS, "Jobs that run and wait, and the latest that ended."),
    dependencies=[READER],
    summary="All jobs",
)
async def jobs(state: State) -> Response:
    """Return the jobs that run, oldest claim first, those that wait, and how the latest ended, newest first."""
    plane = state.plane
    # In the order of a job's life: one that goes on meanwhile is seen twice rather than not at all.
    waiting = await plane.pending_jobs()
    running = await plane.running_jobs()
    return json_response(shapes.jobs_json(running, waiting, await plane.job_history()))


@router.get(
    "/jobs/history",
    response_model=models.History,
    responses=answers({"history": [examples.RECORD]}, "The latest records, newest first."),
    dependencies=[READER],
    summary="How jobs ended",
)
async def history(state: State, limit: Limit = MAX_HISTORY) -> Response:
    """Return how the latest jobs ended, newest first."""
    return json_response({"history": [shapes.record_json(one) for one in await state.plane.job_history(limit)]})


@router.get(
    "/jobs/{job_id}",
    response_model=models.JobNow,
    responses=answers(examples.JOB_NOW, "The job as it is now."),
    dependencies=[READER],
    summary="One job",
)
async def job(state: State, job_id: JobId) -> Response:
    """Return a job: its state, what its worker does, how far it is, and how it ended."""
    return json_response(job_shape(await state.plane.job(job_id)))


@router.delete(
    "/jobs/{job_id}",
    response_model=models.JobNow,
    responses=answers(examples.JOB_NOW | {"cancel_requested": True}, "The job after that."),
    dependencies=[ADMIN],
    summary="Cancel a job",
)
async def cancel(state: State, job_id: JobId) -> Response:
    """Cancel a job: at once if it waits, at its worker's next heartbeat if it runs; an ended one stays as it is."""
    return json_response(job_shape(await state.plane.cancel(job_id)))


@router.get(
    "/worker/status",
    response_model=models.WorkerStatusShape,
    responses=answers(examples.WORKERS, "What the workers do."),
    dependencies=[READER],
    summary="What the workers do",
)
async def worker_status(state: State) -> Response:
    """Return the status that was published last, and each worker that is heard of."""
    return json_response(workers_shape(await state.workers.get()))


@router.get(
    "/jobs/{job_id}/events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Events `job` until it ends.",
            "content": {"text/event-stream": {"example": _STREAM_EXAMPLE}},
        }
    }
    | {"default": answers(None, "")["default"]},
    dependencies=[READER],
    summary="Follow one job",
)
async def job_events(request: Request, state: State, job_id: JobId) -> Response:
    """Send an event `job` now and at each change of the job, and end when it has ended."""

    async def look() -> Event:
        view = await state.plane.job(job_id)
        return Event("job", job_shape(view), last=view.job.state.is_final)

    return await _stream(request, state, f"job {job_id}", look)


@router.get(
    "/worker/events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Events `workers`.",
            "content": {"text/event-stream": {"example": "event: workers\ndata: {…}\n\n"}},
        }
    }
    | {"default": answers(None, "")["default"]},
    dependencies=[READER],
    summary="Follow the workers",
)
async def worker_events(request: Request, state: State) -> Response:
    """Send an event `workers` now and at each change of what a worker does."""

    async def look() -> Event:
        return Event("workers", workers_shape(await state.workers.get()))

    return await _stream(request, state, "workers", look)


def job_shape(view: JobView) -> shapes.Json:
    """Return the shape of a job, as the command line has it, and the percentage."""
    return shapes.job_view_json(view) | {"percentage": _percent(view.fraction)}


def workers_shape(workers: Workers) -> shapes.Json:
    """Return the status string exactly as it is stored, and each worker."""
    status, seen = workers
    return {"status": status.text, "workers": [_worker_shape(one) for one in seen]}


def _worker_shape(seen: SeenWorker) -> shapes.Json:
    report = seen.report
    return {
        "worker_id": report.worker_id,
        "status": report.status.text,
        "job_id": report.job_id,
        "phase": report.phase and str(report.phase),
        "fraction": report.fraction,
        "percentage": _percent(report.fraction),
        "seen_at": seen.seen_at.isoformat(),
    }


def _percent(fraction: float) -> float:
    return round(fraction * 100, 1)


async def _stream(request: Request, state: ApiState, topic: str, look: Look) -> Response:
    if request.scope["state"]["is_head"]:
        raise ProblemError(405, "a stream of events has no HEAD", headers={"Allow": "GET"})
    stream = await state.events.subscribe(topic, look)
    return StreamingResponse(stream, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
