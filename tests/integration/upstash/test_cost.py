"""What the queue and the board cost on a service that counts commands, those inside scripts included."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from alexandria.adapters.memory.clock import ManualClock
from alexandria.adapters.redis.job_queue import RedisJobQueue
from alexandria.adapters.redis.status_board import RedisStatusBoard
from alexandria.adapters.redis.tcp import TcpScriptStore
from alexandria.domain.job import JobState, Phase
from alexandria.domain.worker_status import WorkerStatus
from alexandria.ports.job_queue import QueueRules
from alexandria.ports.status_board import WorkerReport
from contract.queues import FLASK, START, UpstashScriptStoreAt, record_of
from support.upstash_rest import rest_server
from support.valkey import valkey_url

FREE_A_MONTH = 500_000
HOURS_A_MONTH = 24 * 30


class Meter:
    """A queue and a board over REST in a simulated hour, and the number of commands that the server ran."""

    def __init__(self, store: UpstashScriptStoreAt, server: TcpScriptStore, clock: ManualClock) -> None:
        self.queue = RedisJobQueue(store, QueueRules(), new_id=str)
        self.board = RedisStatusBoard(store)
        self.clock = clock
        self._server = server

    async def reset(self) -> None:
        await self._server.command("CONFIG", "RESETSTAT")

    async def commands(self) -> int:
        stats = str(await self._server.command("INFO", "commandstats"))
        counts = [line.removeprefix("cmdstat_").split(":calls=") for line in stats.splitlines() if "calls=" in line]
        own = ("info", "config", "client", "hello")
        return sum(int(rest.split(",")[0]) for name, rest in counts if not name.startswith(own))


@pytest.fixture
async def meter() -> AsyncIterator[Meter]:
    clock = ManualClock(START)
    async with (
        rest_server(valkey_url()) as server,
        TcpScriptStore(valkey_url()) as direct,
        UpstashScriptStoreAt(server.url, clock) as store,
    ):
        await direct.command("FLUSHALL")
        yield Meter(store, direct, clock)


async def test_idle_worker_with_its_presence_stays_under_30_percent_of_a_free_month(meter: Meter) -> None:
    report = WorkerReport("w", WorkerStatus.idle())
    await meter.board.publish(report, ttl_s=150)
    await meter.reset()
    for half_minute in range(120):  # polls every 30 s, presence every 60 s
        meter.clock.advance(30)
        assert await meter.queue.claim("w") is None
        if half_minute % 2:
            await meter.board.publish(report, ttl_s=150)
    commands = await meter.commands()
    assert commands == 120 + 58 + 2 * 4  # polls, plain reports, two scripts of four commands
    measuring_the_time = 6  # every ten minutes; here the test tells the time
    assert (commands + measuring_the_time) * HOURS_A_MONTH < 0.30 * FREE_A_MONTH


async def test_job_and_a_look_at_it_cost_this_many_commands(meter: Meter) -> None:
    queue, board = meter.queue, meter.board
    busy = WorkerReport("w", WorkerStatus.training(FLASK.url), "a", Phase.TRAINING)
    costs = {}

    async def note(name: str) -> None:
        costs[name] = await meter.commands()
        await meter.reset()

    await meter.reset()
    await queue.enqueue("a", FLASK)
    await note("enqueue")
    claim = await queue.claim("w")
    assert claim is not None
    await note("claim")
    await queue.renew(claim, phase=Phase.TRAINING, fraction=0.5)
    await note("renew")
    await board.publish(busy, ttl_s=150)
    await note("new status")
    meter.clock.advance(60)
    await board.publish(busy, ttl_s=150)
    await note("same status")
    await board.status()
    await note("look at the status")
    await queue.get("a")
    await note("look at a job")
    await queue.running()
    await note("look at what runs")
    await queue.complete(claim, record_of(claim, JobState.COMPLETE))
    await note("complete")
    await queue.history()
    await note("look at the history")
    assert costs == {
        "enqueue": 6,
        "claim": 7,
        "renew": 3,
        "new status": 4,
        "same status": 1,
        "look at the status": 1,
        "look at a job": 3,
        "look at what runs": 2,
        "complete": 8,
        "look at the history": 1,
    }
