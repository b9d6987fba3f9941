"""Port: the queue of jobs. Nothing lost, and no effect twice."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from alexandria.domain.errors import AlexandriaError
from alexandria.domain.job import DEFAULT_TTL_S, Job, JobRecord, JobState, Phase
from alexandria.domain.repo_url import RepoUrl


class JobQueueError(AlexandriaError):
    """Root of the errors of this port."""


class JobQueueUnavailableError(JobQueueError):
    """No answer. Every call of this port may be repeated: it has one effect."""


class QueueFullError(JobQueueError):
    """As many jobs are pending as may be.

    Attributes:
        pending: How many there are.
        cap: How many there may be.
    """

    def __init__(self, pending: int, cap: int) -> None:
        super().__init__(f"{pending} jobs are pending and {cap} may be: try again when one is done")
        self.pending = pending
        self.cap = cap


class JobNotFoundError(JobQueueError):
    """No job with this id is known, or it ended so long ago that it is forgotten.

    Attributes:
        job_id: The id that was asked for.
    """

    def __init__(self, job_id: str) -> None:
        super().__init__(f"no job {job_id}")
        self.job_id = job_id


class LeaseLostError(JobQueueError):
    """The claim is not the current one any more: stop the work and write nothing.

    Attributes:
        job_id: Id of the job.
        token: The token that was refused.
    """

    def __init__(self, job_id: str, token: int) -> None:
        super().__init__(f"the claim {token} on job {job_id} is not the current one any more")
        self.job_id = job_id
        self.token = token


@dataclass(frozen=True, slots=True)
class QueueRules:
    """The numbers of the queue; every process on one queue must use the same.

    Attributes:
        cap: Pending jobs at which `enqueue` refuses.
        ttl_s: Seconds that a job may wait before it is skipped.
        lease_s: Seconds that a claim holds without `renew`.
        max_attempts: Claims that count before a job is failed for good.
        retry_delay_s: Seconds before the second attempt after `fail`; doubles with each more.
        history_length: Records that are kept, newest first.
    """

    cap: int = 10
    ttl_s: int = DEFAULT_TTL_S
    lease_s: float = 300.0
    max_attempts: int = 3
    retry_delay_s: float = 30.0
    history_length: int = 100

    def __post_init__(self) -> None:
        if min(self.cap, self.ttl_s, self.lease_s, self.max_attempts, self.history_length) <= 0:
            raise ValueError("cap, time to live, lease, attempts and length of the history must be above 0")
        if self.retry_delay_s < 0:
            raise ValueError("the delay before a retry cannot be below 0")

    def delay_after_s(self, attempt: int) -> float:
        """Seconds that a job waits after its `attempt`th attempt failed, counted from 1."""
        return float(self.retry_delay_s * 2 ** (attempt - 1))


@dataclass(frozen=True, slots=True)
class Enqueued:
    """The answer to `enqueue`.

    Attributes:
        job: The new job, or the one for the same repo and ref that was there already.
        created: Whether it is new.
        position: 1 for the next to be claimed; 0 if it is running.
        pending: How many jobs wait now, this one included.
    """

    job: Job
    created: bool
    position: int
    pending: int


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on a job until its lease lapses.

    Attributes:
        job: As it is now: running, this attempt counted.
        token: Fencing token: larger than that of every claim before it, of any job. It is the
            generation of all that the claim produces.
        worker_id: Who holds it.
    """

    job: Job
    token: int
    worker_id: str


