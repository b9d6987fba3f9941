"""Every queue and status board that the contract suites are held against, and how it is opened."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import pytest

from alexandria.adapters.memory.clock import ManualClock
from alexandria.adapters.memory.job_queue import MemoryJobQueue
from alexandria.adapters.memory.status_board import MemoryStatusBoard
from alexandria.adapters.redis.job_queue import RedisJobQueue
from alexandria.adapters.redis.status_board import RedisStatusBoard
from alexandria.adapters.redis.tcp import TcpScriptStore
from alexandria.adapters.sqlite.database import Database
from alexandria.adapters.sqlite.job_queue import SqliteJobQueue
from alexandria.adapters.sqlite.status_board import SqliteStatusBoard
from alexandria.adapters.upstash.rest import UpstashScriptStore
from alexandria.domain.job import Job, JobRecord, JobState, Phase
from alexandria.domain.repo_url import RepoUrl
from alexandria.domain.worker_status import WorkerStatus
from alexandria.ports.job_queue import Claim, JobQueue, QueueRules
from alexandria.ports.script_store import ScriptStore
from alexandria.ports.status_board import StatusBoard, WorkerReport
from support.upstash_rest import TOKEN, rest_server
from support.valkey import valkey_url

START = datetime(2026, 5, 1, 12, 0, 0, 250_000, tzinfo=UTC)
FLASK = RepoUrl("github.com/pallets/flask")
CLICK = RepoUrl("github.com/pallets/click")


@dataclass
class OpenStore:
    """A queue and a board in one store, whose clock the test moves.

    Attributes:
        queue: The queue, empty at first.
        board: The board, empty at first.
        clock: The store's clock.
        rules: As the queue was opened.
        peer: Open another queue on the same store, as another process would; None: there is one process.
        reopen: Close the store and open it again; the queue and board of this object are new then.
            None: the store ends with its process.
        spoil_history: Make the newest entry of the history unreadable; None: entries are objects.
        cut_off: Make the store stop answering for good; None: it cannot.
    """

    queue: JobQueue
    board: StatusBoard
    clock: ManualClock
    rules: QueueRules
    peer: Callable[[], JobQueue] | None = None
    reopen: Callable[[], Coroutine[Any, Any, None]] | None = None
    spoil_history: Callable[[], Coroutine[Any, Any, None]] | None = None
    cut_off: Callable[[], Coroutine[Any, Any, None]] | None = None


Opener = Callable[[QueueRules], AbstractAsyncContextManager[OpenStore]]


@asynccontextmanager
async def open_memory(rules: QueueRules) -> AsyncIterator[OpenStore]:
    clock = ManualClock(START)
    yield OpenStore(MemoryJobQueue(rules, clock), MemoryStatusBoard(clock), clock, rules)


# Main memory where the system offers it: every step is synced to the disk, and there are thousands.
_RAM = Path("/dev/shm")  # noqa: S108 (a private directory is made in it)
_DIRECTORY = _RAM if _RAM.is_dir() else None


@asynccontextmanager
async def open_sqlite(rules: QueueRules) -> AsyncIterator[OpenStore]:
    with tempfile.TemporaryDirectory(dir=_DIRECTORY) as directory:
        path = Path(directory) / "alexandria.db"
        clock = ManualClock(START)
        databases = [Database.open(path)]

        def peer() -> JobQueue:
            databases.append(Database.open(path))
            return SqliteJobQueue(databases[-1], rules, clock)

        async def reopen() -> None:
            await cut_off()
            store.queue = peer()
            store.board = SqliteStatusBoard(databases[-1], clock)

        async def spoil_history() -> None:
            newest = (
                "UPDATE job_history SET record = '{\"job_id\"' WHERE number = (SELECT max(number) FROM job_history)"
            )
            await databases[-1].write(lambda connection: connection.execute(newest))

        async def cut_off() -> None:
            while databases:
                databases.pop().close()

        store = OpenStore(
            SqliteJobQueue(databases[0], rules, clock),
            SqliteStatusBoard(databases[0], clock),
            clock,
            rules,
            peer=peer,
            reopen=reopen,
            spoil_history=spoil_history,
            cut_off=cut_off,
        )
        try:
            yield store
        finally:
            await cut_off()


class ClosableScriptStore(ScriptStore, Protocol):
    """A way to a server that can be closed."""

    async def close(self) -> None: ...


class TcpScriptStoreAt(TcpScriptStore):
    """The way to a real server whose scripts are told the time by the test."""

    def __init__(self, url: str, clock: ManualClock) -> None:
        super().__init__(url)
        self._clock = clock

    async def now_us(self) -> int:
        return _microseconds(self._clock)


class UpstashScriptStoreAt(UpstashScriptStore):
    """The same over REST."""

    def __init__(self, url: str, clock: ManualClock) -> None:
        super().__init__(url, TOKEN)
        self._clock = clock

    async def now_us(self) -> int:
        return _microseconds(self._clock)


def _microseconds(clock: ManualClock) -> int:
    return (clock.now() - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@asynccontextmanager
async def open_scripts(
    rules: QueueRules,
    new_way: Callable[[ManualClock], ClosableScriptStore],
    way_to_nobody: Callable[[ManualClock], ClosableScriptStore],
) -> AsyncIterator[OpenStore]:
    clock = ManualClock(START)
    numbers = count()
    ways: list[ClosableScriptStore] = []

    def way() -> ClosableScriptStore:
        ways.append(new_way(clock))
        return ways[-1]

    def peer() -> JobQueue:
        return RedisJobQueue(way(), rules, new_id=lambda: f"adopted-{next(numbers)}")

    async def close() -> None:
        while ways:
            await ways.pop().close()

    async def reopen() -> None:
        await close()
        store.queue = peer()
        store.board = RedisStatusBoard(ways[0])  # one way for both, as in the programs

    async def spoil_history() -> None:
        await ways[0].command("LSET", "job_history", 0, '{"job_id"')

    async def cut_off() -> None:
        await close()
        ways.append(way_to_nobody(clock))
        store.queue, store.board = RedisJobQueue(ways[0], rules, new_id=str), RedisStatusBoard(ways[0])

    await way().command("FLUSHALL")
    store = OpenStore(
        peer(),
        RedisStatusBoard(ways[0]),
        clock,
        rules,
        peer=peer,
        reopen=reopen,
        spoil_history=spoil_history,
        cut_off=cut_off,
    )
    try:
        yield store
    finally:
        await close()


@asynccontextmanager
async def open_redis(rules: QueueRules) -> AsyncIterator[OpenStore]:
    def way(clock: ManualClock) -> ClosableScriptStore:
        return TcpScriptStoreAt(valkey_url(), clock)

    async with open_scripts(rules, way, lambda clock: TcpScriptStoreAt("redis://127.0.0.1:1", clock)) as store:
        yield store


@asynccontextmanager
async def open_upstash(rules: QueueRules) -> AsyncIterator[OpenStore]:
    async with rest_server(valkey_url()) as server:

        def way(clock: ManualClock) -> ClosableScriptStore:
            return UpstashScriptStoreAt(server.url, clock)

        async with open_scripts(rules, way, lambda clock: UpstashScriptStoreAt("http://127.0.0.1:1", clock)) as store:
            yield store


STORES: dict[str, Opener] = {
    "memory": open_memory,
    "sqlite": open_sqlite,
    "redis": open_redis,
    "upstash": open_upstash,
}

# For what takes hundreds of stores: "upstash" runs the scripts of "redis" and makes a TLS context for each client, so
# it has its turn in the long form.
PER_STORE = pytest.mark.parametrize(
    "opener",
    [
        pytest.param(opener, id=name, marks=[pytest.mark.long] if name == "upstash" else [])
        for name, opener in STORES.items()
    ],
)


def repo(number: int) -> RepoUrl:
    """Return one of many repositories."""
    return RepoUrl(f"github.com/owner/repository-{number}")


def record_of(claim: Claim, status: JobState, *, reason: str = "", at: datetime = START) -> JobRecord:
    """Return what a worker would write about the end of a claimed job."""
    return JobRecord(
        job_id=claim.job.id,
        repo_url=claim.job.repo.url,
        status=status,
        timestamp=at,
        started_at=at,
        duration_seconds=1.5,
        reason=reason,
        commit="c0ffee",
        files_processed=7,
        files_failed=1,
        edges=9,
        imports_unresolved=2,
        embeddings_generated=7,
        final_loss=0.75,
        edge_auc=0.96,
        device="cpu",
        worker_id=claim.worker_id,
        attempt=claim.job.attempt,
    )


def ids(jobs: object) -> list[str]:
    """Return the ids of a sequence of jobs or of records, in its order."""
    return [one.id if isinstance(one, Job) else one.job_id for one in jobs]  # type: ignore[attr-defined]


SHORT_JOB_TTL_S = 1_000_000
WORKERS = 300


async def short_job(store: OpenStore, number: int) -> None:
    """Let one of 300 workers say what it does, while a new job comes and ends in one of six ways."""
    queue, job_id = store.queue, f"job-{number:06}"
    worker_id = f"worker-{number % WORKERS:03}"
    idle = WorkerReport(worker_id, WorkerStatus.idle())
    await store.board.publish(idle, ttl_s=SHORT_JOB_TTL_S)
    await queue.enqueue(job_id, RepoUrl(f"github.com/owner/name-{number:06}"))
    if number % 6 == 0:
        await queue.cancel(job_id)
        return
    claim = await _claimed(queue, worker_id)
    busy = WorkerReport(worker_id, WorkerStatus.training(claim.job.repo.url), job_id, Phase.TRAINING, 0.5)
    await store.board.publish(busy, ttl_s=SHORT_JOB_TTL_S)
    await queue.renew(claim, phase=Phase.TRAINING, fraction=0.5)
    match number % 6:
        case 1:
            await queue.fail(claim, record_of(claim, JobState.FAILED), retry=False)
        case 2:
            await queue.release(claim)
            claim = await _claimed(queue, worker_id)
        case 3:
            await queue.fail(claim, record_of(claim, JobState.FAILED), retry=True)
            store.clock.advance(store.rules.retry_delay_s)
            claim = await _claimed(queue, worker_id)
        case 4:  # its worker is not heard of any more
            store.clock.advance(store.rules.lease_s)
            claim = await _claimed(queue, worker_id)
    if number % 6 != 1:
        await queue.complete(claim, record_of(claim, JobState.COMPLETE))
    store.clock.advance(1)
    await store.board.publish(idle, ttl_s=SHORT_JOB_TTL_S)


async def _claimed(queue: JobQueue, worker_id: str) -> Claim:
    claim = await queue.claim(worker_id)
    assert claim is not None
    return claim
