"""How a queue ends a job that no worker ends, in the same words from every adapter."""

from __future__ import annotations

from datetime import datetime

from alexandria.domain.job import Job, JobEvent, JobRecord, JobState
from alexandria.ports.job_queue import Claim, QueueRules


def skip(job: Job, now: datetime) -> tuple[Job, JobRecord]:
    """End a job that waited for longer than its time to live."""
    job = job.after(JobEvent.EXPIRE)
    reason = f"waited for {job.age_s(now):.0f} s, longer than its time to live of {job.ttl_s} s"
    return job, JobRecord.without_a_worker(job, now, reason)


def cancel_waiting(job: Job, now: datetime) -> tuple[Job, JobRecord]:
    """End a job that was cancelled and waits."""
    job = job.after(JobEvent.CANCEL)
    return job, JobRecord.without_a_worker(job, now, "cancelled while it waited")


def end_lapsed(
    job: Job, event: JobEvent, now: datetime, *, started_at: datetime, lapsed_at: datetime, worker_id: str
) -> tuple[Job, JobRecord]:
    """End a running job whose lease lapsed, by `FAIL` or `CANCEL`.

    Args:
        job: As it runs.
        event: `after_lapse`.
        now: When it was noticed.
        started_at: When it was claimed.
        lapsed_at: When its lease ended: the last moment at which it may have been worked on.
        worker_id: Who held the claim.
    """
    job = job.after(event)
    why = "cancelled; " if event is JobEvent.CANCEL else ""
    record = JobRecord(
        job.id,
        job.repo.url,
        job.state,
        now,
        started_at,
        max((lapsed_at - started_at).total_seconds(), 0.0),
        f"{why}its worker was not heard of any more in attempt {job.attempt}",
        worker_id=worker_id,
        attempt=job.attempt,
    )
    return job, record


def after_lapse(job: Job, rules: QueueRules, *, cancel_requested: bool) -> JobEvent:
    """Return what happens to a running job whose lease lapsed."""
    if cancel_requested:
        return JobEvent.CANCEL
    return JobEvent.FAIL if job.attempt >= rules.max_attempts else JobEvent.REQUEUE


def after_failure(job: Job, rules: QueueRules, *, retry: bool, cancel_requested: bool) -> JobEvent:
    """Return what happens to a running job whose worker failed."""
    again = retry and not cancel_requested and job.attempt < rules.max_attempts
    return JobEvent.REQUEUE if again else JobEvent.FAIL


def check_record(claim: Claim, record: JobRecord, status: JobState) -> None:
    """Refuse a record that does not say how the claimed job ended.

    Raises:
        ValueError: It is of another job or of another state than `status`.
    """
    if record.job_id != claim.job.id:
        raise ValueError(f"the record is of job {record.job_id}, not of {claim.job.id}")
    if record.status is not status:
        raise ValueError(f"the record says {record.status}, not {status}")


def history_limit(limit: int | None, rules: QueueRules) -> int:
    """Return how many records are asked for.

    Raises:
        ValueError: It is not from 1 to `history_length`.
    """
    if limit is None:
        return rules.history_length
    if not 1 <= limit <= rules.history_length:
        raise ValueError(f"a history of 1 to {rules.history_length} records can be asked for, not {limit}")
    return limit
