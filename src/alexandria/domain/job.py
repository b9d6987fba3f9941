"""A request to index a repository, and the table of the moves that it can make."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from uuid import UUID

from alexandria.domain.errors import DomainError, IllegalTransitionError
from alexandria.domain.repo_url import RepoUrl, checked_ref

DEFAULT_TTL_S = 86_400
MAX_ID_LENGTH = 100
_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class JobState(StrEnum):
    """Where a job stands; the last four are final."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether no event leads out of it."""
        return self not in {JobState.QUEUED, JobState.RUNNING}


class JobEvent(StrEnum):
    """What can happen to a job."""

    CLAIM = "be claimed"
    COMPLETE = "complete"
    FAIL = "fail"
    GIVE_BACK = "be given back"  # released by a worker that stops: the attempt does not count
    REQUEUE = "be queued again"  # its lease lapsed, or it failed and is tried again: the attempt counts
    EXPIRE = "expire"
    CANCEL = "be cancelled"


TRANSITIONS: Mapping[tuple[JobState, JobEvent], JobState] = MappingProxyType(
    {
        (JobState.QUEUED, JobEvent.CLAIM): JobState.RUNNING,
        (JobState.QUEUED, JobEvent.EXPIRE): JobState.SKIPPED,
        (JobState.QUEUED, JobEvent.CANCEL): JobState.CANCELLED,
        (JobState.RUNNING, JobEvent.COMPLETE): JobState.COMPLETE,
        (JobState.RUNNING, JobEvent.FAIL): JobState.FAILED,
        (JobState.RUNNING, JobEvent.GIVE_BACK): JobState.QUEUED,
        (JobState.RUNNING, JobEvent.REQUEUE): JobState.QUEUED,
        (JobState.RUNNING, JobEvent.CANCEL): JobState.CANCELLED,
    }
)
"""Every legal move; the diagram in `docs/architecture.md` is held against it by a test."""


class Phase(StrEnum):
    """What a worker does with a running job, in this order."""

    CLONING = "cloning"
    PARSING = "parsing"
    TRAINING = "training"
    UPLOADING = "uploading"


@dataclass(frozen=True, slots=True)
class Job:
    """A request to index one repository at one ref.

    Attributes:
        id: UUIDv7, so that ids sort by time; 1 to 100 printable ASCII characters at least.
        repo: What to index.
        ref: Branch, tag or commit; empty for the default branch.
        submitted_at: UTC, by the clock of the queue's store.
        ttl_s: Seconds after `submitted_at` at which a job that still waits is stale. Above 0.
        attempt: How many claims of it count; 0 before the first.
        state: Where it stands.
    """

    id: str
    repo: RepoUrl
    submitted_at: datetime
    ref: str = ""
    ttl_s: int = DEFAULT_TTL_S
    attempt: int = 0
    state: JobState = JobState.QUEUED

    def __post_init__(self) -> None:
        checked_ref(self.ref)
        if not (0 < len(self.id) <= MAX_ID_LENGTH and self.id.isascii() and self.id.isprintable()):
            raise DomainError("the id of a job is 1 to 100 printable ASCII characters")
        if self.submitted_at.utcoffset() != timedelta(0):
            raise DomainError("the time of submission must be in UTC")
        if self.ttl_s <= 0 or self.attempt < 0:
            raise DomainError("a job's time to live must be above 0 and its attempt not below")

    def after(self, event: JobEvent) -> Job:
        """Return the job as it is after `event`: state by the table, attempt by what counts.

        Raises:
            IllegalTransitionError: The table has no such move; this job is unchanged.
        """
        state = TRANSITIONS.get((self.state, event))
        if state is None:
            raise IllegalTransitionError(self.state, event)
        attempt = self.attempt + (event is JobEvent.CLAIM) - (event is JobEvent.GIVE_BACK)
        return replace(self, state=state, attempt=max(attempt, 0))

    def age_s(self, now: datetime) -> float:
        """Seconds since it was submitted; below 0 if `now` is earlier."""
        return (now - self.submitted_at).total_seconds()

    def is_stale(self, now: datetime) -> bool:
        """Whether it still waits and is older than its time to live (at exactly that age it is not)."""
        return self.state is JobState.QUEUED and self.age_s(now) > self.ttl_s


