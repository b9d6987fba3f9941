"""Real processes on one queue in one file."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, cast

import pytest

from alexandria.adapters.memory.clock import ManualClock
from alexandria.adapters.sqlite.database import Database
from alexandria.adapters.sqlite.job_queue import SqliteJobQueue
from alexandria.adapters.sqlite.status_board import SqliteStatusBoard
from alexandria.domain.job import JobState, Phase
from alexandria.domain.repo_url import RepoUrl
from alexandria.domain.worker_status import WorkerStatus
from alexandria.ports.job_queue import JobQueueUnavailableError, LeaseLostError, QueueRules
from alexandria.ports.status_board import StatusBoardUnavailableError, WorkerReport
from contract.queues import WORKERS, OpenStore, record_of, short_job

RULES = QueueRules()
LARGE = QueueRules(cap=1000)

HEAD = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from alexandria.adapters.sqlite.database import Database
from alexandria.adapters.sqlite.job_queue import SqliteJobQueue
from alexandria.adapters.system.clock import SystemClock
from alexandria.domain.job import JobRecord, JobState, Phase
from alexandria.domain.repo_url import RepoUrl
from alexandria.ports.job_queue import QueueFullError, QueueRules
path, name, cap = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
"""
SUBMIT = """
async def main(queue):
    for number in range(12):
        try:
            await queue.enqueue(f"{name}-{number}", RepoUrl(f"github.com/{name}/repository-{number}"))
            print("accepted", flush=True)
        except QueueFullError:
            print("refused", flush=True)
"""
WORK = """
async def main(queue):
    while claim := await queue.claim(name):
        print(claim.job.id, claim.token, flush=True)
        await queue.renew(claim, phase=Phase.TRAINING, fraction=0.5)
        record = JobRecord(claim.job.id, claim.job.repo.url, JobState.COMPLETE, datetime.now(UTC), worker_id=name)
        await queue.complete(claim, record)
"""
HANG = """
async def main(queue):
    claim = await queue.claim(name)
    print(claim.job.id, claim.token, flush=True)
    sys.stdin.read()
"""
ROUNDS = """
async def main(queue):
    for line in sys.stdin:
        ids = [f"{name}-{line.strip()}-{number}" for number in range(25)]
        calls = [queue.enqueue(id_, RepoUrl(f"github.com/owner/{id_}")) for id_ in ids]
        one = [queue.enqueue(f"{id_}-of-one", RepoUrl("github.com/pallets/flask")) for id_ in ids]
        answers = await asyncio.gather(*one, *calls, return_exceptions=True)
        accepted = [answer for answer in answers if not isinstance(answer, QueueFullError)]
        print(*(answer.job.id for answer in accepted if answer.created), flush=True)
"""
TAIL = """
with Database.open(path) as database:
    asyncio.run(main(SqliteJobQueue(database, QueueRules(cap=cap), SystemClock())))
"""


@contextmanager
def processes(body: str, path: Path, count: int, cap: int) -> Iterator[list[subprocess.Popen[str]]]:
    started = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", HEAD + body + TAIL, str(path), f"process{number}", str(cap)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def lines_of(process: subprocess.Popen[str]) -> list[str]:
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return output.splitlines()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "alexandria.db"


def test_processes_that_submit_at_once_never_pass_the_cap(path: Path) -> None:
    # The file does not exist: they also race to make it.
    with processes(SUBMIT, path, 3, RULES.cap) as submitters:
        answers = Counter(line for process in submitters for line in lines_of(process))
    assert answers == {"accepted": RULES.cap, "refused": 36 - RULES.cap}
    with Database.open(path) as database:
        pending = asyncio.run(SqliteJobQueue(database, RULES, ManualClock(datetime.now(UTC))).pending())
    assert len(pending) == RULES.cap


@pytest.mark.parametrize("rounds", [3, pytest.param(1000, marks=pytest.mark.long)])
def test_two_processes_with_fifty_submitters_never_pass_the_cap_and_one_address_is_one_job(
    path: Path, rounds: int
) -> None:
    with Database.open(path) as database, processes(ROUNDS, path, 2, RULES.cap) as submitters:
        queue = SqliteJobQueue(database, RULES, ManualClock(datetime.now(UTC)))

        async def cancel_all() -> list[str]:
            pending = [job.id for job in await queue.pending()]
            for job_id in pending:
                await queue.cancel(job_id)
            return pending

        for number in range(rounds):
            for process in submitters:
                assert process.stdin is not None
                process.stdin.write(f"{number}\n")
                process.stdin.flush()
            created = [id_ for process in submitters for id_ in cast(IO[str], process.stdout).readline().split()]
            assert sorted(created) == sorted(asyncio.run(cancel_all()))
            assert len(created) == RULES.cap
            assert sum(id_.endswith("of-one") for id_ in created) == 1


