"""The worker's loop over memory adapters: what it says, how long it waits, how it ends; seconds pass at once."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexandria.adapters.memory.catalog import MemoryCatalog
from alexandria.adapters.memory.clock import ManualClock
from alexandria.adapters.memory.job_queue import MemoryJobQueue
from alexandria.adapters.memory.status_board import MemoryStatusBoard
from alexandria.adapters.memory.vector_store import MemoryVectorStore
from alexandria.application import jobs
from alexandria.application.index import IndexProgress, IndexResult, ProgressListener
from alexandria.application.jobs import WorkedOff, WorkRules, work_off, work_off_queue
from alexandria.application.pacing import Backoff, Polling, Timer
from alexandria.application.presence import Presence
from alexandria.domain.job import JobRecord, JobState, Phase
from alexandria.domain.repo_url import RepoUrl
from alexandria.entrypoints.worker import LEAVE_S, Stopping, StoreRefusedError, work
from alexandria.ports.catalog import CatalogUnavailableError, CatalogVersionError, StaleGenerationError
from alexandria.ports.job_queue import Claim, JobQueueError, JobQueueUnavailableError, QueueRules, Renewal
from alexandria.ports.repo_source import RepoUnavailableError
from alexandria.ports.status_board import StatusBoardUnavailableError, WorkerReport
from alexandria.ports.vector_store import VectorStoreUnavailableError
from support.memory_library import MemoryWorld, RandomEmbedder, WaitingEmbedder
from support.own_time import OwnTime
from support.trees import SHOP, commit_all, write_tree

REPO = RepoUrl("github.com/test/shop")
RULES = QueueRules(retry_delay_s=0)
IDLE, TRAINING = "Idle", f"Training Graph on {REPO.url}"


class Queue(MemoryJobQueue):
    """A queue that can be away, and counts its renewals."""

    away = False
    hangs: OwnTime | None = None  # whose time passes while somebody waits for an answer
    hanging: asyncio.Event
    renewals = 0

    async def _ask(self) -> None:
        if self.hangs:
            self.hanging.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.hangs.now_s += jobs.LAST_ANSWER_S * 250  # see the test
        if self.away:
            raise JobQueueUnavailableError("away")

    async def claim(self, worker_id: str) -> Claim | None:
        await self._ask()
        return await super().claim(worker_id)

    async def renew(self, claim: Claim, *, phase: Phase, fraction: float) -> Renewal:
        await self._ask()
        self.renewals += 1
        return await super().renew(claim, phase=phase, fraction=fraction)

    async def complete(self, claim: Claim, record: JobRecord) -> None:
        await self._ask()
        await super().complete(claim, record)

    async def release(self, claim: Claim) -> None:
        await self._ask()
        await super().release(claim)


class Board(MemoryStatusBoard):
    """A board that can be away, and remembers every word."""

    away = False

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.said: list[WorkerReport] = []

    async def publish(self, report: WorkerReport, *, ttl_s: float) -> None:
        if self.away:
            raise StatusBoardUnavailableError("away")
        self.said.append(report)
        await super().publish(report, ttl_s=ttl_s)

    @property
    def statuses(self) -> list[str]:
        """What was said, without repetitions."""
        texts = [str(report.status) for report in self.said]
        return [texts[0], *(later for earlier, later in pairwise(texts) if earlier != later)] if texts else []


Step = Callable[["Desk", ProgressListener], Any]


@dataclass
class Desk:
    """One worker, whose work is whatever the test puts in."""

    steps: list[Step] = field(default_factory=list)
    lease_s: float = 300.0
    once: bool = False

    def __post_init__(self) -> None:
        self.clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
        self.queue, self.board = Queue(RULES, self.clock), Board(self.clock)
        self.time, self.stop = OwnTime(), asyncio.Event()
        self.let_go = asyncio.Event()
        self.begun = asyncio.Event()
        self.stores_asked = 0
        self.ended: list[WorkedOff] = []
        self.rules = WorkRules(
            queue=self.queue,
            presence=Presence("w", self.board, self.time.timer, every_s=60, ttl_s=180),
            clock=self.clock,
            index=self._index,
            heartbeat_s=120,
            lease_s=self.lease_s,
            timer=self.time.timer,
            stop=self.stop,
        )

    async def _index(self, repo: RepoUrl, ref: str, token: int, progress: ProgressListener) -> IndexResult:
        step = self.steps.pop(0)
        self.begun.set()
        outcome = step(self, progress)
        if asyncio.iscoroutine(outcome):
            outcome = await outcome
        if isinstance(outcome, BaseException):
            raise outcome
        assert isinstance(outcome, IndexResult)
        return outcome

    async def run(self) -> int:
        async def one(claim: Claim, rules: WorkRules) -> WorkedOff:
            self.ended.append(await work_off(claim, rules))
            return self.ended[-1]

        async def stores() -> None:
            self.stores_asked += 1

        polling = Polling(self.time.timer, interval_s=2, idle_most_s=2)
        return await work_off_queue(self.rules, polling=polling, once=self.once, work=one, stores_answer=stores)

    async def submit(self, number: int = 0) -> None:
        await self.queue.enqueue(f"job-{number}", REPO, f"v{number}")

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        running = asyncio.ensure_future(self.run())
        try:
            yield
            self.stop.set()
            await running
        finally:
            running.cancel()
            await asyncio.wait([running])


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> IndexResult:
    root = write_tree(tmp_path_factory.mktemp("shop"), SHOP)
    return asyncio.run(MemoryWorld().library.index_with_details(root))


def give(result: IndexResult) -> Step:
    return lambda _desk, _progress: result


def fail(error: BaseException) -> Step:
    return lambda _desk, _progress: error


def wait_for(result: IndexResult, phase: Phase = Phase.TRAINING) -> Step:
    async def waited(desk: Desk, progress: ProgressListener) -> IndexResult:
        progress(IndexProgress(phase, 0.5))
        await desk.let_go.wait()
        return result

    return waited


ENDINGS = st.sampled_from(["complete", "error", "away", "bug"])


@settings(max_examples=100)
@given(endings=st.lists(ENDINGS, max_size=6), pauses_s=st.lists(st.sampled_from([0.0, 30.0, 100.0]), min_size=6))
def test_property_02_status_goes_from_idle_to_training_to_idle_or_error(
    result: IndexResult, endings: list[str], pauses_s: list[float]
) -> None:
    steps = {
        "complete": give(result),
        "error": fail(RepoUnavailableError("no such host")),
        "away": fail(VectorStoreUnavailableError("no answer")),
        "bug": fail(ZeroDivisionError("two\nlines")),
    }

    async def run() -> None:
        desk = Desk([steps[ending] for ending in endings for _ in range(RULES.max_attempts)])
        async with desk.working():
            await desk.time.run(0)
            for number, _ in enumerate(endings):
                await desk.submit(number)
                await desk.time.run(2 + pauses_s[number])
        said = desk.board.statuses
        assert said[0] == IDLE
        assert set(said) <= {IDLE, TRAINING, "Error: no such host", "Error: no answer"} | {
            "Error: ZeroDivisionError: two lines"
        }
        for earlier, later in pairwise(said):
            if earlier == IDLE:
                assert later == TRAINING
            elif later == IDLE:
                assert earlier == TRAINING or earlier.startswith("Error: ")
        assert (TRAINING in said) == bool(endings)
        for ended in desk.ended:
            assert ended.state in {JobState.COMPLETE, JobState.FAILED, JobState.QUEUED}
            assert (ended.state is JobState.COMPLETE) == (ended.reason == "")

    asyncio.run(run())


@settings(max_examples=100)
@given(loss=st.floats(), ending=ENDINGS)
def test_property_09_record_of_an_ended_job_has_every_field(result: IndexResult, loss: float, ending: str) -> None:
    finished = replace(result, snapshot=replace(result.snapshot, final_loss=loss))
    steps = {"complete": give(finished), "error": fail(ValueError("\udcff\x1b[2J")), "bug": fail(ZeroDivisionError())}

    async def run() -> JobRecord:
        desk = Desk([steps.get(ending, fail(RepoUnavailableError("x" * 10_000)))] * 3, once=True)
        await desk.submit()
        await desk.run()
        [record] = await desk.queue.history()
        return record

    record = asyncio.run(run())
    assert (record.repo_url, record.worker_id) == (REPO.url, "w")
    assert record.status is (JobState.COMPLETE if ending == "complete" else JobState.FAILED)
    assert (record.files_processed, record.embeddings_generated) == ((8, 8) if ending == "complete" else (0, 0))
    assert record.duration_seconds >= 0
    assert record.timestamp >= (record.started_at or record.timestamp)
    assert record.final_loss == (loss if ending == "complete" and math.isfinite(loss) else None)
    assert record.reason.encode().decode() == record.reason
    assert len(record.reason) <= 2_100
    assert (record.reason == "") == (ending == "complete")


async def test_an_error_stays_on_the_board_for_one_round_of_presence(result: IndexResult) -> None:
    desk = Desk([fail(ZeroDivisionError("x"))])
    await desk.submit()
    async with desk.working():
        await desk.time.run(58)
        assert desk.board.statuses[-1] == "Error: ZeroDivisionError: x"
        await desk.time.run(4)
        assert desk.board.statuses[-1] == IDLE


async def test_idle_worker_says_so_once_a_minute_and_not_at_each_look() -> None:
    desk = Desk()
    async with desk.working():
        await desk.time.run(600)
        assert 10 <= len(desk.board.said) <= 11
        assert len(desk.time.slept) == 300


async def test_error_that_could_not_be_put_up_is_put_up_before_idle(result: IndexResult) -> None:
    desk = Desk([fail(ZeroDivisionError("x"))])
    await desk.submit()
    desk.board.away = True
    async with desk.working():
        await desk.time.run(30)
        desk.board.away = False
        await desk.time.run(90)
    assert desk.board.statuses[:2] == ["Error: ZeroDivisionError: x", IDLE]


async def test_heartbeats_tell_phase_and_percentage_and_go_on(result: IndexResult) -> None:
    desk = Desk([wait_for(result)])
    await desk.submit()
    async with desk.working():
        await desk.begun.wait()
        await desk.time.run(1)
        [running] = await desk.queue.running()
        assert (running.phase, running.fraction, desk.queue.renewals) == (Phase.TRAINING, 0.5, 1)
        assert (desk.board.said[-1].phase, desk.board.said[-1].job_id) == (Phase.TRAINING, "job-0")
        await desk.time.run(600)
        assert desk.queue.renewals == 6
        desk.let_go.set()
        await desk.time.run(1)
    assert [ended.state for ended in desk.ended] == [JobState.COMPLETE]


async def test_end_is_told_when_the_queue_is_back_within_the_lease(result: IndexResult) -> None:
    desk = Desk([wait_for(result)])
    await desk.submit()
    async with desk.working():
        await desk.begun.wait()
        await desk.time.run(1)
        desk.queue.away = True
        desk.let_go.set()
        await desk.time.run(200)
        assert desk.ended == []
        desk.queue.away = False
        await desk.time.run(61)
    [record] = await desk.queue.history()
    assert (record.status, record.attempt) == (JobState.COMPLETE, 1)


async def test_worker_gives_up_when_the_lease_has_surely_lapsed_and_works_on(result: IndexResult) -> None:
    desk = Desk([wait_for(result), give(result)])
    await desk.submit()
    async with desk.working():
        await desk.begun.wait()
        await desk.time.run(1)
        desk.queue.away = True
        desk.let_go.set()
        await desk.time.run(301)
        assert [ended.state for ended in desk.ended] == [JobState.QUEUED]
        assert "did not hear of its end" in desk.ended[0].reason
        desk.clock.advance(301)
        desk.queue.away = False
        await desk.time.run(61)
    [record] = await desk.queue.history()
    assert (record.status, record.attempt) == (JobState.COMPLETE, 2)


async def test_job_that_the_catalog_refuses_is_tried_again_with_a_token_that_it_takes(result: IndexResult) -> None:
    tokens: list[int] = []

    async def index(_repo: RepoUrl, _ref: str, token: int, _progress: ProgressListener) -> IndexResult:
        tokens.append(token)
        if token < 40:  # the queue lost its data, the catalog did not
            raise StaleGenerationError(REPO.key, token, 40)
        return result

    desk = Desk(once=True)
    desk.rules = replace(desk.rules, index=index)
    await desk.submit()
    assert await desk.run() == 2
    assert (tokens[0], tokens[1] >= 40) == (1, True)
    [record] = await desk.queue.history()
    assert (record.status, record.attempt) == (JobState.COMPLETE, 2)
    assert "generation 1 of github.com/test/shop is too old" in desk.ended[0].reason


async def test_job_that_another_claim_took_over_is_let_go_and_no_token_is_spent(result: IndexResult) -> None:
    async def overtaken(desk: Desk, _progress: ProgressListener) -> IndexResult:
        desk.clock.advance(301)
        other = await desk.queue.claim("v")
        assert other is not None
        raise StaleGenerationError(REPO.key, 1, other.token)

    desk = Desk([overtaken], once=True)
    await desk.submit()
    assert await desk.run() == 1
    assert [(ended.state, ended.record) for ended in desk.ended] == [(JobState.QUEUED, None)]
    assert "Error" not in " ".join(desk.board.statuses)
    [running] = await desk.queue.running()
    assert (running.worker_id, running.job.attempt) == ("v", 2)
    assert await desk.queue.issue_token() == 3


async def test_stop_finishes_an_upload(result: IndexResult) -> None:
    desk = Desk([wait_for(result, Phase.UPLOADING)])
    await desk.submit()
    async with desk.working():
        await desk.begun.wait()
        await desk.time.run(1)
        desk.stop.set()
        await desk.time.run(5)
        desk.let_go.set()
    assert [ended.state for ended in desk.ended] == [JobState.COMPLETE]


@pytest.mark.parametrize("phase", [Phase.CLONING, Phase.PARSING, Phase.TRAINING, Phase.UPLOADING])
async def test_stop_ends_within_a_minute_whatever_hangs(result: IndexResult, phase: Phase) -> None:
    desk = Desk([wait_for(result, phase)])
    await desk.submit()
    running = asyncio.ensure_future(desk.run())
    await desk.begun.wait()
    await desk.time.run(1)
    asked_at = desk.time.now_s
    desk.stop.set()
    desk.queue.away = desk.board.away = True
    while not running.done():
        await asyncio.wait([running, asyncio.ensure_future(desk.time.run(0.5))], return_when=asyncio.FIRST_COMPLETED)
    assert desk.time.now_s - asked_at <= 45
    assert [ended.state for ended in desk.ended] == [JobState.QUEUED]


@pytest.mark.parametrize("phase", [Phase.TRAINING, Phase.UPLOADING])
@pytest.mark.parametrize("hangs_from_s", [0, 119])
async def test_stop_ends_within_a_minute_though_queue_and_board_hang(
    result: IndexResult, phase: Phase, hangs_from_s: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "LAST_ANSWER_S", jobs.LAST_ANSWER_S / 250)  # the only real seconds here
    desk = Desk([wait_for(result, phase)])
    await desk.submit()
    running = asyncio.ensure_future(desk.run())
    await desk.begun.wait()
    await desk.time.run(1 + hangs_from_s)
    desk.queue.hangs, desk.queue.hanging, desk.board.away = desk.time, asyncio.Event(), True
    passing = asyncio.ensure_future(desk.time.run(1_000))  # stands still while a call hangs
    if hangs_from_s:
        await desk.queue.hanging.wait()  # a heartbeat is under way
    asked_at = desk.time.now_s
    desk.stop.set()
    await running
    passing.cancel()
    assert desk.queue.hanging.is_set()
    assert desk.time.now_s - asked_at + LEAVE_S <= 60
    assert [ended.state for ended in desk.ended] == [JobState.QUEUED]


async def test_stop_gives_back_what_is_trained_and_the_attempt_does_not_count(result: IndexResult) -> None:
    desk = Desk([wait_for(result)])
    await desk.submit()
    async with desk.working():
        await desk.begun.wait()
        await desk.time.run(1)
    [job] = await desk.queue.pending()
    assert (job.state, job.attempt) == (JobState.QUEUED, 0)
    assert await desk.queue.history() == []


async def test_worker_waits_for_stores_that_are_away_instead_of_failing_every_job(result: IndexResult) -> None:
    desk = Desk([fail(CatalogUnavailableError("no answer")), give(result)])
    await desk.submit()
    async with desk.working():
        await desk.time.run(5)
    assert desk.stores_asked == 1
    assert [ended.state for ended in desk.ended] == [JobState.QUEUED, JobState.COMPLETE]


async def test_stale_job_is_skipped_with_its_age_and_the_next_one_runs(result: IndexResult) -> None:
    desk = Desk([give(result)], once=True)
    await desk.submit(1)
    desk.clock.advance(RULES.ttl_s + 1)
    await desk.submit(2)
    assert await desk.run() == 1
    records = {record.job_id: record for record in await desk.queue.history()}
    assert records["job-1"].status is JobState.SKIPPED
    assert "86401 s" in records["job-1"].reason.replace(",", "")
    assert records["job-2"].status is JobState.COMPLETE


async def test_once_says_that_the_queue_is_away() -> None:
    desk = Desk(once=True)
    desk.queue.away = True
    with pytest.raises(JobQueueError):
        await desk.run()


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=200))
def test_waits_double_to_a_minute_and_never_fall_below_a_second(chances: list[float]) -> None:
    drawn = iter(chances)
    backoff = Backoff(Timer(random=lambda: next(drawn)))
    for number in range(len(chances)):
        wait_s = backoff.failed()
        longest_s = min(60.0, 2.0 ** (number + 1))
        assert longest_s / 2 <= wait_s <= longest_s
    assert wait_s >= 1


def test_looks_at_a_metered_queue_slow_down_after_a_minute_and_quicken_with_work() -> None:
    now_s = [0.0]
    polling = Polling(Timer(monotonic=lambda: now_s[0]), interval_s=2, idle_most_s=30)
    assert [polling.next_s() for _ in range(3)] == [2, 2, 2]
    now_s[0] = 61
    assert [polling.next_s() for _ in range(5)] == [4, 8, 16, 30, 30]
    polling.worked()
    assert polling.next_s() == 2
    always = Polling(Timer(monotonic=lambda: now_s[0]), interval_s=2, idle_most_s=2)
    now_s[0] = 1000
    assert [always.next_s() for _ in range(3)] == [2, 2, 2]


class Catalog(MemoryCatalog):
    """A catalog whose signs of life the test chooses."""

    faults: list[Exception]

    async def check(self) -> None:
        if self.faults:
            raise self.faults.pop(0)


def world_with(*faults: Exception) -> MemoryWorld:
    catalog = Catalog()
    catalog.faults = list(faults)
    return MemoryWorld(catalog=catalog)


async def test_store_that_refuses_ends_the_worker_at_its_start() -> None:
    world = world_with(CatalogVersionError("of version 9"))
    with pytest.raises(StoreRefusedError) as raised:
        await work(world.library, "w")
    assert raised.value.faults == ("catalog: of version 9",)


async def test_store_that_cannot_be_reached_is_waited_for() -> None:
    time, stopping = OwnTime(), Stopping()
    away = [CatalogUnavailableError("no answer") for _ in range(5)]
    running = asyncio.ensure_future(work(world_with(*away).library, "w", stopping=stopping, timer=time.timer))
    await time.run(100)
    stopping.event.set()
    assert await running == 0
    assert time.slept[:5] == [1.5, 3, 6, 12, 24]


async def test_once_does_not_wait_for_a_store() -> None:
    with pytest.raises(StoreRefusedError, match="catalog: no answer"):
        await work(world_with(CatalogUnavailableError("no answer")).library, "w", once=True)


class SlowVectors(MemoryVectorStore):
    """A store whose upload is done and whose answer does not come."""

    def __init__(self) -> None:
        super().__init__()
        self.uploaded = asyncio.Event()

    async def upload(self, batch: Any, *, progress: Callable[[float], None] = lambda _: None) -> None:
        await super().upload(batch, progress=progress)
        self.uploaded.set()
        await asyncio.Event().wait()


async def test_run_that_is_cancelled_in_its_upload_leaves_no_vector(tmp_path: Path) -> None:
    world = MemoryWorld(vectors=(vectors := SlowVectors()))
    running = asyncio.ensure_future(world.library.index(write_tree(tmp_path, SHOP)))
    await vectors.uploaded.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await vectors.count(str(tmp_path), 1) == 0


async def test_heartbeats_are_sent_while_the_interpreter_is_busy(tmp_path: Path) -> None:
    class BusyEmbedder(WaitingEmbedder):
        def embed(self, *args: Any, **kwargs: Any) -> Any:
            self._loop.call_soon_threadsafe(self.begun.set)
            while not self.let_go.is_set():
                sum(range(1000))  # holds the interpreter's lock, as Python code does
            return RandomEmbedder.embed(self, *args, **kwargs)

    commit_all(write_tree(tmp_path / "mirror/github.com/test/shop", SHOP))
    world = MemoryWorld(mirror=str(tmp_path / "mirror"), embedder=(busy := BusyEmbedder()))
    queue = Queue(RULES, world.clock)
    world.library.queue = queue
    await world.library.submit(REPO.url)
    running = asyncio.ensure_future(world.library.work_off_one("w"))
    await busy.begun.wait()
    before = queue.renewals
    while queue.renewals < before + 3:
        assert not running.done()
        await asyncio.sleep(0)
    busy.let_go.set()
    ended = await running
    assert ended is not None
    assert ended.state is JobState.COMPLETE
