"""The queue and the board over TCP, when answers are lost, late or none of Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import pytest

from alexandria.adapters.redis.job_queue import RedisJobQueue
from alexandria.adapters.redis.status_board import RedisStatusBoard
from alexandria.adapters.redis.tcp import TcpScriptStore
from alexandria.domain.job import JobState, Phase
from alexandria.domain.worker_status import WorkerStatus
from alexandria.ports.job_queue import Claim, JobQueueUnavailableError, QueueRules
from alexandria.ports.status_board import StatusBoardUnavailableError, WorkerReport
from contract.queues import CLICK, FLASK, record_of
from support.redis_proxy import Fault, RedisProxy, redis_proxy
from support.valkey import valkey_url

DEADLINE_S = 0.2
LATE = {Fault.HANG, Fault.TRICKLE}
IDLE = WorkerReport("w", WorkerStatus.idle())


@pytest.fixture
async def proxy() -> AsyncIterator[RedisProxy]:
    async with TcpScriptStore(valkey_url()) as direct:
        await direct.command("FLUSHALL")
    async with redis_proxy(valkey_url()) as running:
        yield running


@pytest.fixture
async def store(proxy: RedisProxy, request: pytest.FixtureRequest) -> AsyncIterator[TcpScriptStore]:
    # The deadline is short only where it must pass: a busy machine answers late, too.
    parameters = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    timeout_s = DEADLINE_S if parameters.get("fault") in LATE else 60.0
    async with TcpScriptStore(proxy.url, timeout_s=timeout_s) as opened:
        yield opened


@pytest.fixture
def queue(store: TcpScriptStore) -> RedisJobQueue:
    return RedisJobQueue(store, QueueRules(), new_id=str)


async def claim_of_a_good_server() -> Claim:
    """Claim a job on a way of its own, which is never late."""
    async with TcpScriptStore(valkey_url()) as direct:
        queue = RedisJobQueue(direct, QueueRules(), new_id=str)
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


# A late answer takes its whole deadline, so two calls stand for all in the short form.
EACH_FAULT_OF_EACH_CALL = [
    pytest.param(name, fault, marks=[pytest.mark.long] if fault in LATE and name not in {"enqueue", "complete"} else [])
    for name in REPEATABLE
    for fault in Fault
]


@pytest.mark.parametrize(("name", "fault"), EACH_FAULT_OF_EACH_CALL)
async def test_call_ends_with_its_error_after_two_commands_and_repeated_it_has_one_effect(
    proxy: RedisProxy, queue: RedisJobQueue, name: str, fault: Fault
) -> None:
    claim = await claim_of_a_good_server()
    proxy.faults.extend([fault, fault])
    with pytest.raises(JobQueueUnavailableError):
        async with asyncio.timeout(60):  # its own deadlines end it, long before
            await REPEATABLE[name](queue, claim)
    assert proxy.commands == ["EVAL", "EVAL"]
    async with TcpScriptStore(valkey_url()) as direct:
        good = RedisJobQueue(direct, QueueRules(), new_id=str)
        answer = await REPEATABLE[name](good, claim)  # whatever happened, saying it again is right
        assert await REPEATABLE[name](good, claim) == answer
        assert len(await good.history()) == (name in {"complete", "cancelled"})
        assert len(await good.pending()) == (name in {"enqueue", "fail", "release"})


@pytest.mark.parametrize(
    ("name", "fault"), [*EACH_FAULT_OF_EACH_CALL, *(pytest.param(name, None) for name in REPEATABLE)]
)
async def test_one_lost_answer_is_asked_for_once_more(
    proxy: RedisProxy, queue: RedisJobQueue, name: str, fault: Fault | None
) -> None:
    claim = await claim_of_a_good_server()
    proxy.faults.append(fault)
    await REPEATABLE[name](queue, claim)
    assert len(proxy.commands) == (1 if fault is None else 2)


@pytest.mark.parametrize("fault", Fault)
async def test_claim_token_and_plain_commands_are_asked_for_once(
    proxy: RedisProxy, queue: RedisJobQueue, fault: Fault
) -> None:
    above = partial(queue.issue_token, above=7)
    for ask in (lambda: queue.claim("w"), queue.history, queue.check, queue.issue_token, above):
        proxy.faults.append(fault)
        proxy.commands.clear()
        with pytest.raises(JobQueueUnavailableError):
            async with asyncio.timeout(60):
                await ask()
        assert len(proxy.commands) == 1
    await queue.check()


@pytest.mark.parametrize("fault", Fault)
async def test_claim_whose_answer_is_lost_takes_no_second_job(
    proxy: RedisProxy, queue: RedisJobQueue, fault: Fault
) -> None:
    async with TcpScriptStore(valkey_url()) as direct:
        good = RedisJobQueue(direct, QueueRules(), new_id=str)
        await good.enqueue("a", FLASK)
        await good.enqueue("b", CLICK)
        proxy.faults.extend([None, fault])  # the peek is answered, the script is not
        with pytest.raises(JobQueueUnavailableError):
            await queue.claim("w")
        assert proxy.commands == ["EXISTS", "EVAL"]
        ran = fault in {Fault.DROP_AFTER, *LATE}
        assert (await good.get("a")).job.state is (JobState.RUNNING if ran else JobState.QUEUED)
        assert (await good.get("b")).job.state is JobState.QUEUED


@pytest.mark.parametrize("fault", Fault)
async def test_board_translates_every_fault_and_answers_again_after_it(
    proxy: RedisProxy, store: TcpScriptStore, fault: Fault
) -> None:
    board = RedisStatusBoard(store)
    for ask in (board.status, board.workers, lambda: board.publish(IDLE, ttl_s=60)):
        proxy.faults.append(fault)
        proxy.commands.clear()
        with pytest.raises(StatusBoardUnavailableError):
            async with asyncio.timeout(60):
                await ask()
        assert len(proxy.commands) == 1
    await board.publish(IDLE, ttl_s=60)
    assert await board.status() == WorkerStatus.idle()
