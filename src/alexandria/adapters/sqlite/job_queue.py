"""The queue as tables of the data file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from alexandria.adapters.sqlite.database import Database, PortErrors
from alexandria.adapters.sqlite.moments import from_us, to_us
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
from alexandria.ports.job_json import record_from_json, record_to_json
from alexandria.ports.job_queue import (
    Claim,
    Enqueued,
    JobNotFoundError,
    JobQueue,
    JobQueueError,
    JobQueueUnavailableError,
    JobView,
    LeaseLostError,
    QueueFullError,
    QueueRules,
    Renewal,
    RunningJob,
)

T = TypeVar("T")

_ERRORS = PortErrors(JobQueueUnavailableError, full=JobQueueUnavailableError, mismatch=JobQueueError)
_WAITING = "SELECT * FROM jobs WHERE state = 'queued' ORDER BY place IS NULL, place, due_us, id"
_RUNNING = "SELECT * FROM jobs WHERE state = 'running' ORDER BY started_us, id"
_STALE = (
    "SELECT * FROM jobs WHERE state = 'queued' AND submitted_us + ttl_s * 1000000 < ?"
    " ORDER BY place IS NULL, place, due_us, id"
)


class SqliteJobQueue(JobQueue):
    """For every process that has the file open: each step is one transaction under SQLite's write lock.

    The clock that it is given is the store's; it is read when the lock is held.
    """

    def __init__(self, database: Database, rules: QueueRules, clock: Clock) -> None:
        self._database = database
        self._rules = rules
        self._clock = clock

    async def enqueue(self, job_id: str, repo: RepoUrl, ref: str = "") -> Enqueued:
        """See the port."""
        answer = await self._step(lambda tables: tables.enqueue(job_id, repo, ref))
        if isinstance(answer, int):  # raised here, so that the jobs that were skipped stay so
            raise QueueFullError(answer, self._rules.cap)
        return answer

    async def claim(self, worker_id: str) -> Claim | None:
        """See the port."""
        return await self._step(lambda tables: tables.claim(worker_id))

    async def renew(self, claim: Claim, *, phase: Phase, fraction: float) -> Renewal:
        """See the port."""
        if not 0 <= fraction <= 1:
            raise ValueError("a fraction is between 0 and 1")
        return await self._step(lambda tables: tables.renew(claim, phase, fraction))

    async def complete(self, claim: Claim, record: JobRecord) -> None:
        """See the port."""
        check_record(claim, record, JobState.COMPLETE)
        await self._step(lambda tables: tables.finish(claim, JobEvent.COMPLETE, record))

    async def fail(self, claim: Claim, record: JobRecord, *, retry: bool) -> JobState:
        """See the port."""
        check_record(claim, record, JobState.FAILED)
        return await self._step(lambda tables: tables.fail(claim, record, retry))

    async def cancelled(self, claim: Claim, record: JobRecord) -> None:
        """See the port."""
        check_record(claim, record, JobState.CANCELLED)
        await self._step(lambda tables: tables.finish(claim, JobEvent.CANCEL, record))

    async def release(self, claim: Claim) -> None:
        """See the port."""
        await self._step(lambda tables: tables.release(claim))

    async def cancel(self, job_id: str) -> JobView:
        """See the port."""
        return await self._step(lambda tables: tables.cancel(job_id))

    async def get(self, job_id: str) -> JobView:
        """See the port."""
        return await self._look(lambda tables: tables.view(job_id))

    async def pending(self) -> Sequence[Job]:
        """See the port."""
        return await self._look(lambda tables: [_job(row) for row in tables.rows(_WAITING)])

    async def running(self) -> Sequence[RunningJob]:
        """See the port."""
        return await self._look(_Tables.running)

    async def history(self, limit: int | None = None) -> Sequence[JobRecord]:
        """See the port."""
        limit = history_limit(limit, self._rules)
        return (await self._look(_Tables.history))[:limit]

    async def issue_token(self, *, above: int = 0) -> int:
        """See the port."""
        return await self._step(lambda tables: tables.next_token(above))

    async def check(self) -> None:
        """See the port."""
        await self._look(lambda tables: tables.rows("SELECT token FROM last_token"))

    async def _step(self, work: Callable[[_Tables], T]) -> T:
        with _ERRORS.translated():
            return await self._database.write(lambda c: work(_Tables(c, self._rules, self._clock.now())))

    async def _look(self, work: Callable[[_Tables], T]) -> T:
        with _ERRORS.translated():
            return await self._database.read(lambda c: work(_Tables(c, self._rules, self._clock.now())))


class _Tables:
    """The tables inside one transaction, at one moment."""

    def __init__(self, connection: sqlite3.Connection, rules: QueueRules, now: datetime) -> None:
        self._cursor = connection.cursor()
        self._cursor.row_factory = sqlite3.Row
        self._rules = rules
        self._now = now

    def rows(self, statement: str, *values: object) -> list[sqlite3.Row]:
        """Return the rows of `statement`."""
        return self._cursor.execute(statement, values).fetchall()

    def enqueue(self, job_id: str, repo: RepoUrl, ref: str) -> Enqueued | int:
        """Return the answer, or how many are pending if those are too many."""
        new = Job(job_id, repo, self._now, ref, self._rules.ttl_s)
        known = self._row(job_id)
        if known and (known["repo"], known["ref"]) != (repo.key, ref):
            raise ValueError(f"job {job_id} is of another repository or ref")
        self._skip_stale()
        row = self._row(job_id) or self._active(repo, ref)
        if row is None:
            pending = self._count_waiting()
            if pending >= self._rules.cap:
                return pending
            self.rows(
                "INSERT INTO jobs (id, repo, ref, submitted_us, ttl_s, place) VALUES (?, ?, ?, ?, ?, ?)",
                *(new.id, repo.key, ref, to_us(new.submitted_at), new.ttl_s, self._last_place() + 1),
            )
        job = _job(row) if row else new
        return Enqueued(job, job.id == job_id, self._position(job.id), self._count_waiting())

    def claim(self, worker_id: str) -> Claim | None:
        """See the port."""
        self._take_back_lapsed()
        self._wake_due()
        self._skip_stale()
        for row in self.rows("SELECT * FROM jobs WHERE state = 'queued' AND place IS NOT NULL ORDER BY place LIMIT 1"):
            job, token = _job(row).after(JobEvent.CLAIM), self.next_token()
            self._move(job)
            self.rows(
                "UPDATE jobs SET token = ?, ended_by = NULL, worker_id = ?, started_us = ?, lease_until_us = ?,"
                " phase = NULL, fraction = 0, cancel_requested = 0 WHERE id = ?",
                *(token, worker_id, to_us(self._now), self._lease_end(), job.id),
            )
            return Claim(job, token, worker_id)
        return None

    def renew(self, claim: Claim, phase: Phase, fraction: float) -> Renewal:
        """See the port."""
        row = self._held(claim)
        self.rows(
            "UPDATE jobs SET lease_until_us = ?, phase = ?, fraction = ? WHERE id = ?",
            *(self._lease_end(), phase, fraction, row["id"]),
        )
        return Renewal.CANCEL if row["cancel_requested"] else Renewal.OK

    def finish(self, claim: Claim, event: JobEvent, record: JobRecord) -> None:
        """End the job by `event` of its worker, unless this is a repetition."""
        if not self._ended_by(claim, event):
            job = _job(self._held(claim)).after(event)
            self._end_claim(claim, event)
            self._end(job, record)

    def fail(self, claim: Claim, record: JobRecord, retry: bool) -> JobState:
        """See the port."""
        if retry and self._ended_by(claim, JobEvent.REQUEUE):
            return JobState.QUEUED
        if self._ended_by(claim, JobEvent.FAIL):
            return JobState.FAILED
        row = self._held(claim)
        job = _job(row)
        event = after_failure(job, self._rules, retry=retry, cancel_requested=bool(row["cancel_requested"]))
        if event is JobEvent.FAIL:
            self.finish(claim, event, record)
            return JobState.FAILED
        self._end_claim(claim, event)
        due_at = self._now + timedelta(seconds=self._rules.delay_after_s(job.attempt))
        self._move(job.after(event), due_us=to_us(due_at))
        return JobState.QUEUED

    def release(self, claim: Claim) -> None:
        """See the port."""
        if self._ended_by(claim, JobEvent.GIVE_BACK):
            return
        row = self._held(claim)
        job = _job(row).after(JobEvent.GIVE_BACK)
        self._end_claim(claim, JobEvent.GIVE_BACK)
        if row["cancel_requested"]:
            self._end(*cancel_waiting(job, self._now))
        else:
            self._move(job, place=self._first_place() - 1)

    def cancel(self, job_id: str) -> JobView:
        """See the port."""
        row = self._known(job_id)
        if row["state"] == JobState.RUNNING:
            self.rows("UPDATE jobs SET cancel_requested = 1 WHERE id = ?", job_id)
        elif row["state"] == JobState.QUEUED:
            self._end(*cancel_waiting(_job(row), self._now))
        return self.view(job_id)

    def view(self, job_id: str) -> JobView:
        """See `get` of the port."""
        row = self._known(job_id)
        records = [_readable(r) for r in self.rows("SELECT record FROM job_history WHERE job_id = ?", job_id)]
        if row["state"] != JobState.RUNNING:
            return JobView(_job(row), self._position(job_id), record=records[0] if records else None)
        return JobView(
            _job(row),
            phase=_phase(row),
            fraction=row["fraction"],
            worker_id=row["worker_id"],
            cancel_requested=bool(row["cancel_requested"]),
        )

    def running(self) -> list[RunningJob]:
        """See the port."""
        return [
            RunningJob(
                _job(row),
                worker_id=row["worker_id"],
                phase=_phase(row),
                fraction=row["fraction"],
                claimed_at=from_us(row["started_us"]),
                lease_until=from_us(row["lease_until_us"]),
                lapsed=row["lease_until_us"] <= to_us(self._now),
            )
            for row in self.rows(_RUNNING)
        ]

    def history(self) -> list[JobRecord]:
        """Return every record that can be read, newest first."""
        records = [_readable(row) for row in self.rows("SELECT record FROM job_history ORDER BY number DESC")]
        return [record for record in records if record is not None]

    def next_token(self, above: int = 0) -> int:
        """Return a token larger than any before and than `above`."""
        self.rows("UPDATE last_token SET token = max(token, ?) + 1", above)
        return int(self.rows("SELECT token FROM last_token")[0]["token"])

    def _row(self, job_id: str) -> sqlite3.Row | None:
        # Ids are ASCII; other text may not even be encodable.
        rows = self.rows("SELECT * FROM jobs WHERE id = ?", job_id) if job_id.isascii() else []
        return rows[0] if rows else None

    def _known(self, job_id: str) -> sqlite3.Row:
        row = self._row(job_id)
        if row is None:
            raise JobNotFoundError(job_id)
        return row

    def _active(self, repo: RepoUrl, ref: str) -> sqlite3.Row | None:
        statement = "SELECT * FROM jobs WHERE repo = ? AND ref = ? AND state IN ('queued', 'running')"
        rows = self.rows(statement, repo.key, ref)
        return rows[0] if rows else None

    def _held(self, claim: Claim) -> sqlite3.Row:
        row = self._row(claim.job.id)
        if row is None or row["state"] != JobState.RUNNING or row["token"] != claim.token:
            raise LeaseLostError(claim.job.id, claim.token)
        return row

    def _ended_by(self, claim: Claim, event: JobEvent) -> bool:
        row = self._row(claim.job.id)
        return row is not None and row["token"] == claim.token and row["ended_by"] == event.name

    def _end_claim(self, claim: Claim, event: JobEvent) -> None:
        self.rows("UPDATE jobs SET ended_by = ? WHERE id = ?", event.name, claim.job.id)

    def _move(self, job: Job, *, place: int | None = None, due_us: int | None = None) -> None:
        """Write what a move of the transition table changed, and where the job waits now."""
        self.rows(
            "UPDATE jobs SET state = ?, attempt = ?, place = ?, due_us = ? WHERE id = ?",
            *(job.state, job.attempt, place, due_us, job.id),
        )

    def _end(self, job: Job, record: JobRecord) -> None:
        """Write the end of a job, and forget those that ended too long ago."""
        self._move(job)
        self.rows("INSERT INTO job_history (job_id, record) VALUES (?, ?)", job.id, record_to_json(record))
        self.rows(
            "DELETE FROM job_history WHERE number <= (SELECT max(number) FROM job_history) - ?",
            self._rules.history_length,
        )
        self.rows(
            "DELETE FROM jobs WHERE state NOT IN ('queued', 'running') AND id NOT IN (SELECT job_id FROM job_history)"
        )

    def _take_back_lapsed(self) -> None:
        lapsed = "SELECT * FROM jobs WHERE state = 'running' AND lease_until_us <= ? ORDER BY lease_until_us, id"
        back = []
        for row in self.rows(lapsed, to_us(self._now)):
            job = _job(row)
            event = after_lapse(job, self._rules, cancel_requested=bool(row["cancel_requested"]))
            if event is JobEvent.REQUEUE:
                back.append(job.after(event))
            else:
                times = {"started_at": from_us(row["started_us"]), "lapsed_at": from_us(row["lease_until_us"])}
                self._end(*end_lapsed(job, event, self._now, **times, worker_id=row["worker_id"]))
        for job in reversed(back):  # so that the first to lapse comes to stand in front of the others
            self._move(job, place=self._first_place() - 1)

    def _wake_due(self) -> None:
        due = "SELECT * FROM jobs WHERE state = 'queued' AND due_us <= ? ORDER BY due_us, id"
        for row in self.rows(due, to_us(self._now)):
            self._move(_job(row), place=self._last_place() + 1)

    def _skip_stale(self) -> None:
        for row in self.rows(_STALE, to_us(self._now)):
            self._end(*skip(_job(row), self._now))

    def _count_waiting(self) -> int:
        return int(self.rows("SELECT count(*) AS jobs FROM jobs WHERE state = 'queued'")[0]["jobs"])

    def _first_place(self) -> int:
        return int(self.rows("SELECT coalesce(min(place), 0) AS place FROM jobs")[0]["place"])

    def _last_place(self) -> int:
        return int(self.rows("SELECT coalesce(max(place), 0) AS place FROM jobs")[0]["place"])

    def _position(self, job_id: str) -> int:
        ids = [row["id"] for row in self.rows(_WAITING)]
        return ids.index(job_id) + 1 if job_id in ids else 0

    def _lease_end(self) -> int:
        return to_us(self._now + timedelta(seconds=self._rules.lease_s))


def _job(row: sqlite3.Row) -> Job:
    return Job(
        id=row["id"],
        repo=RepoUrl(row["repo"]),
        submitted_at=from_us(row["submitted_us"]),
        ref=row["ref"],
        ttl_s=row["ttl_s"],
        attempt=row["attempt"],
        state=JobState(row["state"]),
    )


def _phase(row: sqlite3.Row) -> Phase | None:
    return Phase(row["phase"]) if row["phase"] else None


def _readable(row: sqlite3.Row) -> JobRecord | None:
    try:
        return record_from_json(row["record"])
    except ValueError:  # the port: it is left out and never hides the others
        return None
