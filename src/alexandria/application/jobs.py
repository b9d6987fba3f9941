"""Use cases: submit a job, and work one off."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from alexandria.application.index import IndexProgress, IndexResult, ProgressListener
from alexandria.domain.errors import AlexandriaError
from alexandria.domain.job import Job, JobRecord, JobState, Phase, job_id_at
from alexandria.domain.repo_url import RepoUrl
from alexandria.domain.worker_status import WorkerStatus
from alexandria.ports.catalog import CatalogUnavailableError, StaleGenerationError
from alexandria.ports.clock import Clock
from alexandria.ports.job_queue import Claim, Enqueued, JobQueue, JobQueueUnavailableError, LeaseLostError, Renewal
from alexandria.ports.repo_source import RepoUnavailableError
from alexandria.ports.status_board import StatusBoard, WorkerReport
from alexandria.ports.vector_store import VectorStoreUnavailableError

logger = logging.getLogger(__name__)

RETRYABLE = (RepoUnavailableError, VectorStoreUnavailableError, CatalogUnavailableError)
"""Errors of an attempt after which another one may go well."""

IndexJob = Callable[[RepoUrl, str, int, ProgressListener], Coroutine[Any, Any, IndexResult]]
"""Index (repo, ref) under a generation, and tell the progress."""


async def submit_job(repo: RepoUrl, ref: str, *, queue: JobQueue, clock: Clock) -> Enqueued:
    """Put a repository into the queue, or return the job that is there for it already.

    Raises:
        QueueFullError: As many jobs are pending as may be.
        JobQueueUnavailableError: The queue does not answer.
    """
    return await queue.enqueue(job_id_at(clock.now(), secrets.token_bytes(10)), repo, ref)


@dataclass(frozen=True, slots=True)
class WorkedOff:
    """How an attempt ended.

    Attributes:
        job: The job as it was claimed.
        state: What became of it: QUEUED when it will be tried again or another worker has it.
        record: What is in the history; None unless the job has ended.
        reason: Why it did not complete; empty if it did.
    """

    job: Job
    state: JobState
    record: JobRecord | None
    reason: str = ""


async def work_off_one(
    worker_id: str,
    *,
    queue: JobQueue,
    board: StatusBoard,
    clock: Clock,
    index: IndexJob,
    heartbeat_s: float,
    status_ttl_s: float,
) -> WorkedOff | None:
    """Claim a job and run it to the end of its attempt; return None if none waits.

    While it runs, the lease is renewed every `heartbeat_s` from the event loop, so `index` must
    compute off it. An error of the attempt ends the attempt, never the worker. Cancelling this call
    gives the job back, and the attempt does not count.

    Args:
        worker_id: Names the worker to the queue and on the board.
        queue: Where the job comes from and where it ends.
        board: Where the worker says what it does.
        clock: Stamps the record.
        index: The work.
        heartbeat_s: Seconds between renewals; below the lease.
        status_ttl_s: Seconds after which a worker that is not heard of reads `Offline`.

    Raises:
        JobQueueUnavailableError: The queue does not answer. A job that was claimed lapses and
            comes back; its generation is refused if another attempt has begun.
        StatusBoardUnavailableError: The board does not answer.
    """
    claim = await queue.claim(worker_id)
    if claim is None:
        return None
    place = IndexProgress(Phase.CLONING, 0.0)

    def listen(step: IndexProgress) -> None:
        nonlocal place
        place = step

    async def say(status: WorkerStatus) -> None:
        report = WorkerReport(worker_id, status, claim.job.id, place.phase, min(max(place.fraction, 0.0), 1.0))
        await board.publish(report, ttl_s=status_ttl_s)

    busy = WorkerStatus.training(claim.job.repo.url)
    await say(busy)
    began, started_at = time.monotonic(), clock.now()
    logger.info("job %s started: %s, attempt %d", claim.job.id, claim.job.repo, claim.job.attempt)
    work = asyncio.create_task(index(claim.job.repo, claim.job.ref, claim.token, listen))
    stopped_by: Renewal | LeaseLostError | None = None
    try:
        while not work.done():
            await asyncio.wait({work}, timeout=heartbeat_s)
            if work.done() or stopped_by is not None:
                continue
            stopped_by = await _beat(queue, claim, place)
            if stopped_by is None:
                await say(busy)
            else:
                work.cancel()
    except BaseException:
        await _stop(work)
        await queue.release(claim)
        logger.info("job %s given back", claim.job.id)
        raise
    if isinstance(stopped_by, LeaseLostError):
        logger.warning("job %s: %s", claim.job.id, stopped_by)
        return WorkedOff(claim.job, JobState.QUEUED, None, str(stopped_by))
    ended = await _end(queue, claim, work, _Timing(clock, began, started_at), cancelled=stopped_by is Renewal.CANCEL)
    failed = ended.state not in {JobState.COMPLETE, JobState.CANCELLED}
    await board.publish(
        WorkerReport(worker_id, WorkerStatus.error(ended.reason) if failed else WorkerStatus.idle()), ttl_s=status_ttl_s
    )
    return ended


@dataclass(frozen=True, slots=True)
class _Timing:
    """When an attempt began, on both clocks: one for the record, one that never steps."""

    clock: Clock
    began: float
    started_at: datetime


async def _beat(queue: JobQueue, claim: Claim, place: IndexProgress) -> Renewal | LeaseLostError | None:
    """Renew the lease; return why the work must stop, or None."""
    try:
        renewal = await queue.renew(claim, phase=place.phase, fraction=min(max(place.fraction, 0.0), 1.0))
    except LeaseLostError as error:
        return error
    except JobQueueUnavailableError as error:
        # The lease may lapse before the queue is back; then its fence refuses what we made, and nothing is lost.
        logger.warning("heartbeat of job %s failed: %s", claim.job.id, error)
        return None
    return renewal if renewal is Renewal.CANCEL else None


async def _stop(work: asyncio.Task[IndexResult]) -> None:
    work.cancel()
    await asyncio.wait({work})
    if not work.cancelled() and (error := work.exception()) is not None:
        logger.info("what was stopped ended with: %s", error)


async def _end(
    queue: JobQueue, claim: Claim, work: asyncio.Task[IndexResult], timing: _Timing, *, cancelled: bool
) -> WorkedOff:
    """Tell the queue how the attempt ended."""
    error = asyncio.CancelledError() if work.cancelled() else work.exception()
    job = claim.job
    if isinstance(error, StaleGenerationError):
        # Another claim took over before a heartbeat told us: how the job ends is that one's to say.
        logger.warning("job %s: %s", job.id, error)
        return WorkedOff(job, JobState.QUEUED, None, str(error))
    try:
        if error is None:
            # Also when it was cancelled too late to matter: the new index is visible, so it is complete.
            record = _record(claim, timing, JobState.COMPLETE, "", work.result())
            await queue.complete(claim, record)
            logger.info("job %s complete in %.1f s", job.id, record.duration_seconds)
            return WorkedOff(job, JobState.COMPLETE, record)
        if cancelled:
            record = _record(claim, timing, JobState.CANCELLED, "cancelled while it ran")
            await queue.cancelled(claim, record)
            logger.info("job %s cancelled", job.id)
            return WorkedOff(job, JobState.CANCELLED, record, record.reason)
        reason = _reason(error)
        record = _record(claim, timing, JobState.FAILED, reason)
        state = await queue.fail(claim, record, retry=isinstance(error, RETRYABLE))
    except LeaseLostError as lost:
        logger.warning("job %s: %s", job.id, lost)
        return WorkedOff(job, JobState.QUEUED, None, str(lost))
    logger.error("job %s failed: %s", job.id, reason, exc_info=None if isinstance(error, AlexandriaError) else error)
    return WorkedOff(job, state, record if state is JobState.FAILED else None, reason)


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, AlexandriaError) else f"{type(error).__name__}: {text}"


def _record(
    claim: Claim, timing: _Timing, state: JobState, reason: str, result: IndexResult | None = None
) -> JobRecord:
    record = JobRecord(
        job_id=claim.job.id,
        repo_url=claim.job.repo.url,
        status=state,
        timestamp=timing.clock.now(),
        started_at=timing.started_at,
        duration_seconds=time.monotonic() - timing.began,
        reason=reason,
        worker_id=claim.worker_id,
        attempt=claim.job.attempt,
    )
    if result is None:
        return record
    snapshot = result.snapshot
    return replace(
        record,
        commit=snapshot.commit,
        files_processed=snapshot.files,
        files_failed=snapshot.files_failed,
        edges=snapshot.edges,
        imports_unresolved=snapshot.imports.unresolved,
        embeddings_generated=len(result.embeddings.paths),
        final_loss=snapshot.final_loss,
        edge_auc=snapshot.edge_auc,
        device=snapshot.device,
    )
