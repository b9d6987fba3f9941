"""The queue over Upstash's REST protocol, with the vendor's client, when answers are lost or are not answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import cast

import pytest

from alexandria.adapters.redis.job_queue import RedisJobQueue
from alexandria.adapters.redis.status_board import RedisStatusBoard
from alexandria.adapters.upstash.rest import UpstashScriptStore
from alexandria.domain.job import JobState, Phase
from alexandria.domain.worker_status import WorkerStatus
from alexandria.ports.job_queue import Claim, JobQueueError, JobQueueUnavailableError, QueueRules, Renewal
from alexandria.ports.script_store import ScriptStoreRefusedError, ScriptStoreUnavailableError
from alexandria.ports.status_board import StatusBoardError, StatusBoardUnavailableError, WorkerReport
from contract.queues import CLICK, FLASK, ids, record_of
from support.upstash_rest import TOKEN, Fault, RestServer, rest_server
from support.valkey import valkey_url

pytestmark = pytest.mark.usefixtures("_empty")


class Seconds:
    """A clock of seconds that the test moves, and those that passed while the machine slept."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.asleep = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def server() -> AsyncIterator[RestServer]:
    async with rest_server(valkey_url()) as running:
        yield running


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
async def store(
    server: RestServer, seconds: Seconds, request: pytest.FixtureRequest
) -> AsyncIterator[UpstashScriptStore]:
    # The deadline is short only where it must pass: a busy machine answers late, too.
    parameters = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    timeout_s = 1.0 if parameters.get("fault") is Fault.HANG else 60.0
    async with UpstashScriptStore(
        server.url, TOKEN, timeout_s=timeout_s, monotonic=seconds, wall=lambda: seconds.now + seconds.asleep
    ) as opened:
        yield opened


@pytest.fixture
async def _empty(store: UpstashScriptStore, server: RestServer) -> None:
    await store.command("FLUSHALL")
    await store.now_us()
    server.requests.clear()


@pytest.fixture
def queue(store: UpstashScriptStore) -> RedisJobQueue:
    return RedisJobQueue(store, QueueRules(), new_id=str)


async def claim_of(queue: RedisJobQueue) -> Claim:
    await queue.enqueue("a", FLASK)
    claim = await queue.claim("w")
    assert claim is not None
    return claim


REPEATABLE: dict[str, Callable[[RedisJobQueue, Claim], Awaitable[object]]] = {
    "enqueue": lambda queue, _: queue.enqueue("b", CLICK),
    "renew": lambda queue, claim: queue.renew(claim, phase=Phase.TRAINING, fraction=0.5),
    "complete": lambda queue, claim: queue.complete(claim, record_of(claim, JobState.COMPLETE)),
    "fail": lambda queue, claim: queue.fail(claim, record_of(claim, JobState.FAILED), retry=True),
    "cancelled": lambda queue, claim: queue.cancelled(claim, record_of(claim, JobState.CANCELLED)),
    "release": lambda queue, claim: queue.release(claim),
    "cancel": lambda queue, _: queue.cancel("a"),
    "get": lambda queue, _: queue.get("a"),
    "pending": lambda queue, _: queue.pending(),
    "running": lambda queue, _: queue.running(),
}


# A hanging answer takes its whole deadline, so three calls stand for all in the short form.
EACH_FAULT_OF_EACH_CALL = pytest.mark.parametrize(
    ("name", "fault"),
    [
        pytest.param(
            *(name, fault),
            marks=[pytest.mark.long] if fault is Fault.HANG and name not in {"enqueue", "renew", "complete"} else [],
        )
        for name in REPEATABLE
        for fault in Fault
    ],
)


@EACH_FAULT_OF_EACH_CALL
async def test_lost_answer_is_asked_for_once_more_and_has_one_effect(
    server: RestServer, queue: RedisJobQueue, name: str, fault: Fault
) -> None:
    call = REPEATABLE[name]
    claim = await claim_of(queue)
    server.requests.clear()
    server.faults.append(fault)
    answer = await call(queue, claim)
    assert len(server.requests) == 2
    assert await call(queue, claim) == answer
    assert len(await queue.history()) == (name in {"complete", "cancelled"})


@EACH_FAULT_OF_EACH_CALL
async def test_second_lost_answer_is_an_error_after_two_requests(
    server: RestServer, queue: RedisJobQueue, name: str, fault: Fault
) -> None:
    claim = await claim_of(queue)
    server.requests.clear()
    server.faults.extend([fault, fault])
    with pytest.raises(JobQueueUnavailableError):
        await REPEATABLE[name](queue, claim)
    assert len(server.requests) == 2
    await REPEATABLE[name](queue, claim)  # whatever happened, saying it again is right


@pytest.mark.parametrize("fault", Fault)
async def test_claim_is_never_repeated_and_its_job_comes_back(
    server: RestServer, queue: RedisJobQueue, fault: Fault
) -> None:
    await queue.enqueue("a", FLASK)
    server.requests.clear()
    server.faults.extend([None, fault])  # the peek is answered, the script is not
    with pytest.raises(JobQueueUnavailableError):
        await queue.claim("w")
    assert len(server.requests) == 2
    state = (await queue.get("a")).job.state
    assert state is (JobState.RUNNING if fault in {Fault.DROP_AFTER, Fault.HANG} else JobState.QUEUED)


async def test_token_is_never_asked_for_twice(server: RestServer, queue: RedisJobQueue) -> None:
    first = await queue.issue_token()
    server.faults.append(Fault.DROP_AFTER)
    with pytest.raises(JobQueueUnavailableError):
        await queue.issue_token()
    assert await queue.issue_token() == first + 2


