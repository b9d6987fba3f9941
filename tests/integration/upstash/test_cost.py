"""What the queue and the board cost on a service that counts commands, those inside scripts included."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from alexandria.adapters.memory.clock import ManualClock
from alexandria.adapters.redis.job_queue import RedisJobQueue
from alexandria.adapters.redis.status_board import RedisStatusBoard
from alexandria.adapters.redis.tcp import TcpScriptStore
from alexandria.domain.job import JobState, Phase
from alexandria.domain.worker_status import WorkerStatus
from alexandria.entrypoints.api.memo import Memo
from alexandria.ports.job_queue import QueueRules
from alexandria.ports.status_board import WorkerReport
from contract.queues import FLASK, START, UpstashScriptStoreAt, record_of, repo
from support.upstash_rest import rest_server
from support.valkey import valkey_url

FREE_A_MONTH = 500_000
PAGE = Path(__file__).parents[3] / "docs" / "queue.md"


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


# For each hour, what goes on in it. The server's time is measured every ten minutes; here the test tells the time.
MEASURING_THE_TIME = 6


async def idle_worker(meter: Meter) -> None:
    """Poll every 30 s and say so every 60 s, as the template of the edge sets it."""
    report = WorkerReport("w", WorkerStatus.idle())
    for half_minute in range(120):
        meter.clock.advance(30)
        assert await meter.queue.claim("w") is None
        if half_minute % 2:
            await meter.board.publish(report, ttl_s=180)


async def busy_worker(meter: Meter) -> None:
    """Send a heartbeat every two minutes, and say each time how far the job is."""
    await meter.queue.enqueue("a", FLASK)
    claim = await meter.queue.claim("w")
    assert claim is not None
    await meter.reset()
    for beat in range(30):
        meter.clock.advance(120)
        await meter.queue.renew(claim, phase=Phase.TRAINING, fraction=beat / 30)
        status = WorkerStatus.training(FLASK.url)
        await meter.board.publish(WorkerReport("w", status, "a", Phase.TRAINING, beat / 30), ttl_s=360)


async def dashboard(meter: Meter) -> None:
    """Ask the API for the status every second; it remembers the answer for ten."""
    seconds = 0.0
    memo = Memo(meter.board.workers, 10.0, lambda: seconds)
    for _ in range(3600):
        seconds += 1
        await memo.get()


HOURS = {"idle worker": idle_worker, "worker with one long job": busy_worker, "dashboards": dashboard}


def table(title: str) -> dict[str, list[int]]:
    """Return the numbers of a table of the page, by the text of its first column."""
    section = PAGE.read_text("utf-8").split(f"{title}\n", 1)[1].split("\n#", 1)[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")][2:]
    return {cells[0].strip(): [int(re.sub(r"[ ,%]", "", cell)) for cell in cells[1:]] for cells in rows}


@pytest.mark.parametrize("name", HOURS)
async def test_what_an_hour_costs_is_what_the_page_says(meter: Meter, name: str) -> None:
    if name == "idle worker":
        await meter.board.publish(WorkerReport("w", WorkerStatus.idle()), ttl_s=180)  # its first word was said before
    await meter.reset()
    await HOURS[name](meter)
    hour = await meter.commands() + MEASURING_THE_TIME
    month = hour * 24 * 30
    assert table("## What it costs on Upstash")[name] == [hour, hour * 24, month, round(100 * month / FREE_A_MONTH)]


def test_idle_worker_with_its_presence_stays_under_30_percent_of_a_free_month() -> None:
    _, _, month, percent = table("## What it costs on Upstash")["idle worker"]  # as counted above
    assert month < 0.30 * FREE_A_MONTH
    assert percent < 30


async def test_job_and_a_look_at_it_cost_this_many_commands(meter: Meter) -> None:
    queue, board = meter.queue, meter.board
    busy = WorkerReport("w", WorkerStatus.training(FLASK.url), "a", Phase.TRAINING)
    costs = {}
    for number in range(100):  # a full history, which forgets a record for each new one
        await queue.enqueue(f"old-{number}", repo(number))
        await queue.cancel(f"old-{number}")

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
    await queue.pending()
    await note("look at what waits")
    await queue.complete(claim, record_of(claim, JobState.COMPLETE))
    await note("complete")
    await queue.history()
    await note("look at the history")
    assert {name: [count] for name, count in costs.items()} == table("### One call")
    whole = sum(costs[name] for name in ("enqueue", "claim", "new status", "complete", "new status"))
    assert f"{whole} commands" in PAGE.read_text("utf-8")