class Renewal(StrEnum):
    """The answer to `renew`."""

    OK = "ok"
    CANCEL = "cancel"  # somebody cancelled the job: stop, and say so with `cancelled`


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as an onlooker sees it.

    Attributes:
        job: The job.
        position: 1 for the next to be claimed; 0 if it does not wait.
        phase: What its worker does; None if it is not running or has not said yet.
        fraction: Share of the phase that is done, in [0, 1].
        worker_id: Who runs it; empty if nobody does.
        record: How it ended; None before that.
        cancel_requested: It is running and will stop at its next `renew`.
    """

    job: Job
    position: int = 0
    phase: Phase | None = None
    fraction: float = 0.0
    worker_id: str = ""
    record: JobRecord | None = None
    cancel_requested: bool = False


@dataclass(frozen=True, slots=True)
class RunningJob:
    """A claim as an onlooker sees it, by the store's clock.

    Attributes:
        job: The job, running.
        worker_id: Who holds the claim.
        phase: What the worker does; None if it has not said yet.
        fraction: Share of the phase that is done, in [0, 1].
        claimed_at: When the claim began, UTC.
        lease_until: When it lapses unless it is renewed, UTC.
        lapsed: Whether it has lapsed, and the next `claim` will take the job back.
    """

    job: Job
    worker_id: str
    phase: Phase | None
    fraction: float
    claimed_at: datetime
    lease_until: datetime
    lapsed: bool


class JobQueue(Protocol):
    """Jobs that wait, run and have ended, shared by any number of processes.

    Delivery is at least once, effects are once: a claim is a lease with a fencing token. Each call
    is one atomic step. The store's clock judges every lease and age, not the caller's.

    Repeating a call whose answer was lost has one effect and the same answer. For `complete`,
    `fail`, `cancelled` and `release` that holds as long as the job is known and was not claimed
    again; after that the repetition raises `LeaseLostError` and changes nothing. A claim that ended
    in one of these four ways is not the current one for the other three and for `renew`.

    Pending means waiting: queued, also while a retry is delayed. A job that goes back to the queue
    is never refused, so after that more than `cap` may be pending for a while; `enqueue` never adds
    to a queue that holds `cap`.

    Every method raises `JobQueueUnavailableError` when the store does not answer.
    """

    @abstractmethod
    async def enqueue(self, job_id: str, repo: RepoUrl, ref: str = "") -> Enqueued:
        """Add a job at the end of the queue, before the delayed retries.

        In one step: pending jobs past their time to live are recorded as skipped; a job of the same
        repo and ref that is pending or running is returned instead; then the cap is checked.

        Args:
            job_id: Id for the new job (`job_id_at`). If a job with this id is known, this is a
                repetition: that job is returned as it is now, as created.
            repo: What to index.
            ref: Branch, tag or commit; empty for the default branch.

        Raises:
            QueueFullError: `cap` jobs are pending; nothing was added.
            InvalidRepoUrlError: `ref` is none that git would accept.
            ValueError: A job with this id is known, of another repo or ref.
        """
        ...

    @abstractmethod
    async def claim(self, worker_id: str) -> Claim | None:
        """Take the oldest job that may run, or return None if there is none.

        In one step, before it takes one: running jobs whose lease lapsed go back to the front of
        the queue, or are recorded as failed if that was their last attempt, or as cancelled if that
        was asked for; delayed retries that are due go to the end of the queue; jobs past their time
        to live are recorded as skipped, with their age as the reason.

        Where several do the same in one step, the first to lapse or to be due goes first, at the
        same moment by id; skipped jobs are recorded in the order of the queue.

        A repeated claim after a lost answer may take another job: the first lapses and comes back.
        """
        ...

    @abstractmethod
    async def renew(self, claim: Claim, *, phase: Phase, fraction: float) -> Renewal:
        """Hold the claim for another `lease_s` from now, and tell onlookers where it is.

        Raises:
            ValueError: `fraction` is not in [0, 1].
            LeaseLostError: The claim is not the current one. (A lapsed lease that nobody has
                noticed yet may still be renewed, and its job may still be ended.)
        """
        ...

    @abstractmethod
    async def complete(self, claim: Claim, record: JobRecord) -> None:
        """End the job as complete and put `record` at the head of the history.

        Raises:
            ValueError: `record` is of another job or not complete.
            LeaseLostError: The claim is not the current one; nothing was recorded.
        """
        ...

    @abstractmethod
    async def fail(self, claim: Claim, record: JobRecord, *, retry: bool) -> JobState:
        """End the attempt as failed.

        With `retry`, attempts left and nobody having cancelled it, the job is queued again after
        `retry_delay_s`, doubled for each attempt before; nothing is recorded. Otherwise it is failed
        for good and recorded.

        Returns:
            QUEUED if it is tried again, FAILED if not.

        Raises:
            ValueError: `record` is of another job or not failed.
            LeaseLostError: The claim is not the current one; nothing was recorded.
        """
        ...

    @abstractmethod
    async def cancelled(self, claim: Claim, record: JobRecord) -> None:
        """End the job as cancelled, after `renew` answered CANCEL, and record it.

        Raises:
            ValueError: `record` is of another job or not cancelled.
            LeaseLostError: The claim is not the current one; nothing was recorded.
        """
        ...

    @abstractmethod
    async def release(self, claim: Claim) -> None:
        """Give the job back to the front of the queue; the attempt does not count.

        If somebody cancelled it meanwhile, it is recorded as cancelled instead.

        Raises:
            LeaseLostError: The claim is not the current one.
        """
        ...

    @abstractmethod
    async def cancel(self, job_id: str) -> JobView:
        """Cancel a job: at once if it waits, at its worker's next `renew` if it runs.

        A job that has ended stays as it is.

        Returns:
            The job after that.

        Raises:
            JobNotFoundError: It is not known.
        """
        ...

    @abstractmethod
    async def get(self, job_id: str) -> JobView:
        """Return a job. Ended ones are known at least as long as their record is in the history.

        Raises:
            JobNotFoundError: It is not known.
        """
        ...

    @abstractmethod
    async def pending(self) -> Sequence[Job]:
        """Return the jobs that wait, the next to be claimed first, delayed retries last.

        What the next `claim` will put back, or record as skipped, is shown as it is before that.
        """
        ...

    @abstractmethod
    async def running(self) -> Sequence[RunningJob]:
        """Return the jobs that run, the oldest claim first, at the same moment by id.

        A job whose lease lapsed and that no `claim` has noticed yet is shown as it is, marked as
        lapsed. Looking changes nothing.
        """
        ...

    @abstractmethod
    async def history(self, limit: int | None = None) -> Sequence[JobRecord]:
        """Return the latest records, newest first, at most `limit` (1 to `history_length`; None: all).

        Entries that cannot be read are left out; they never hide the others.

        Raises:
            ValueError: `limit` is out of range.
        """
        ...

    @abstractmethod
    async def issue_token(self, *, above: int = 0) -> int:
        """Return a fencing token from the counter of the claims, for a run without a job.

        It is larger than every token before it, whether of a claim or from here, and than `above`:
        a store that lost its data counts from 1 again, below what the catalog knows.
        """
        ...

    @abstractmethod
    async def check(self) -> None:
        """Ask the store for a sign of life, the cheapest there is.

        Raises:
            JobQueueUnavailableError: There is none.
        """
        ...
