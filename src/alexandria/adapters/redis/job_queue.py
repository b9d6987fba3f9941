"""The queue as keys of a Redis server, each step one Lua script.

Keys: the list `ingest_queue` (JSON or, from older programs, bare URLs; the next to be claimed
first), the list `job_history` (JSON, newest first), the hashes `alexandria:jobs` (active) and
`alexandria:ended` (as long as their record is in the history), the counter `alexandria:token`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from alexandria.adapters.redis.scripts import queue_script
from alexandria.domain.errors import DomainError
from alexandria.domain.job import Job, JobEvent, JobRecord, JobState, Phase
from alexandria.domain.repo_url import DEFAULT_HOSTS, RepoUrl, checked_ref
from alexandria.ports.job_endings import check_record, history_limit
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
from alexandria.ports.script_store import Reply, ScriptStore, ScriptStoreError, ScriptStoreUnavailableError

K = TypeVar("K", int, str, list[Reply])

QUEUE_KEY = "ingest_queue"
HISTORY_KEY = "job_history"
JOBS_KEY = "alexandria:jobs"
ENDED_KEY = "alexandria:ended"
TOKEN_KEY = "alexandria:token"  # noqa: S105 (the name of a key)
KEYS = (QUEUE_KEY, HISTORY_KEY, JOBS_KEY, ENDED_KEY, TOKEN_KEY)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)
_ADOPTIONS = 100


class RedisJobQueue(JobQueue):
    """For every program that reaches the server; the server's clock judges.

    Args:
        store: The way to the server.
        rules: The same in every program.
        new_id: Makes the id of a job that another program pushed without one.
        allowed_hosts: For the addresses of such jobs, see `RepoUrl.parse`.
    """

    def __init__(
        self,
        store: ScriptStore,
        rules: QueueRules,
        *,
        new_id: Callable[[], str],
        allowed_hosts: Collection[str] = DEFAULT_HOSTS,
    ) -> None:
        self._store = store
        self._rules = rules
        self._new_id = new_id
        self._allowed_hosts = allowed_hosts
        self._rules_json = json.dumps(
            {
                "cap": rules.cap,
                "ttl_s": rules.ttl_s,
                "lease_us": round(rules.lease_s * 1e6),
                "max_attempts": rules.max_attempts,
                "retry_delay_us": round(rules.retry_delay_s * 1e6),
                "history_length": rules.history_length,
            }
        )

    async def enqueue(self, job_id: str, repo: RepoUrl, ref: str = "") -> Enqueued:
        """See the port."""
        Job(job_id, repo, _EPOCH, ref)  # refuses an id or a ref that is none
        answer = await self._run("enqueue", {"id": job_id, "repo": repo.key, "ref": ref})
        match answer.get("error"):
            case "other":
                raise ValueError(f"job {job_id} is of another repository or ref")
            case "full":
                raise QueueFullError(answer["pending"], self._rules.cap)
        job = _job(answer["job"])
        return Enqueued(job, job.id == job_id, answer["position"], answer["pending"])

    async def claim(self, worker_id: str) -> Claim | None:
        """See the port. An idle poll is one plain command: a script is only run if there are jobs."""
        with _translated():
            jobs = await self._store.command("EXISTS", QUEUE_KEY, JOBS_KEY)
        if not _expect(jobs, int):
            return None
        entry = (await self._run("claim", {"worker_id": worker_id})).get("job")
        return Claim(_job(entry), entry["token"], worker_id) if entry else None

    async def renew(self, claim: Claim, *, phase: Phase, fraction: float) -> Renewal:
        """See the port."""
        if not 0 <= fraction <= 1:
            raise ValueError("a fraction is between 0 and 1")
        answer = await self._run_held("renew", claim, {"phase": phase, "fraction": repr(float(fraction))})
        return Renewal.CANCEL if answer["cancel"] else Renewal.OK

    async def complete(self, claim: Claim, record: JobRecord) -> None:
        """See the port."""
        await self._finish(claim, record, JobEvent.COMPLETE, JobState.COMPLETE)

    async def fail(self, claim: Claim, record: JobRecord, *, retry: bool) -> JobState:
        """See the port."""
        return await self._finish(claim, record, JobEvent.FAIL, JobState.FAILED, retry=retry)

    async def cancelled(self, claim: Claim, record: JobRecord) -> None:
        """See the port."""
        await self._finish(claim, record, JobEvent.CANCEL, JobState.CANCELLED)

    async def release(self, claim: Claim) -> None:
        """See the port."""
        await self._run_held("release", claim, {})

    async def cancel(self, job_id: str) -> JobView:
        """See the port."""
        return await self._view("cancel", job_id)

    async def get(self, job_id: str) -> JobView:
        """See the port."""
        return await self._view("get", job_id)

    async def pending(self) -> Sequence[Job]:
        """See the port."""
        entries = (await self._run("pending", {}))["jobs"]
        return [_job(entry) for entry in entries]  # Lua writes an empty list as {}

    async def running(self) -> Sequence[RunningJob]:
        """See the port. One script that reads the active jobs: those of the list and one of each worker."""
        entries = (await self._run("running", {}))["jobs"]
        return [
            RunningJob(
                _job(entry),
                worker_id=entry["worker_id"],
                phase=_phase(entry),
                fraction=_fraction(entry),
                claimed_at=_moment(entry["started_us"]),
                lease_until=_moment(entry["lease_us"]),
                lapsed=entry["lapsed"],
            )
            for entry in entries  # Lua writes an empty list as {}
        ]

    async def history(self, limit: int | None = None) -> Sequence[JobRecord]:
        """See the port."""
        limit = history_limit(limit, self._rules)
        with _translated():
            entries = await self._store.command("LRANGE", HISTORY_KEY, 0, self._rules.history_length - 1)
        records = [_readable(entry) for entry in _expect(entries, list)]
        return [record for record in records if record is not None][:limit]

    async def issue_token(self, *, above: int = 0) -> int:
        """See the port."""
        if above:
            return _expect((await self._run("token", {"above": above}))["token"], int)
        with _translated():
            token = await self._store.command("INCR", TOKEN_KEY)
        return _expect(token, int)

    async def check(self) -> None:
        """See the port."""
        with _translated():
            answer = await self._store.command("PING")
        if answer != "PONG":
            raise _damaged(answer)

    async def _finish(
        self, claim: Claim, record: JobRecord, event: JobEvent, state: JobState, *, retry: bool = False
    ) -> JobState:
        check_record(claim, record, state)
        call = {"event": event.name, "state": state, "retry": retry}
        return JobState((await self._run_held("finish", claim, call, record_to_json(record)))["state"])

    async def _view(self, name: str, job_id: str) -> JobView:
        # Ids are ASCII; other text may not even be encodable.
        answer = await self._run(name, {"id": job_id}) if job_id.isascii() else None
        if answer is None or "error" in answer:
            raise JobNotFoundError(job_id)
        entry = answer["job"]
        job = _job(entry)
        if job.state is not JobState.RUNNING:
            text = answer.get("record")
            return JobView(job, answer["position"], record=_readable(text) if text else None)
        return JobView(
            job,
            phase=_phase(entry),
            fraction=_fraction(entry),
            worker_id=entry["worker_id"],
            cancel_requested=entry.get("cancel", False),
        )

    async def _run_held(self, name: str, claim: Claim, call: dict[str, object], record: str = "") -> Any:
        answer = await self._run(name, {"id": claim.job.id, "token": claim.token, **call}, record)
        if "error" in answer:
            raise LeaseLostError(claim.job.id, claim.token)
        return answer

    async def _run(self, name: str, call: dict[str, object], record: str = "") -> Any:
        """Run a script, after adopting what other programs pushed, and return what it answers."""
        for _ in range(_ADOPTIONS):
            answer = await self._evaluate(name, call, record)
            if "foreign" not in answer:
                return answer
            for sha1, text in answer["foreign"]:
                await self._adopt(sha1, text)
        raise JobQueueError(f"other programs push to {QUEUE_KEY} faster than their jobs can be read")

    async def _evaluate(self, name: str, call: dict[str, object], record: str) -> Any:
        """Run a script once, or twice if the first answer was lost and the repetition has one effect."""
        try:
            return await self._evaluate_once(name, call, record)
        except JobQueueUnavailableError:
            if name in {"claim", "token"}:  # it might take a second job or number
                raise
            return await self._evaluate_once(name, call, record)

    async def _evaluate_once(self, name: str, call: dict[str, object], record: str) -> Any:
        with _translated():
            now_us = await self._store.now_us()
            time = "" if now_us is None else str(now_us)
            words = (queue_script(name), len(KEYS), *KEYS, time, self._rules_json, json.dumps(call), record)
            answer = await self._store.command("EVAL", *words)
        try:
            return json.loads(_expect(answer, str))
        except ValueError as error:
            raise _damaged(answer) from error

    async def _adopt(self, sha1: str, text: str) -> None:
        """Make a job of a task as older programs push it: a bare URL, or JSON with one in it."""
        call: dict[str, object] = {"sha1": sha1, "id": self._new_id()}
        try:
            address, ref = _task(text)
            repo = RepoUrl.parse(address, allowed_hosts=self._allowed_hosts)
            call |= {"repo": repo.key, "ref": checked_ref(ref)}
        except DomainError as error:
            call["reason"] = f"{error} (in {QUEUE_KEY}: {text:.200})"
        await self._evaluate("adopt", call, "")


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ScriptStoreUnavailableError as error:
        raise JobQueueUnavailableError(str(error)) from error
    except ScriptStoreError as error:
        raise JobQueueError(str(error)) from error


def _task(text: str) -> tuple[str, str]:
    """Return address and ref in an element of the list that this program did not write."""
    if not text.lstrip().startswith("{"):
        return text.strip(), ""
    try:
        task = json.loads(text)
    except (ValueError, RecursionError):
        return "", ""
    return str(task.get("repo_url") or task.get("url") or ""), str(task.get("ref") or "")


def _job(entry: dict[str, Any]) -> Job:
    try:
        return Job(
            id=entry["id"],
            repo=RepoUrl(entry["repo"]),
            submitted_at=_moment(entry["submitted_us"]),
            ref=entry["ref"],
            ttl_s=entry["ttl_s"],
            attempt=entry["attempt"],
            state=JobState(entry["state"]),
        )
    except DomainError as error:  # the scripts let pass what only looks like a repository or a ref
        raise JobQueueError(f"somebody wrote into {JOBS_KEY} what is no job: {error}") from error


def _moment(us: str) -> datetime:
    return _EPOCH + int(us) * _US


def _phase(entry: dict[str, Any]) -> Phase | None:
    return Phase(entry["phase"]) if "phase" in entry else None


def _fraction(entry: dict[str, Any]) -> float:
    return float(entry.get("fraction", 0))


def _readable(entry: object) -> JobRecord | None:
    try:
        return record_from_json(str(entry))
    except ValueError:  # the port: it is left out and never hides the others
        return None


def _expect(reply: Reply, kind: type[K]) -> K:
    if not isinstance(reply, kind):
        raise _damaged(reply)
    return reply


def _damaged(reply: Reply) -> JobQueueUnavailableError:
    """Return the error for an answer that no Redis gives: something on the way spoke in its place."""
    return JobQueueUnavailableError(f"what answers is not the Redis server: {reply!r:.50}")