@pytest.mark.parametrize("fault", Fault)
async def test_plain_commands_and_the_board_translate_every_fault(
    server: RestServer, store: UpstashScriptStore, queue: RedisJobQueue, fault: Fault
) -> None:
    board = RedisStatusBoard(store)
    report = WorkerReport("w", WorkerStatus.idle())
    for call in (queue.check, queue.history, lambda: queue.claim("w")):
        server.faults.append(fault)
        with pytest.raises(JobQueueUnavailableError):
            await call()
    for ask in (board.status, board.workers, lambda: board.publish(report, ttl_s=60)):
        server.faults.append(fault)
        with pytest.raises(StatusBoardUnavailableError):
            await ask()


async def test_wrong_token_is_refused_and_not_called_unavailable(server: RestServer) -> None:
    async with UpstashScriptStore(server.url, "wrong") as store:
        with pytest.raises(ScriptStoreRefusedError, match="Unauthorized"):
            await store.command("PING")
        with pytest.raises(JobQueueError) as refusal:
            await RedisJobQueue(store, QueueRules(), new_id=str).check()
        assert not isinstance(refusal.value, JobQueueUnavailableError)
        with pytest.raises(StatusBoardError) as refused:
            await RedisStatusBoard(store).status()
        assert not isinstance(refused.value, StatusBoardUnavailableError)


async def test_command_that_the_server_does_not_have_is_refused(store: UpstashScriptStore) -> None:
    with pytest.raises(ScriptStoreRefusedError, match="unknown command"):
        await store.command("FLY", "away")


async def test_answers_come_back_as_they_were(store: UpstashScriptStore) -> None:
    text = "ü 你好 \n OK"
    assert await store.command("HSET", "hash", "field", text) == 1
    assert await store.command("HGET", "hash", "field") == text
    assert await store.command("HGET", "hash", "nothing") is None
    assert await store.command("PING") == "PONG"
    assert await store.command("RPUSH", "list", "a", "", "OK") == 3
    assert await store.command("LRANGE", "list", 0, -1) == ["a", "", "OK"]
    assert await store.command("EVAL", "return {1, 'two', {3}}", 0) == [1, "two", [3]]


async def test_programs_whose_clocks_are_a_day_apart_agree_on_the_time(server: RestServer) -> None:
    early, late = Seconds(), Seconds()
    late.now += 86_400
    async with (
        UpstashScriptStore(server.url, TOKEN, monotonic=early) as api,
        UpstashScriptStore(server.url, TOKEN, monotonic=late) as worker,
    ):
        measured = [await api.now_us(), await worker.now_us(), await api.now_us()]
        assert None not in measured
        assert abs(cast(int, measured[1]) - cast(int, measured[0])) < 60_000_000  # this machine was that busy at most
        job = (await RedisJobQueue(api, QueueRules(), new_id=str).enqueue("a", FLASK)).job
        claim = await RedisJobQueue(worker, QueueRules(), new_id=str).claim("w")
        assert claim is not None
        assert claim.job.id == job.id  # a day more, and it would be stale


async def test_servers_time_is_measured_every_ten_minutes(
    server: RestServer, store: UpstashScriptStore, seconds: Seconds
) -> None:
    first = await store.now_us()
    assert first is not None
    seconds.now += 600
    assert await store.now_us() == first + 600_000_000
    assert server.requests == []
    seconds.now += 1
    measured = await store.now_us()
    assert server.requests == [["TIME"]]
    assert measured is not None
    assert first <= measured < first + 600_000_000  # the server's clock did not make our jump
    seconds.now += 2.5
    assert await store.now_us() == measured + 2_500_000


@pytest.mark.parametrize("asleep_s", [8 * 3600.0, -8 * 3600.0, 6.0])
async def test_servers_time_is_measured_anew_after_the_machine_slept(
    server: RestServer, store: UpstashScriptStore, seconds: Seconds, asleep_s: float
) -> None:
    seconds.now += 60
    seconds.asleep += asleep_s  # the clock on the wall went on, or was set, and the other one stood still
    await store.now_us()
    assert server.requests == [["TIME"]]
    seconds.now += 60
    await store.now_us()
    assert server.requests == [["TIME"]]


@pytest.mark.parametrize("fault", Fault)
async def test_time_that_could_not_be_measured_is_unavailable(
    server: RestServer, store: UpstashScriptStore, seconds: Seconds, fault: Fault
) -> None:
    seconds.now += 601
    server.faults.append(fault)
    with pytest.raises(ScriptStoreUnavailableError):
        await store.now_us()
    assert await store.now_us() is not None


async def test_lease_and_cancel_work_over_the_measured_time(queue: RedisJobQueue, seconds: Seconds) -> None:
    claim = await claim_of(queue)
    seconds.now += 301
    again = await queue.claim("v")
    assert again is not None
    assert (again.job.id, again.job.attempt) == ("a", 2)
    await queue.cancel("a")
    assert await queue.renew(again, phase=Phase.CLONING, fraction=0) is Renewal.CANCEL
    await queue.cancelled(again, record_of(again, JobState.CANCELLED))
    assert ids(await queue.history()) == ["a"]
    assert again.token > claim.token


@pytest.mark.parametrize(
    "url", ["http://example.com", "http://10.0.0.1", "ftp://x", "example.com", "http://127.0.0.1.evil.com"]
)
def test_address_that_would_send_the_token_in_the_clear_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="https"):
        UpstashScriptStore(url, TOKEN)


@pytest.mark.parametrize(
    "url", ["https://eu1-x.upstash.io", "http://localhost:8079", "http://127.0.0.1:1", "http://[::1]:1"]
)
async def test_address_that_is_https_or_this_machine_is_accepted(url: str) -> None:
    await UpstashScriptStore(url, TOKEN).close()
