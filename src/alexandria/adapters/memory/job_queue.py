"""The queue in the memory of one process."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from alexandria.domain.job import Job, JobEvent, JobRecord, JobState, Phase
from alexandria.domain.repo_url import RepoUrl
from alexandria.ports.clock import Clock
from alexandria.ports.job_endings import (
    after_failure,
    after_lapse,
    cancel_waiting,
    check_record,
    end_lapsed,
    history_limit,
    skip,
)
from alexandria.ports.job_queue import (
    Claim,
    Enqueued,
    JobNotFoundError,
    JobQueue,
    JobView,
    LeaseLostError,
    QueueFullError,
    QueueRules,
    Renewal,
    RunningJob,
)

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class _Entry:
    """A job and what the queue knows of it.

    `token` and `ended_by` outlive their claim: a repeated call is recognised by them.
    """

    job: Job
    token: int = 0
    ended_by: JobEvent | None = None
    worker_id: str = ""
    started_at: datetime = _NEVER
    lease_until: datetime = _NEVER
    due_at: datetime = _NEVER
    phase: Phase | None = None
    fraction: float = 0.0
    cancel_requested: bool = False
    record: JobRecord | None = None


class MemoryJobQueue(JobQueue):
    """For the tasks of one event loop: no method waits, so each is one atomic step.

    The clock it is given is the store's.
    """

    def __init__(self, rules: QueueRules, clock: Clock) -> None:
        self._rules = rules
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._lease = timedelta(seconds=rules.lease_s)
        self._ready: deque[str] = deque()
        self._delayed: list[str] = []
        self._ended: deque[str] = deque()  # newest first
        self._last_token = 0

    async def enqueue(self, job_id: str, repo: RepoUrl, ref: str = "") -> Enqueued:
        """See the port."""
        new = Job(job_id, repo, self._clock.now(), ref, self._rules.ttl_s)
        self._check_is_repetition(new)
        self._skip_stale(new.submitted_at)
        entry = self._entries.get(job_id) or self._active(repo, ref)
        if entry is None:
            pending = len(self._waiting())
            if pending >= self._rules.cap:
                raise QueueFullError(pending, self._rules.cap)
            entry = self._entries[job_id] = _Entry(new)
            self._ready.append(job_id)
        job = entry.job
        return Enqueued(job, job.id == job_id, self._position(job.id), len(self._waiting()))

    async def claim(self, worker_id: str) -> Claim | None:
        """See the port."""
        now = self._clock.now()
        self._take_back_lapsed(now)
        self._wake_due(now)
        self._skip_stale(now)
        if not self._ready:
            return None
        entry = self._entries[self._ready.popleft()]
        job, token = entry.job.after(JobEvent.CLAIM), await self.issue_token()
        self._entries[job.id] = _Entry(job, token, worker_id=worker_id, started_at=now, lease_until=now + self._lease)
        return Claim(job, token, worker_id)

    async def renew(self, claim: Claim, *, phase: Phase, fraction: float) -> Renewal:
        """See the port."""
        if not 0 <= fraction <= 1:
            raise ValueError("a fraction is between 0 and 1")
        entry = self._held(claim)
        entry.lease_until, entry.phase, entry.fraction = self._clock.now() + self._lease, phase, fraction
        return Renewal.CANCEL if entry.cancel_requested else Renewal.OK

    async def complete(self, claim: Claim, record: JobRecord) -> None:
        """See the port."""
        check_record(claim, record, JobState.COMPLETE)
        if not self._ended_by(claim, JobEvent.COMPLETE):
            self._finish(self._held(claim), JobEvent.COMPLETE, record)

    async def fail(self, claim: Claim, record: JobRecord, *, retry: bool) -> JobState:
        """See the port."""
        check_record(claim, record, JobState.FAILED)
        if retry and self._ended_by(claim, JobEvent.REQUEUE):
            return JobState.QUEUED
        if self._ended_by(claim, JobEvent.FAIL):
            return JobState.FAILED
        entry = self._held(claim)
        event = after_failure(entry.job, self._rules, retry=retry, cancel_requested=entry.cancel_requested)
        if event is JobEvent.FAIL:
            self._finish(entry, event, record)
            return JobState.FAILED
        entry.job, entry.ended_by = entry.job.after(event), event
        entry.due_at = self._clock.now() + timedelta(seconds=self._rules.delay_after_s(entry.job.attempt))
        self._delayed.append(entry.job.id)
        return JobState.QUEUED

    async def cancelled(self, claim: Claim, record: JobRecord) -> None:
        """See the port."""
        check_record(claim, record, JobState.CANCELLED)
        if not self._ended_by(claim, JobEvent.CANCEL):
            self._finish(self._held(claim), JobEvent.CANCEL, record)

    async def release(self, claim: Claim) -> None:
        """See the port."""
        if self._ended_by(claim, JobEvent.GIVE_BACK):
            return
        entry = self._held(claim)
        entry.job, entry.ended_by = entry.job.after(JobEvent.GIVE_BACK), JobEvent.GIVE_BACK
        if entry.cancel_requested:
            self._record(entry, *cancel_waiting(entry.job, self._clock.now()))
        else:
            self._ready.appendleft(entry.job.id)

    async def cancel(self, job_id: str) -> JobView:
        """See the port."""
        entry = self._known(job_id)
        if entry.job.state is JobState.RUNNING:
            entry.cancel_requested = True
        elif entry.job.state is JobState.QUEUED:
            self._leave_line(job_id)
            self._record(entry, *cancel_waiting(entry.job, self._clock.now()))
        return self._view(entry)

    async def get(self, job_id: str) -> JobView:
        """See the port."""
        return self._view(self._known(job_id))

    async def pending(self) -> Sequence[Job]:
        """See the port."""
        return [self._entries[job_id].job for job_id in self._waiting()]

    async def running(self) -> Sequence[RunningJob]:
        """See the port."""
        now = self._clock.now()
        running = [entry for entry in self._entries.values() if entry.job.state is JobState.RUNNING]
        running.sort(key=lambda entry: (entry.started_at, entry.job.id))
        return [
            RunningJob(e.job, e.worker_id, e.phase, e.fraction, e.started_at, e.lease_until, e.lease_until <= now)
            for e in running
        ]

    async def history(self, limit: int | None = None) -> Sequence[JobRecord]:
        """See the port."""
        limit = history_limit(limit, self._rules)
        records = (self._entries[job_id].record for job_id in self._ended)
        return [record for record in records if record is not None][:limit]

    async def issue_token(self, *, above: int = 0) -> int:
        """See the port."""
        self._last_token = max(self._last_token, above) + 1
        return self._last_token

    async def check(self) -> None:
        """See the port: memory always answers."""

    def _known(self, job_id: str) -> _Entry:
        try:
            return self._entries[job_id]
        except KeyError:
            raise JobNotFoundError(job_id) from None

    def _held(self, claim: Claim) -> _Entry:
        entry = self._entries.get(claim.job.id)
        if entry is None or entry.token != claim.token or entry.job.state is not JobState.RUNNING:
            raise LeaseLostError(claim.job.id, claim.token)
        return entry

    def _ended_by(self, claim: Claim, event: JobEvent) -> bool:
        entry = self._entries.get(claim.job.id)
        return entry is not None and entry.token == claim.token and entry.ended_by is event

    def _finish(self, entry: _Entry, event: JobEvent, record: JobRecord) -> None:
        entry.ended_by = event
        self._record(entry, entry.job.after(event), record)

    def _record(self, entry: _Entry, job: Job, record: JobRecord) -> None:
        entry.job, entry.record = job, record
        self._ended.appendleft(job.id)
        while len(self._ended) > self._rules.history_length:
            del self._entries[self._ended.pop()]

    def _waiting(self) -> list[str]:
        """Return the ids of the jobs that wait, in the order of `pending`."""
        return [*self._ready, *sorted(self._delayed, key=lambda job_id: (self._entries[job_id].due_at, job_id))]

    def _leave_line(self, job_id: str) -> None:
        (self._ready if job_id in self._ready else self._delayed).remove(job_id)

    def _check_is_repetition(self, new: Job) -> None:
        known = self._entries.get(new.id)
        if known and (known.job.repo, known.job.ref) != (new.repo, new.ref):
            raise ValueError(f"job {new.id} is of another repository or ref")

    def _active(self, repo: RepoUrl, ref: str) -> _Entry | None:
        active = (entry for entry in self._entries.values() if not entry.job.state.is_final)
        return next((entry for entry in active if (entry.job.repo, entry.job.ref) == (repo, ref)), None)

    def _take_back_lapsed(self, now: datetime) -> None:
        running = [entry for entry in self._entries.values() if entry.job.state is JobState.RUNNING]
        lapsed = sorted((e for e in running if e.lease_until <= now), key=lambda e: (e.lease_until, e.job.id))
        back = []
        for entry in lapsed:
            event = after_lapse(entry.job, self._rules, cancel_requested=entry.cancel_requested)
            if event is JobEvent.REQUEUE:
                entry.job = entry.job.after(event)
                back.append(entry.job.id)
            else:
                ending = end_lapsed(
                    entry.job,
                    event,
                    now,
                    started_at=entry.started_at,
                    lapsed_at=entry.lease_until,
                    worker_id=entry.worker_id,
                )
                self._record(entry, *ending)
        self._ready.extendleft(reversed(back))

    def _wake_due(self, now: datetime) -> None:
        due = [job_id for job_id in self._waiting()[len(self._ready) :] if self._entries[job_id].due_at <= now]
        for job_id in due:
            self._delayed.remove(job_id)
            self._ready.append(job_id)

    def _skip_stale(self, now: datetime) -> None:
        for job_id in self._waiting():
            entry = self._entries[job_id]
            if entry.job.is_stale(now):
                self._leave_line(job_id)
                self._record(entry, *skip(entry.job, now))

    def _view(self, entry: _Entry) -> JobView:
        running = entry.job.state is JobState.RUNNING
        return JobView(
            entry.job,
            self._position(entry.job.id),
            entry.phase if running else None,
            entry.fraction if running else 0.0,
            entry.worker_id if running else "",
            entry.record,
            running and entry.cancel_requested,
        )

    def _position(self, job_id: str) -> int:
        waiting = self._waiting()
        return waiting.index(job_id) + 1 if job_id in waiting else 0
