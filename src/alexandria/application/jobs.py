"""Use cases: submit a job, work one off, and work off all that wait."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import re
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from alexandria.application.index import IndexProgress, IndexResult, ProgressListener
from alexandria.application.pacing import Backoff, Polling, Timer, pause
from alexandria.application.presence import Presence
from alexandria.domain.errors import AlexandriaError
from alexandria.domain.job import Job, JobRecord, JobState, Phase, job_id_at
from alexandria.domain.repo_url import RepoUrl
from alexandria.domain.worker_status import WorkerStatus
from alexandria.ports.catalog import CatalogUnavailableError, StaleGenerationError
from alexandria.ports.clock import Clock
from alexandria.ports.job_queue import (
    Claim,
    Enqueued,
    JobQueue,
    JobQueueError,
    JobQueueUnavailableError,
    LeaseLostError,
    Renewal,
)
from alexandria.ports.repo_source import RepoUnavailableError
from alexandria.ports.vector_store import VectorStoreUnavailableError

logger = logging.getLogger(__name__)

STORE_IS_AWAY = (VectorStoreUnavailableError, CatalogUnavailableError)
RETRYABLE = (RepoUnavailableError, StaleGenerationError, *STORE_IS_AWAY)
"""Errors of an attempt after which another one may go well."""

FINISH_S = 20.0
"""Seconds that a worker which is asked to stop gives to what is nearly done, or to telling that it is done."""

GIVE_BACK_S = 10.0
"""Seconds that it gives to giving a job back."""

LAST_ANSWER_S = 5.0
"""Seconds that it waits for an answer of the queue, where it would wait for two whole deadlines otherwise."""

MAX_REASON = 2_000

IndexJob = Callable[[RepoUrl, str, int, ProgressListener], Coroutine[Any, Any, IndexResult]]
"""Index (repo, ref) under a generation, and tell the progress."""

T = TypeVar("T")


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
        store_away: It failed because the vector store or the catalog did not answer.
    """

    job: Job
    state: JobState
    record: JobRecord | None
    reason: str = ""
    store_away: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkRules:
    """What a worker works with, beside the claim.

    Attributes:
        queue: Where jobs come from and where they end.
        presence: Where the worker says what it does.
        clock: Stamps the records.
        index: The work.
        timer: What time it is, for every wait.
        heartbeat_s: Seconds between renewals; below the lease.
        lease_s: Seconds that a claim holds without one.
        stop: Set when the worker shall stop: what takes seconds is finished, other work is given back.
    """

    queue: JobQueue
    presence: Presence
    clock: Clock
    index: IndexJob
    heartbeat_s: float
    lease_s: float
    timer: Timer = field(default_factory=Timer)
    stop: asyncio.Event = field(default_factory=asyncio.Event)


async def work_off_queue(
    rules: WorkRules,
    *,
    polling: Polling,
    once: bool = False,
    work: Callable[[Claim, WorkRules], Coroutine[Any, Any, WorkedOff]] | None = None,
    stores_answer: Callable[[], Awaitable[object]] | None = None,
) -> int:
    """Work off jobs until `rules.stop` is set; return how many attempts were made.

    A queue that does not answer is asked again with waits that double up to a minute. An error is
    left on the board for one round of presence, then the worker says `Idle` again.

    Args:
        rules: What to work with.
        polling: How long to wait while there is no job.
        once: End when no job waits.
        work: Runs one claim; None for `work_off`.
        stores_answer: Returns when the vector store and the catalog answer; called after an attempt
            that failed because one did not, so that an outage does not eat the attempts of every job.

    Raises:
        JobQueueError: With `once`: the queue does not answer.
    """
    queue, presence, timer = rules.queue, rules.presence, rules.timer
    work = work or work_off
    backoff = Backoff(timer)
    attempts = 0
    await presence.say(WorkerStatus.idle())
    while not rules.stop.is_set():
        try:
            claim = await queue.claim(presence.worker_id)
        except JobQueueError as error:
            if once:
                raise
            wait_s = backoff.failed()
            logger.warning(
                "no answer from the queue: %s",
                error,
                extra={"failures": backoff.failures, "again_in_s": round(wait_s, 1)},
            )
            await pause(timer, wait_s, until=rules.stop)
            continue
        if backoff.failures:
            logger.info("the queue answers again", extra={"failures": backoff.failures})
            backoff.succeeded()
        if claim is None:
            if once:
                break
            await _say_idle(presence)
            await pause(timer, polling.next_s(), until=rules.stop)
            continue
        ended = await work(claim, rules)
        attempts += 1
        polling.worked()
        if ended.store_away and stores_answer is not None and not rules.stop.is_set():
            await stores_answer()
    return attempts