def test_processes_that_work_at_once_share_the_jobs_and_each_ends_once(path: Path) -> None:
    jobs = [f"job-{number}" for number in range(24)]
    with Database.open(path) as database:
        queue = SqliteJobQueue(database, LARGE, ManualClock(datetime.now(UTC)))

        async def submit() -> None:
            for number, job_id in enumerate(jobs):
                await queue.enqueue(job_id, RepoUrl(f"github.com/owner/repository-{number}"))

        asyncio.run(submit())
        with processes(WORK, path, 3, LARGE.cap) as workers:
            claims = [line.split() for process in workers for line in lines_of(process)]
        history = asyncio.run(queue.history())
    assert sorted(job_id for job_id, _ in claims) == sorted(jobs)
    assert len({token for _, token in claims}) == len(jobs)
    assert sorted(record.job_id for record in history) == sorted(jobs)
    assert {record.status for record in history} == {JobState.COMPLETE}


def test_job_of_a_killed_process_comes_back_with_a_larger_token(path: Path) -> None:
    clock = ManualClock(datetime.now(UTC))
    with Database.open(path) as database:
        queue = SqliteJobQueue(database, RULES, clock)
        asyncio.run(queue.enqueue("a", RepoUrl("github.com/pallets/flask")))
        with processes(HANG, path, 1, RULES.cap) as [worker]:
            assert worker.stdout is not None
            job_id, token = worker.stdout.readline().split()
            worker.kill()
            worker.wait()
        view = asyncio.run(queue.get("a"))
        assert (job_id, view.job.state, view.worker_id) == ("a", JobState.RUNNING, "process0")
        # The worker read the machine's clock: its lease has lapsed an hour later, whatever both showed.
        clock.advance(timedelta(hours=1).total_seconds())
        claim = asyncio.run(queue.claim("w"))
        assert claim is not None
        assert (claim.job.id, claim.job.attempt) == ("a", 2)
        assert claim.token > int(token)
        with pytest.raises(LeaseLostError):
            asyncio.run(queue.release(type(claim)(claim.job, int(token), "process0")))


async def test_file_does_not_grow_with_the_jobs(tmp_path: Path) -> None:
    path, clock = tmp_path / "alexandria.db", ManualClock(datetime.now(UTC))
    with Database.open(path) as database:
        store = OpenStore(SqliteJobQueue(database, RULES, clock), SqliteStatusBoard(database, clock), clock, RULES)

        async def pages() -> int:
            return await database.read(lambda c: int(c.execute("PRAGMA page_count").fetchone()[0]))

        for round_ in range(4):  # each with the same hundred workers
            for number in range(100):
                await short_job(store, round_ * WORKERS + number)
            if round_ == 1:  # the tree has taken its form
                before = await pages()
        assert await pages() <= before * 1.05


async def test_calls_that_write_while_another_process_holds_the_file_end_with_their_error(path: Path) -> None:
    with Database.open(path, busy_timeout_s=0.05) as database:
        clock = ManualClock(datetime.now(UTC))
        queue, board = SqliteJobQueue(database, RULES, clock), SqliteStatusBoard(database, clock)
        await queue.enqueue("a", RepoUrl("github.com/pallets/flask"))
        claim = await queue.claim("w")
        assert claim is not None
        report = WorkerReport("w", WorkerStatus.idle())
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for call in (
                lambda: queue.enqueue("b", RepoUrl("github.com/pallets/click")),
                lambda: queue.claim("w"),
                lambda: queue.renew(claim, phase=Phase.CLONING, fraction=0),
                lambda: queue.complete(claim, record_of(claim, JobState.COMPLETE)),
                lambda: queue.fail(claim, record_of(claim, JobState.FAILED), retry=True),
                lambda: queue.cancelled(claim, record_of(claim, JobState.CANCELLED)),
                lambda: queue.release(claim),
                lambda: queue.cancel("a"),
                queue.issue_token,
            ):
                with pytest.raises(JobQueueUnavailableError, match="another process"):
                    await call()
            with pytest.raises(StatusBoardUnavailableError, match="another process"):
                await board.publish(report, ttl_s=60)
            # Who only looks waits for nobody.
            assert [one.job.id for one in await queue.running()] == ["a"]
            assert [await queue.pending(), await queue.history(), await board.workers()] == [[], [], []]
        await queue.complete(claim, record_of(claim, JobState.COMPLETE))
        await board.publish(report, ttl_s=60)
        assert len(await queue.history()) == len(await board.workers()) == 1