@dataclass(frozen=True, slots=True)
class JobRecord:
    """How a job ended: one entry of the history.

    Attributes:
        job_id: Id of the job.
        repo_url: Canonical URL of the repository.
        status: A final state: complete, failed, skipped or cancelled.
        timestamp: When it ended, UTC.
        started_at: When the attempt that ended it started, UTC; None if it ended while it waited.
        duration_seconds: Wall time of that attempt; 0 if it ended while it waited.
        reason: Why it ended so, one line; empty for complete.
        commit: Commit that was indexed; empty if none was reached.
        files_processed: Source files that became nodes.
        files_failed: Of them, those that could not be read whole.
        edges: Edges of the graph.
        imports_unresolved: Imports that should be inside and were not found.
        embeddings_generated: Vectors that were stored.
        final_loss: Loss of the last epoch; None if there was none, or it is not a number.
        edge_auc: As `EmbeddingReport.edge_auc`.
        device: What the training ran on; empty if it was not reached.
        worker_id: Who ran it; empty if it ended while it waited.
        attempt: How many attempts counted when it ended; 0 if it never started.
    """

    job_id: str
    repo_url: str
    status: JobState
    timestamp: datetime
    started_at: datetime | None = None
    duration_seconds: float = 0.0
    reason: str = ""
    commit: str = ""
    files_processed: int = 0
    files_failed: int = 0
    edges: int = 0
    imports_unresolved: int = 0
    embeddings_generated: int = 0
    final_loss: float | None = None
    edge_auc: float | None = None
    device: str = ""
    worker_id: str = ""
    attempt: int = 0

    def __post_init__(self) -> None:
        if not self.status.is_final:
            raise DomainError(f"a job that is {self.status} has no record yet")
        if any(t is not None and t.utcoffset() != timedelta(0) for t in (self.timestamp, self.started_at)):
            raise DomainError("the times of a record must be in UTC")
        numbers = (self.duration_seconds, self.final_loss, self.edge_auc)
        if not all(math.isfinite(n) for n in numbers if n is not None):
            raise DomainError("the numbers of a record must be finite")  # JSON has no other
        if self.duration_seconds < 0:
            raise DomainError("a duration cannot be below 0")

    @classmethod
    def without_a_worker(cls, job: Job, now: datetime, reason: str) -> JobRecord:
        """Return the record of a job that ended while it waited, and did `now`, for `reason`."""
        return cls(job.id, job.repo.url, job.state, now, reason=reason, attempt=job.attempt)


def job_id_at(now: datetime, random: bytes) -> str:
    """Return a UUIDv7 (RFC 9562, section 5.7): 48 bits of milliseconds, then 74 random bits.

    Args:
        now: UTC.
        random: 10 bytes of randomness.

    Raises:
        DomainError: `random` has another length, or `now` is no time in UTC since 1970.
    """
    if len(random) != 10:
        raise DomainError("a UUIDv7 takes 10 random bytes")
    if now.utcoffset() != timedelta(0) or now < _UNIX_EPOCH:
        raise DomainError("a UUIDv7 takes a time in UTC since 1970")
    unix_ms = (now - _UNIX_EPOCH) // timedelta(milliseconds=1)  # exact, where a float would round
    bits = unix_ms << 80 | int.from_bytes(random)  # the year 9999 takes 48 bits
    bits = bits & ~(0xF << 76) | 0x7 << 76  # version 7
    bits = bits & ~(0x3 << 62) | 0x2 << 62  # variant 10
    return str(UUID(int=bits))
