"""Workers that are killed by SIGKILL anywhere, over a queue of real repositories: nothing is lost, nothing is twice."""

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from alexandria.adapters.redis.tcp import TcpScriptStore
from alexandria.domain.job import JobState, Phase
from alexandria.domain.worker_status import WorkerStatus
from alexandria.entrypoints.containers import open_for
from alexandria.entrypoints.control_plane import ControlPlane
from alexandria.entrypoints.migrate import migrate
from alexandria.entrypoints.settings import Settings
from alexandria.entrypoints.vector_stores import DATABASE_NAME
from support import postgres
from support.command import environment
from support.trees import SHOP, commit_all, write_tree
from support.valkey import valkey_url
from support.worker_nursery import AFTER, BEFORE, Accident, Nursery, Worker, open_nursery

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL and fork")

DATABASE = "kills"

QUEUE, VECTORS, CATALOG = "QUEUE", "VECTORS", "CATALOG"
EMBEDDED = {
    QUEUE: "alexandria.adapters.sqlite.job_queue:SqliteJobQueue",
    VECTORS: "alexandria.adapters.sqlite.vector_store:SqliteVectorStore",
    CATALOG: "alexandria.adapters.sqlite.catalog:SqliteCatalog",
}
REMOTE = {
    QUEUE: "alexandria.adapters.redis.job_queue:RedisJobQueue",
    VECTORS: "alexandria.adapters.postgres.vector_store:PgVectorStore",
    CATALOG: "alexandria.adapters.postgres.catalog:PostgresCatalog",
}
EMBEDDER = "alexandria.adapters.pyg.embedder:Node2VecEmbedder.embed"

POINTS = [
    (f"{QUEUE}.claim", AFTER),
    (f"{CATALOG}.begin", AFTER),
    (EMBEDDER, BEFORE),
    (EMBEDDER, AFTER),
    (f"{VECTORS}.upload", BEFORE),
    (f"{VECTORS}.upload", AFTER),
    (f"{CATALOG}.activate", BEFORE),
    (f"{CATALOG}.activate", AFTER),
    (f"{VECTORS}.sweep", AFTER),
    (f"{QUEUE}.complete", BEFORE),
    (f"{QUEUE}.complete", AFTER),
]
"""Moments between two steps, where a crash could leave one of them without the other."""


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with open_nursery() as opened:
        yield opened


@dataclass
class Series:
    """A queue of real repositories, and workers over it.

    Attributes:
        folder: Where all of it lies.
        files: How many source files each repository has, by key.
        remote: Variables that name the stores of EDGE; empty for the embedded file.
        open_jobs: Ids of jobs that have not ended yet.
        submitted: How many there were.
    """

    folder: Path
    nursery: Nursery
    repositories: int = 5
    lease_s: float = 1.0
    remote: dict[str, str] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    open_jobs: set[str] = field(default_factory=set)
    submitted: int = 0
    workers: int = 0

    def __post_init__(self) -> None:
        (self.folder / "tmp").mkdir()
        for number in range(self.repositories):
            more = {f"shop/more{i}.py": "from shop import cart\n" for i in range(number)}
            key = f"github.com/test/shop{number}"
            commit_all(write_tree(self.folder / "mirror" / key, SHOP | more))
            self.files[key] = 8 + number

    @property
    def settings(self) -> Settings:
        numbers = {"lease_seconds": self.lease_s, "heartbeat_seconds": 0.3, "max_attempts": 1000}
        remote = {name.lower(): value for name, value in self.remote.items()}
        return Settings.load(data_dir=self.folder / "data", **numbers, **remote)

    def start(self, *, once: bool = False, accident: Accident | None = None, **more: str) -> Worker:
        self.workers += 1
        variables = {
            "TMPDIR": str(self.folder / "tmp"),
            "REPO_MIRROR": str(self.folder / "mirror"),
            "LEASE_SECONDS": str(self.lease_s),
            "HEARTBEAT_SECONDS": "0.3",
            "POLL_INTERVAL_SECONDS": "0.05",
            "MAX_ATTEMPTS": "1000",
            "WORKER_ID": f"w{self.workers}",
            "LOG_FORMAT": "json",
            **self.remote,
            **more,
        }
        log = self.folder / f"w{self.workers}.log"
        if accident is not None:
            owner, dot, method = accident.call.partition(".")
            adapters = REMOTE if self.remote else EMBEDDED
            accident = replace(accident, call=adapters.get(owner, owner) + dot + method)
        return self.nursery.start(environment(self.folder / "data", **variables), log, once=once, accident=accident)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[ControlPlane]:
        async with open_for(self.settings) as stores:
            yield stores

    async def submit_what_is_not_there(self, stores: ControlPlane) -> None:
        for key in self.files:
            answer = await stores.submit(key)
            if answer.created:
                self.open_jobs.add(answer.job.id)
                self.submitted += 1

    async def check(self, stores: ControlPlane) -> None:
        """No job is lost, and what can be searched is whole."""
        for job_id in sorted(self.open_jobs):
            view = await stores.job(job_id)
            assert view.job.state in {JobState.QUEUED, JobState.RUNNING, JobState.COMPLETE}
            if view.record is not None:
                self.open_jobs.remove(job_id)
        for snapshot in await stores.repos():
            assert snapshot.files == self.files[snapshot.repo]
            assert await stores.vectors.count(snapshot.repo, snapshot.generation) == snapshot.files

    async def check_the_end(self, stores: ControlPlane) -> None:
        """Every job has ended once; each repository has one generation with as many points as files; no rest."""
        await self.check(stores)
        assert self.open_jobs == set()
        ended = Counter(record.job_id for record in await stores.job_history())
        assert set(ended.values()) == {1}
        assert len(ended) == min(self.submitted, 100)
        assert (await stores.pending_jobs(), await stores.running_jobs()) == ([], [])
        visible = {(snapshot.repo, snapshot.generation): snapshot.files for snapshot in await stores.repos()}
        assert {repo: files for (repo, _), files in visible.items()} == self.files
        assert await self.points() == visible
        assert self.left_over() == []

    def left_over(self) -> list[str]:
        return [path.name for path in (self.folder / "tmp").iterdir()]

    async def points(self) -> dict[tuple[str, int], int]:
        """Count what lies in the store itself, seen or not."""
        of_each = "SELECT repo, generation, {} GROUP BY repo, generation"
        if self.remote:
            counted = of_each.format("count(*) FROM alexandria.vector_sets JOIN alexandria.vectors ON set_id = id")
            rows = await postgres.fetch(counted, database=DATABASE)
        else:
            with closing(sqlite3.connect(self.folder / "data" / DATABASE_NAME)) as connection:
                counted = of_each.format("sum(num_rows) FROM vector_sets JOIN vector_chunks ON set_id = id")
                rows = connection.execute(counted).fetchall()
        return {(repo, generation): points for repo, generation, points in rows}


