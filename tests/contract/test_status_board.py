"""Contract of the status board: one suite, every adapter a parameter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexandria.domain.job import Phase
from alexandria.domain.worker_status import WorkerStatus
from alexandria.ports.job_queue import QueueRules
from alexandria.ports.status_board import StatusBoardUnavailableError, WorkerReport, word_of
from contract.queues import PER_STORE, START, STORES, Opener, OpenStore

IDLE = WorkerStatus.idle()
OFFLINE = WorkerStatus.offline()
BUSY = WorkerStatus.training("https://github.com/pallets/flask")
BROKEN = WorkerStatus.error("the clone failed")


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest) -> AsyncIterator[OpenStore]:
    async with STORES[request.param](QueueRules()) as opened:
        yield opened


async def test_empty_board_reads_offline_and_names_nobody(store: OpenStore) -> None:
    assert await store.board.status() == OFFLINE
    assert await store.board.workers() == []


@pytest.mark.parametrize("status", [IDLE, BUSY, BROKEN])
async def test_status_is_the_one_that_was_published(store: OpenStore, status: WorkerStatus) -> None:
    await store.board.publish(WorkerReport("w", status), ttl_s=60)
    assert await store.board.status() == status


async def test_report_comes_back_whole_with_the_stores_time(store: OpenStore) -> None:
    report = WorkerReport("w", BUSY, "some-job", Phase.TRAINING, 0.625)
    await store.board.publish(report, ttl_s=60)
    [seen] = await store.board.workers()
    assert seen.report == report
    assert seen.seen_at == START
    assert seen.seen_at.utcoffset() == timedelta(0)


async def test_report_without_a_job_comes_back_without_one(store: OpenStore) -> None:
    await store.board.publish(WorkerReport("w", IDLE), ttl_s=60)
    [seen] = await store.board.workers()
    assert seen.report == WorkerReport("w", IDLE, "", None, 0.0)


async def test_new_report_stands_in_place_of_the_workers_last(store: OpenStore) -> None:
    await store.board.publish(WorkerReport("w", BUSY, "j", Phase.UPLOADING, 0.5), ttl_s=60)
    await store.board.publish(WorkerReport("w", IDLE), ttl_s=60)
    assert [seen.report for seen in await store.board.workers()] == [WorkerReport("w", IDLE)]
    assert await store.board.status() == IDLE


async def test_report_expires_when_its_time_has_passed_and_not_before(store: OpenStore) -> None:
    await store.board.publish(WorkerReport("w", BUSY), ttl_s=60)
    store.clock.advance(59.999)
    assert await store.board.status() == BUSY
    store.clock.advance(0.001)
    assert await store.board.status() == OFFLINE
    assert await store.board.workers() == []


async def test_repeated_report_lasts_from_its_last_publication(store: OpenStore) -> None:
    await store.board.publish(WorkerReport("w", BUSY), ttl_s=60)
    store.clock.advance(50)
    await store.board.publish(WorkerReport("w", BUSY), ttl_s=60)
    store.clock.advance(50)
    assert await store.board.status() == BUSY
    [seen] = await store.board.workers()
    assert seen.seen_at == START + timedelta(seconds=50)


async def test_dead_worker_does_not_hide_the_one_that_lives(store: OpenStore) -> None:
    await store.board.publish(WorkerReport("alive", IDLE), ttl_s=600)
    await store.board.publish(WorkerReport("dead", BUSY), ttl_s=60)
    store.clock.advance(61)
    assert await store.board.status() == IDLE


async def test_offline_report_takes_the_worker_off_the_board(store: OpenStore) -> None:
    await store.board.publish(WorkerReport("w", BUSY), ttl_s=60)
    await store.board.publish(WorkerReport("v", IDLE), ttl_s=60)
    await store.board.publish(WorkerReport("w", OFFLINE), ttl_s=60)
    assert [seen.report.worker_id for seen in await store.board.workers()] == ["v"]
    assert await store.board.status() == IDLE
    await store.board.publish(WorkerReport("v", OFFLINE), ttl_s=60)
    assert await store.board.status() == OFFLINE


async def test_offline_report_of_an_unknown_worker_changes_nothing(store: OpenStore) -> None:
    await store.board.publish(WorkerReport("w", OFFLINE), ttl_s=60)
    await store.board.publish(WorkerReport("w", OFFLINE), ttl_s=60)
    assert await store.board.workers() == []


@pytest.mark.parametrize("status", [BUSY, BROKEN])
async def test_status_that_is_not_idle_comes_before_a_later_idle_one(store: OpenStore, status: WorkerStatus) -> None:
    await store.board.publish(WorkerReport("busy", status), ttl_s=60)
    store.clock.advance(1)
    await store.board.publish(WorkerReport("idle", IDLE), ttl_s=60)
    assert await store.board.status() == status


async def test_of_two_that_are_not_idle_the_later_one_is_read_even_at_one_moment(store: OpenStore) -> None:
    await store.board.publish(WorkerReport("z", BUSY), ttl_s=60)
    await store.board.publish(WorkerReport("a", BROKEN), ttl_s=60)
    assert await store.board.status() == BROKEN
    await store.board.publish(WorkerReport("z", BUSY), ttl_s=60)
    assert await store.board.status() == BUSY


async def test_workers_come_by_id(store: OpenStore) -> None:
    for worker_id in ["b", "a", "c"]:
        await store.board.publish(WorkerReport(worker_id, IDLE), ttl_s=60)
    assert [seen.report.worker_id for seen in await store.board.workers()] == ["a", "b", "c"]


@pytest.mark.parametrize("ttl_s", [0, -1, float("nan")])
async def test_time_that_is_not_above_0_is_refused(store: OpenStore, ttl_s: float) -> None:
    with pytest.raises(ValueError, match="longer than 0"):
        await store.board.publish(WorkerReport("w", IDLE), ttl_s=ttl_s)
    assert await store.board.workers() == []


async def test_board_survives_a_restart_of_the_store(store: OpenStore) -> None:
    if store.reopen is None:
        pytest.skip("this store ends with its process")
    await store.board.publish(WorkerReport("w", BUSY), ttl_s=60)
    await store.reopen()
    assert await store.board.status() == BUSY


async def test_store_that_does_not_answer_is_unavailable(store: OpenStore) -> None:
    if store.cut_off is None:
        pytest.skip("this store always answers")
    await store.cut_off()
    with pytest.raises(StatusBoardUnavailableError):
        await store.board.publish(WorkerReport("w", IDLE), ttl_s=60)
    with pytest.raises(StatusBoardUnavailableError):
        await store.board.status()
    with pytest.raises(StatusBoardUnavailableError):
        await store.board.workers()


def test_report_refuses_what_it_cannot_mean() -> None:
    with pytest.raises(ValueError, match="id"):
        WorkerReport("", IDLE)
    with pytest.raises(ValueError, match="fraction"):
        WorkerReport("w", IDLE, fraction=1.01)


STATUSES = st.one_of(
    st.just(IDLE),
    st.just(OFFLINE),
    st.text().map(WorkerStatus.error),
    st.integers(0, 9).map(lambda n: WorkerStatus.training(f"https://github.com/owner/name-{n}")),
)
PUBLICATIONS = st.tuples(st.sampled_from(["a", "b", "c"]), STATUSES, st.integers(1, 100), st.integers(0, 60))


@PER_STORE
@settings(max_examples=100)
@given(publications=st.lists(PUBLICATIONS, max_size=12))
def test_board_reads_as_a_plain_list_of_publications_does(
    opener: Opener, publications: list[tuple[str, WorkerStatus, int, int]]
) -> None:
    async def scenario() -> None:
        async with opener(QueueRules()) as store:
            said: list[tuple[str, WorkerStatus, int]] = []  # worker, status, moment at which it expires
            now = 0
            for worker, status, ttl_s, pause_s in publications:
                await store.board.publish(WorkerReport(worker, status), ttl_s=ttl_s)
                said = [line for line in said if line[0] != worker] + [(worker, status, now + ttl_s)]
                now += pause_s
                store.clock.advance(pause_s)
                heard = [line for line in said if line[2] > now and line[1] != OFFLINE]
                words = [status for _, status, _ in heard if status != IDLE] or [status for _, status, _ in heard]
                assert await store.board.status() == (words[-1] if words else OFFLINE)
                seen = await store.board.workers()
                if len({one.seen_at for one in seen}) == len(seen):
                    assert word_of(seen) == await store.board.status()
                assert [(s.report.worker_id, s.report.status) for s in await store.board.workers()] == sorted(
                    ((worker, status) for worker, status, _ in heard), key=lambda pair: pair[0]
                )

    asyncio.run(scenario())


@PER_STORE
@settings(max_examples=100)
@given(statuses=st.lists(st.one_of(st.text(), st.characters()).map(WorkerStatus.error) | STATUSES, max_size=8))
def test_property_04_status_that_is_read_is_the_stored_value(opener: Opener, statuses: list[WorkerStatus]) -> None:
    async def scenario() -> None:
        async with opener(QueueRules()) as store:
            for status in statuses:
                await store.board.publish(WorkerReport("w", status), ttl_s=60)
                assert (await store.board.status()).text == status.text
                assert [seen.report.status.text for seen in await store.board.workers()] == [
                    text for text in [status.text] if text != "Offline"
                ]

    asyncio.run(scenario())