async def _say_idle(presence: Presence) -> None:
    """Say `Idle`, unless an error was put up less than one round of presence ago."""
    if presence.is_up and presence.due_in_s() <= 0:
        await presence.say(WorkerStatus.idle())
    else:
        await presence.refresh()


async def work_off(claim: Claim, rules: WorkRules) -> WorkedOff:
    """Run a claimed job to the end of its attempt.

    While it runs, the lease is renewed from the event loop, so `rules.index` must compute off it;
    phase and percentage are told at each renewal and when the phase changes. A queue that is away
    does not stop the work: its end is told when the queue is back, until the lease has surely
    lapsed; whatever another attempt has begun by then, the fence refuses this one's generation.

    An error of the work ends the attempt, never the worker. Cancelling this call gives the job
    back, and the attempt does not count; so does `rules.stop`, unless the vectors are being uploaded.
    """
    return await _Attempt(claim, rules).run()


class _UntoldError(AlexandriaError):
    """The queue did not hear of the end of an attempt in time."""


class _Stopped:
    """Why an attempt was stopped: the worker stops."""


class _Attempt:
    """One claim, from its first word to its last. The lease is judged by this process's own clock, on the safe side."""

    def __init__(self, claim: Claim, rules: WorkRules) -> None:
        self._claim = claim
        self._rules = rules
        self._timer = rules.timer
        self._place = IndexProgress(Phase.CLONING, 0.0)
        self._phase_changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._backoff = Backoff(rules.timer)
        self._began = rules.timer.monotonic()
        self._started_at = rules.clock.now()
        self._beat_at = self._began + rules.heartbeat_s
        self._lapses_at = self._began + rules.lease_s

    async def run(self) -> WorkedOff:
        if self._rules.stop.is_set():
            return await self._give_back()
        claim = self._claim
        logger.info("job started", extra={"ref": claim.job.ref, "generation": claim.token})
        await self._say_training()
        work = asyncio.create_task(self._rules.index(claim.job.repo, claim.job.ref, claim.token, self._listen))
        try:
            stopped_by = await self._watch(work)
            await _stop(work)
        except BaseException:
            await _stop(work)
            await self._give_back()
            raise
        return await self._end(work, stopped_by)

    async def _end(
        self, work: asyncio.Task[IndexResult], stopped_by: Renewal | LeaseLostError | _Stopped | None
    ) -> WorkedOff:
        """Tell how the attempt ended, now that `work` is done."""
        if isinstance(stopped_by, LeaseLostError):
            return await self._lost(stopped_by)
        error = asyncio.CancelledError() if work.cancelled() else work.exception()
        if error is None:
            # Also when it was stopped too late to matter: the new index is visible, so it is complete.
            return await self._complete(work.result())
        if isinstance(stopped_by, _Stopped):
            return await self._give_back()
        if stopped_by is Renewal.CANCEL:
            return await self._cancelled()
        return await self._failed(error)

    def _listen(self, step: IndexProgress) -> None:
        """Take note of a step; called from any thread."""
        changed = step.phase is not self._place.phase
        self._place = step
        if changed:
            self._loop.call_soon_threadsafe(self._phase_changed.set)

    async def _watch(self, work: asyncio.Task[IndexResult]) -> Renewal | LeaseLostError | _Stopped | None:
        """Renew the lease while `work` goes on; return why it must stop, or None when it has ended."""
        finish_by: float | None = None
        while True:
            await self._wait(work, finish_by)
            now = self._timer.monotonic()
            if work.done():
                return None
            if self._rules.stop.is_set():
                if finish_by is None and self._place.phase is Phase.UPLOADING:
                    finish_by = now + FINISH_S
                if finish_by is None or now >= finish_by:
                    return _Stopped()
            if self._beat_at <= now or (self._phase_changed.is_set() and not self._backoff.failures):
                stopped_by = await self._beat()
                if stopped_by is not None:
                    return stopped_by
                await self._say_training()
            await self._refresh()

    async def _wait(self, work: asyncio.Task[IndexResult], finish_by: float | None) -> None:
        """Wait for the first of: the end of `work`, a new phase, the next thing that is due, the wish to stop."""
        due_s = min(self._beat_at - self._timer.monotonic(), self._rules.presence.due_in_s())
        waits: list[Coroutine[Any, Any, Any]] = []
        if not self._backoff.failures:
            waits.append(self._phase_changed.wait())
        if finish_by is None:
            waits.append(self._rules.stop.wait())
        else:
            due_s = min(due_s, finish_by - self._timer.monotonic())
        others = [asyncio.ensure_future(wait) for wait in (self._timer.sleep(max(due_s, 0.0)), *waits)]
        try:
            await asyncio.wait([work, *others], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for other in others:
                other.cancel()
            await asyncio.gather(*others, return_exceptions=True)

    async def _beat(self) -> Renewal | LeaseLostError | None:
        """Renew the lease; return why the work must stop, or None."""
        self._phase_changed.clear()
        place = self._place
        try:
            renewal = await self._ask(self._rules.queue.renew(self._claim, phase=place.phase, fraction=_share(place)))
        except LeaseLostError as error:
            return error
        except JobQueueError as error:
            # The lease may lapse before the queue is back; then its fence refuses what we made, and nothing is lost.
            wait_s = self._backoff.failed()
            self._beat_at = self._timer.monotonic() + wait_s
            again = {"failures": self._backoff.failures, "again_in_s": round(wait_s, 1)}
            logger.warning("heartbeat failed: %s", error, extra=again)
            return None
        self._backoff.succeeded()
        now = self._timer.monotonic()
        self._beat_at = now + self._rules.heartbeat_s
        self._lapses_at = now + self._rules.lease_s
        logger.debug("heartbeat", extra={"phase": str(place.phase), "fraction": round(_share(place), 3)})
        return renewal if renewal is Renewal.CANCEL else None

    async def _say_training(self) -> None:
        place, job = self._place, self._claim.job
        status = WorkerStatus.training(job.repo.url)
        await self._say(status, job_id=job.id, phase=place.phase, fraction=_share(place))

    async def _complete(self, result: IndexResult) -> WorkedOff:
        record = _with_result(self._record(JobState.COMPLETE), result)
        try:
            await self._tell(lambda: self._rules.queue.complete(self._claim, record))
        except (LeaseLostError, _UntoldError) as error:
            return await self._lost(error)
        logger.info("job complete", extra=_facts(record, result))
        await self._say(WorkerStatus.idle())
        return WorkedOff(self._claim.job, JobState.COMPLETE, record)

    async def _cancelled(self) -> WorkedOff:
        record = self._record(JobState.CANCELLED, "cancelled while it ran")
        try:
            await self._tell(lambda: self._rules.queue.cancelled(self._claim, record))
        except (LeaseLostError, _UntoldError) as error:
            return await self._lost(error)
        logger.info("job cancelled", extra={"duration_seconds": round(record.duration_seconds, 3)})
        await self._say(WorkerStatus.idle())
        return WorkedOff(self._claim.job, JobState.CANCELLED, record, record.reason)

    async def _failed(self, error: BaseException) -> WorkedOff:
        reason = _reason(error)
        record = self._record(JobState.FAILED, reason)
        retry = isinstance(error, RETRYABLE)
        try:
            state = await self._tell(lambda: self._rules.queue.fail(self._claim, record, retry=retry))
        except (LeaseLostError, _UntoldError) as lost:
            # Also when another claim took over before a heartbeat told us: how the job ends is that one's to say.
            return await self._lost(lost)
        if isinstance(error, StaleGenerationError):
            await self._outbid(error)
        logger.error(
            "job failed: %s",
            reason,
            extra={"duration_seconds": round(record.duration_seconds, 3), "again": state is JobState.QUEUED},
            exc_info=None if isinstance(error, AlexandriaError) else error,
        )
        await self._say(WorkerStatus.error(reason))
        ended = record if state is JobState.FAILED else None
        return WorkedOff(self._claim.job, state, ended, reason, isinstance(error, STORE_IS_AWAY))

    async def _outbid(self, error: StaleGenerationError) -> None:
        """Let the next attempt have a token that the catalog takes.

        A claim that is current and yet too old was overtaken by a job for another ref of the repository, or is of a
        queue that lost its data and counts from 1 again: without this, it would be refused for as long as it counts.
        """
        with contextlib.suppress(_UntoldError):  # the next attempt finds the same, and tries this again
            await self._tell(lambda: self._rules.queue.issue_token(above=error.fence))

    async def _give_back(self) -> WorkedOff:
        """Give the job back; if the queue does not hear of it, the lease lapses and the attempt counts."""
        try:
            await self._tell(lambda: self._rules.queue.release(self._claim), within_s=GIVE_BACK_S)
        except (LeaseLostError, _UntoldError) as error:
            return await self._lost(error)
        logger.info("job given back")
        await self._say(WorkerStatus.idle())
        return WorkedOff(self._claim.job, JobState.QUEUED, None, "given back: the worker stops")

    async def _lost(self, error: AlexandriaError) -> WorkedOff:
        logger.warning("job let go: %s", error)
        await self._say(WorkerStatus.idle())
        return WorkedOff(self._claim.job, JobState.QUEUED, None, str(error))

    async def _tell(self, call: Callable[[], Coroutine[Any, Any, T]], within_s: float = math.inf) -> T:
        """Tell the queue how the attempt ended, again and again while it does not answer.

        Raises:
            LeaseLostError: Another claim has the job.
            _UntoldError: The lease has surely lapsed, or there was no answer within `within_s`, or
                within `FINISH_S` from when the worker was asked to stop.
        """
        backoff = Backoff(self._timer)
        until = min(self._lapses_at, self._timer.monotonic() + within_s)
        while True:
            try:
                return await self._ask(call())
            except LeaseLostError:
                raise
            except JobQueueError as error:
                now = self._timer.monotonic()
                if self._rules.stop.is_set():
                    until = min(until, now + FINISH_S)
                if now >= until:
                    raise _UntoldError(f"the queue did not hear of its end: {error}") from error
                wait_s = min(backoff.failed(), until - now)
                logger.warning(
                    "the end could not be told: %s",
                    error,
                    extra={"failures": backoff.failures, "again_in_s": round(wait_s, 1)},
                )
            if self._rules.stop.is_set():
                await self._timer.sleep(wait_s)
            else:
                await pause(self._timer, wait_s, until=self._rules.stop)
            await self._refresh()

    async def _ask(self, call: Coroutine[Any, Any, T]) -> T:
        """Return what the queue answers, or say that it is away if the worker shall stop and it does not answer soon.

        A call that is given up has its one effect or none, as one whose answer was lost.
        """
        asked, stop = asyncio.ensure_future(call), asyncio.ensure_future(self._rules.stop.wait())
        try:
            await asyncio.wait([asked, stop], return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait([asked], timeout=LAST_ANSWER_S)
            if not asked.done():
                raise JobQueueUnavailableError(f"no answer within {LAST_ANSWER_S:g} s, and the worker stops")
            return asked.result()
        finally:
            for one in (asked, stop):
                one.cancel()
            await asyncio.gather(asked, stop, return_exceptions=True)

    async def _say(self, status: WorkerStatus, **place: Any) -> None:
        """Put up a word, unless the worker shall stop: then its last one comes soon, and a board may hang."""
        if not self._rules.stop.is_set():
            await self._rules.presence.say(status, **place)

    async def _refresh(self) -> None:
        """Put up what is due, as `_say` does."""
        if not self._rules.stop.is_set():
            await self._rules.presence.refresh()

    def _record(self, state: JobState, reason: str = "") -> JobRecord:
        return JobRecord(
            job_id=self._claim.job.id,
            repo_url=self._claim.job.repo.url,
            status=state,
            timestamp=self._rules.clock.now(),
            started_at=self._started_at,
            duration_seconds=self._timer.monotonic() - self._began,
            reason=reason,
            worker_id=self._claim.worker_id,
            attempt=self._claim.job.attempt,
        )


def _share(place: IndexProgress) -> float:
    return min(max(place.fraction, 0.0), 1.0)


async def _stop(work: asyncio.Task[IndexResult]) -> None:
    """Cancel `work` unless it has ended, and wait for it."""
    if work.done():
        return
    work.cancel()
    await asyncio.wait({work})
    if not work.cancelled() and (error := work.exception()) is not None:
        logger.info("what was stopped ended with: %s", error)


def _reason(error: BaseException) -> str:
    """Return what to record of an error: one line that any store can hold."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", "\ufffd", text)[:MAX_REASON]
    return text if isinstance(error, AlexandriaError) else f"{type(error).__name__}: {text}"


def _with_result(record: JobRecord, result: IndexResult) -> JobRecord:
    snapshot = result.snapshot
    return replace(
        record,
        commit=snapshot.commit,
        files_processed=snapshot.files,
        files_failed=snapshot.files_failed,
        edges=snapshot.edges,
        imports_unresolved=snapshot.imports.unresolved,
        embeddings_generated=len(result.embeddings.paths),
        final_loss=_finite(snapshot.final_loss),
        edge_auc=_finite(snapshot.edge_auc),
        device=snapshot.device,
    )


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


def _facts(record: JobRecord, result: IndexResult) -> dict[str, object]:
    """Return what is logged of a complete job."""
    names: Iterable[str] = (
        *("commit", "files_processed", "files_failed", "edges", "imports_unresolved", "embeddings_generated"),
        *("final_loss", "edge_auc", "device"),
    )
    facts: dict[str, object] = {name: getattr(record, name) for name in names}
    facts["duration_seconds"] = round(record.duration_seconds, 3)
    facts["seconds"] = {str(phase): round(seconds, 3) for phase, seconds in result.code.seconds.items()}
    facts["notes"] = list(result.embeddings.report.notes)
    return facts