async def until(what: Callable[[], Awaitable[bool]], worker: Worker) -> None:
    """Wait for something that a worker brings about; ten minutes are for a machine that is very busy."""
    deadline = time.monotonic() + 600
    while not await what():
        assert time.monotonic() < deadline, worker.log.read_text()
        await asyncio.sleep(0.002)


async def works(worker: Worker, stores: ControlPlane) -> bool:
    return worker.id in {running.worker_id for running in await stores.running_jobs()}


async def kill_at(phase: Phase, worker: Worker, stores: ControlPlane) -> None:
    """Kill the worker from outside when the queue shows it in `phase`, or after its first job if that was too quick."""

    async def reached() -> bool:
        shown = {running.phase for running in await stores.running_jobs() if running.worker_id == worker.id}
        return phase in shown or "job complete" in worker.log.read_text()

    await until(reached, worker)
    worker.kill()


async def run_series(series: Series, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    async with series.opened() as stores:
        for number in range(kills):
            await series.submit_what_is_not_there(stores)
            kind = number % 3
            if kind == 0:
                call, when = POINTS[(number // 3) % len(POINTS)]
                worker = series.start(accident=Accident(call, when))
            elif kind == 1:
                worker = series.start(accident=Accident(f"{QUEUE}.claim", chance.uniform(0.0, 0.5)))
            else:
                worker = series.start()
                await kill_at(chance.choice(list(Phase)), worker, stores)
            assert await asyncio.to_thread(worker.wait) == -signal.SIGKILL, worker.log.read_text()
            await series.check(stores)
        for _ in range(2):  # the second finds what the first could not take: leases that had not lapsed
            await asyncio.sleep(series.lease_s)
            worker = series.start(once=True)
            assert await asyncio.to_thread(worker.wait) == 0, worker.log.read_text()
        await series.check_the_end(stores)


async def test_kill_in_make_test(nursery: Nursery, tmp_path: Path) -> None:
    await run_series(Series(tmp_path, nursery), kills=20, seed=1)


@pytest.mark.long
async def test_kill_two_hundred_times_over_redis_and_postgresql(nursery: Nursery, tmp_path: Path) -> None:
    async with TcpScriptStore(valkey_url()) as direct:
        await direct.command("FLUSHALL")
    remote = {
        "MODE": "EDGE",
        "REDIS_URL": valkey_url(),
        "DATABASE_URL": await postgres.make_database(DATABASE),
        "VECTOR_STORE": "pgvector",
    }
    series = Series(tmp_path, nursery, remote=remote)
    await migrate(series.settings)
    await run_series(series, kills=200, seed=3)
    await postgres.drop_database(DATABASE)


@pytest.mark.long
async def test_kill_two_hundred_times(nursery: Nursery, tmp_path: Path) -> None:
    await run_series(Series(tmp_path, nursery), kills=200, seed=2)


async def test_worker_that_comes_late_is_refused_and_its_vectors_are_removed(nursery: Nursery, tmp_path: Path) -> None:
    series = Series(tmp_path, nursery, repositories=1)
    async with series.opened() as stores:
        await series.submit_what_is_not_there(stores)
        # Asleep as a laptop is, its lid closed between the training and the upload.
        late = series.start(once=True, accident=Accident(f"{VECTORS}.upload", BEFORE, signal.SIGSTOP))

        async def lapsed() -> bool:
            return [running.lapsed for running in await stores.running_jobs()] == [True]

        await until(lapsed, late)
        quick = series.start(once=True)
        assert await asyncio.to_thread(quick.wait) == 0
        [before] = await stores.repos()
        late.kill(signal.SIGCONT)
        assert await asyncio.to_thread(late.wait) == 0
        assert any(event["event"].startswith("job let go: ") for event in late.events())
        assert await stores.repos() == [before]
        [record] = await stores.job_history()
        assert (record.worker_id, record.attempt) == (quick.id, 2)
        await series.check_the_end(stores)


async def test_three_kills_are_a_dead_letter_with_its_reason(nursery: Nursery, tmp_path: Path) -> None:
    series = Series(tmp_path, nursery, repositories=2, lease_s=0.5)
    async with series.opened() as stores:
        poison = await stores.submit("github.com/test/shop0")
        for _ in range(3):
            worker = series.start(accident=Accident(EMBEDDER, BEFORE), MAX_ATTEMPTS="3")
            assert await asyncio.to_thread(worker.wait) == -signal.SIGKILL
            await asyncio.sleep(series.lease_s)
        await stores.submit("github.com/test/shop1")
        last = series.start(once=True, MAX_ATTEMPTS="3")
        assert await asyncio.to_thread(last.wait) == 0
        records = {record.job_id: record for record in await stores.job_history()}
        dead = records.pop(poison.job.id)
        assert (dead.status, dead.attempt) == (JobState.FAILED, 3)
        assert "not heard of" in dead.reason
        assert [record.status for record in records.values()] == [JobState.COMPLETE]
        assert [snapshot.repo for snapshot in await stores.repos()] == ["github.com/test/shop1"]


async def test_several_workers_share_the_work(nursery: Nursery, tmp_path: Path) -> None:
    series = Series(tmp_path, nursery, lease_s=30)
    async with series.opened() as stores:
        await series.submit_what_is_not_there(stores)
        first = series.start(once=True, accident=Accident(f"{QUEUE}.claim", AFTER, signal.SIGSTOP))
        await until(lambda: works(first, stores), first)
        second = series.start(once=True)
        await until(lambda: works(second, stores), second)
        first.kill(signal.SIGCONT)
        workers = [first, second]
        for worker in workers:
            assert await asyncio.to_thread(worker.wait) == 0, worker.log.read_text()
        await series.check_the_end(stores)
        by_worker = Counter(record.worker_id for record in await stores.job_history())
        assert set(by_worker) == {worker.id for worker in workers}
        assert {record.attempt for record in await stores.job_history()} == {1}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_gives_the_job_back_and_leaves_nothing(
    nursery: Nursery, tmp_path: Path, number: signal.Signals
) -> None:
    series = Series(tmp_path, nursery, repositories=1, lease_s=30)
    files = {f"p{i}/m{j}.py": f"from p{i} import m{j + 1}\n" for i in range(40) for j in range(20)}
    commit_all(write_tree(tmp_path / "mirror/github.com/test/large", files))  # some seconds of training
    async with series.opened() as stores:
        job_id = (await stores.submit("github.com/test/large")).job.id
        worker = series.start()

        async def trains() -> bool:
            return (await stores.job(job_id)).phase is Phase.TRAINING

        await until(trains, worker)
        assert str(await stores.worker_status()) == "Training Graph on https://github.com/test/large"
        worker.kill(number)
        assert await asyncio.to_thread(worker.wait) == 0, worker.log.read_text()
        view = await stores.job(job_id)
        assert (view.job.state, view.job.attempt) == (JobState.QUEUED, 0)
        assert (await stores.worker_status(), await stores.job_history()) == (WorkerStatus.offline(), [])
        assert series.left_over() == []
