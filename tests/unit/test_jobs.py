"""Submitting jobs and working them off, over memory adapters and a mirror folder."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from alexandria.domain.errors import InvalidRepoUrlError
from alexandria.domain.job import JobState, Phase
from alexandria.entrypoints.worker import work
from alexandria.ports.job_queue import QueueFullError
from support.memory_library import BrokenEmbedder, MemoryWorld, RandomEmbedder, WaitingEmbedder
from support.trees import SHOP, commit_all, write_tree

URL = "https://github.com/test/shop"


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    commit_all(write_tree(tmp_path / "mirror/github.com/test/shop", SHOP))
    return tmp_path / "mirror"


@pytest.fixture
def world(mirror: Path) -> MemoryWorld:
    return MemoryWorld(mirror=str(mirror))


async def test_a_submitted_repository_is_indexed_and_recorded(world: MemoryWorld) -> None:
    submitted = await world.library.submit(URL)
    assert (submitted.created, submitted.position) == (True, 1)
    ended = await world.library.work_off_one("w1")
    assert ended is not None
    assert ended.state is JobState.COMPLETE
    [record] = await world.library.job_history()
    assert record == ended.record
    assert (record.job_id, record.repo_url, record.status) == (submitted.job.id, URL, JobState.COMPLETE)
    assert (record.files_processed, record.embeddings_generated, record.imports_unresolved) == (8, 8, 1)
    assert record.commit
    assert (await world.library.repo("test/shop")).commit == record.commit
    assert str(await world.library.worker_status()) == "Idle"
    assert await world.library.work_off_one("w1") is None


async def test_the_same_repository_twice_is_one_job(world: MemoryWorld) -> None:
    first = await world.library.submit("github.com/test/shop")
    again = await world.library.submit("git@github.com:test/shop.git")
    assert not again.created
    assert again.job == first.job


async def test_a_full_queue_refuses_and_a_bad_address_never_reaches_it(world: MemoryWorld) -> None:
    for number in range(10):
        await world.library.submit(f"github.com/test/r{number}")
    with pytest.raises(QueueFullError):
        await world.library.submit("github.com/test/r10")
    with pytest.raises(InvalidRepoUrlError):
        await world.library.submit("file:///etc")
    assert len(await world.library.pending_jobs()) == 10


async def test_a_failed_job_is_recorded_and_the_next_one_runs(world: MemoryWorld) -> None:
    await world.library.submit("github.com/test/nothere")
    await world.library.submit(URL)
    failed = await world.library.work_off_one("w1")
    assert failed is not None
    assert failed.state is JobState.FAILED
    assert str(await world.library.worker_status()).startswith("Error: ")
    ended = await world.library.work_off_one("w1")
    assert ended is not None
    assert ended.state is JobState.COMPLETE
    assert [record.status for record in await world.library.job_history()] == [JobState.COMPLETE, JobState.FAILED]


async def test_an_error_that_nobody_foresaw_fails_the_job_with_its_kind(mirror: Path) -> None:
    world = MemoryWorld(mirror=str(mirror), embedder=BrokenEmbedder())
    await world.library.submit(URL)
    ended = await world.library.work_off_one("w1")
    assert ended is not None
    assert ended.state is JobState.FAILED
    assert ended.reason == "ZeroDivisionError: two lines"


async def test_a_stopped_worker_gives_its_job_back_and_the_attempt_does_not_count(mirror: Path) -> None:
    world = MemoryWorld(mirror=str(mirror), embedder=(waiting := WaitingEmbedder()))
    submitted = await world.library.submit(URL)
    running = asyncio.create_task(world.library.work_off_one("w1"))
    await waiting.begun.wait()
    assert str(await world.library.worker_status()) == f"Training Graph on {URL}"
    [runs] = await world.library.running_jobs()
    assert (runs.job.id, runs.worker_id, runs.claimed_at, runs.lapsed) == (
        *(submitted.job.id, "w1", world.clock.now()),
        False,
    )
    assert await world.library.pending_jobs() == []
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await world.library.running_jobs() == []
    [job] = await world.library.pending_jobs()
    assert (job.id, job.state, job.attempt) == (submitted.job.id, JobState.QUEUED, 0)
    assert await world.library.job_history() == []


async def test_a_heartbeat_tells_the_phase_and_hears_of_a_cancellation_while_the_cpu_is_busy(mirror: Path) -> None:
    world = MemoryWorld(mirror=str(mirror), embedder=(waiting := WaitingEmbedder()))
    submitted = await world.library.submit(URL)
    running = asyncio.create_task(world.library.work_off_one("w1"))
    await waiting.begun.wait()
    while (view := await world.queue.get(submitted.job.id)).phase is not Phase.TRAINING:
        assert not running.done()
        await asyncio.sleep(0)
    assert view.fraction == 0.5
    await world.queue.cancel(submitted.job.id)
    ended = await running
    assert ended is not None
    assert ended.state is JobState.CANCELLED
    assert await world.library.repos() == []


async def test_a_worker_that_lost_its_lease_stops_and_records_nothing(mirror: Path) -> None:
    world = MemoryWorld(mirror=str(mirror), embedder=(waiting := WaitingEmbedder()))
    submitted = await world.library.submit(URL)
    late = asyncio.create_task(world.library.work_off_one("late"))
    await waiting.begun.wait()
    world.clock.advance(301)
    assert [runs.lapsed for runs in await world.library.running_jobs()] == [True]
    world.embedder = RandomEmbedder()
    quick = await world.queue.claim("quick")
    assert quick is not None
    ended = await late
    assert ended is not None
    assert ended.record is None
    assert "not the current one" in ended.reason
    assert await world.library.job_history() == []
    assert (await world.queue.get(submitted.job.id)).worker_id == "quick"


async def test_the_loop_works_off_all_that_waits_and_leaves_the_board(world: MemoryWorld) -> None:
    await world.library.submit(URL)
    await world.library.submit("github.com/test/nothere")
    assert await work(world.library, "w1", once=True) == 2
    assert str(await world.library.worker_status()) == "Offline"
    assert await world.library.pending_jobs() == []
