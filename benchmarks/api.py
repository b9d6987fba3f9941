"""How quick, how light and how steady the HTTP API is in MODE=CLOUD, over real engines on this machine.

    python benchmarks/api.py                       # all of it, some three minutes
    python benchmarks/api.py --parts start memory  # some of it

The queue is a Valkey behind Upstash's REST protocol that waits 1 ms before each answer, the catalog a
PostgreSQL, the vectors a stand-in for Qdrant's REST interface; API, engines and load are processes of
their own. The load speaks HTTP/1.1 over connections that stay open.

Wall times depend on what else runs (the load is printed); CPU seconds hardly do, so the throughput of
one core is given as requests per CPU second of the API's process as well.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import repeat
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "docs/examples")]

PARTS = ("start", "dispatch", "throughput", "clients", "memory", "hostile")
TOKEN = "0123456789abcdef-admin"  # noqa: S105 (of the engines of the tests)
INGEST = "/api/v1/ingestion/ingest"
STATUS = "/api/v1/ingestion/worker/status"
SIMILAR = "/api/v1/search/similar?path=shop/cart.py"
NEIGHBORS = "/api/v1/graph/neighbors?path=shop/cart.py"
ROUTES = {
    "live": ("GET", "/health/live"),
    "status": ("GET", STATUS),
    "search": ("GET", SIMILAR),
    "neighbors": ("GET", NEIGHBORS),
    "dispatch": ("POST", f"{INGEST}/github.com/pallets/flask"),
}
MIXED = [
    ("GET", "/health/live"),
    ("GET", "/health"),
    ("GET", STATUS),
    ("POST", f"{INGEST}/github.com/pallets/flask"),
    ("POST", f"{INGEST}/ftp%3A%2F%2Fx"),
    ("GET", "/api/v1/ingestion/jobs/history?limit=10"),
    ("GET", "/api/v1/repositories"),
    ("GET", "/api/v1/files"),
    ("GET", SIMILAR),
    ("GET", NEIGHBORS),
    ("GET", "/metrics"),
    ("GET", "/nothing"),
]


async def engines(delay_s: float) -> None:
    """Run the engines until stdin ends; write the environment that names them as one line of JSON."""
    from alexandria.entrypoints.containers import open_for  # noqa: PLC0415
    from alexandria.entrypoints.migrate import migrate  # noqa: PLC0415
    from alexandria.entrypoints.settings import Mode, Settings  # noqa: PLC0415
    from integration.api.running import put_in  # noqa: PLC0415
    from support import upstash_rest  # noqa: PLC0415
    from support.engines import running_engines  # noqa: PLC0415

    answered = upstash_rest.RestServer._run_all

    async def late(*arguments: object) -> object:
        await asyncio.sleep(delay_s)
        return await answered(*arguments)  # type: ignore[arg-type]

    upstash_rest.RestServer._run_all = late  # type: ignore[method-assign, assignment]
    async with running_engines("benchmark_api") as running:
        variables = running.environment("CLOUD")
        values: dict[str, object] = {name.lower(): value for name, value in variables.items()}
        settings = Settings.load(**(values | {"mode": Mode.CLOUD}))
        await migrate(settings)
        async with open_for(settings) as plane:
            await put_in(plane, "github.com/test/shop")
        print(json.dumps(variables), flush=True)
        await asyncio.to_thread(sys.stdin.read)


@contextmanager
def running_engines_process() -> Iterator[dict[str, str]]:
    command = [sys.executable, __file__, "--engines"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("it was started without pipes")
        try:
            variables: dict[str, str] = json.loads(process.stdout.readline())
            yield variables
        finally:
            process.stdin.close()
            process.wait(timeout=60)


def expect(good: bool, what: str) -> None:
    if not good:
        raise RuntimeError(f"not as expected: {what}")


class Api:
    """A process of the API."""

    def __init__(self, variables: dict[str, str], folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        self._began = time.perf_counter()
        self._log = (folder / "api.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "alexandria.entrypoints.start", "api", "--port", str(self.port)],
            env=kept | variables | {"REQUESTS_PER_MINUTE": "1000000000"},
            cwd=folder,
            stderr=self._log,
        )

    def wait(self) -> float:
        """Wait for the first answer; return the seconds since the process was started."""
        request = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port)) as line:
                    line.sendall(request)
                    expect(line.recv(4096).startswith(b"HTTP/1.1 200"), "the first answer")
                    return time.perf_counter() - self._began
            except ConnectionError:
                expect(self.process.poll() is None, "the API ended")
                time.sleep(0.005)

    @property
    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def rss_mb(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1e6

    def stop(self) -> float:
        began = time.perf_counter()
        self.process.send_signal(signal.SIGTERM)
        expect(self.process.wait(timeout=60) == 0, "the exit code")
        self._log.close()
        return time.perf_counter() - began


class Line:
    """One connection that stays open."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str) -> tuple[int, float]:
        """Return the status and the milliseconds until the whole answer was there."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        began = time.perf_counter()
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        lower = head.lower()
        start = lower.find(b"content-length:")
        if start >= 0:
            await reader.readexactly(int(lower[start + 15 : lower.index(b"\r\n", start)]))
        spent_ms = (time.perf_counter() - began) * 1000
        if b"connection: close" in lower:
            await self.close()
        return int(head[9:12]), spent_ms

    async def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


@asynccontextmanager
async def lines(port: int, count: int) -> AsyncIterator[list[Line]]:
    opened = [Line(port) for _ in range(count)]
    try:
        yield opened
    finally:
        for line in opened:
            await line.close()


def quantiles(times_ms: Sequence[float]) -> str:
    ordered = sorted(times_ms)
    at = {f"p{int(q * 100)}": ordered[min(len(ordered) - 1, int(len(ordered) * q))] for q in (0.5, 0.95, 0.99)}
    return "  ".join(f"{name} {value:7.2f} ms" for name, value in at.items()) + f"  max {ordered[-1]:.1f}"


def measure_start(variables: dict[str, str], folder: Path) -> None:
    print("\nstart: until /health/live answers (targets: 1 s, 0.6 CPU s, 80 MB)")
    for _ in range(5):
        api = Api(variables, folder)
        wall_s = api.wait()
        cpu_s, rss = api.cpu_s, api.rss_mb
        time.sleep(1)
        print(f"  {wall_s:5.2f} s  {cpu_s:.2f} CPU s  {rss:.1f} MB, a second later {api.rss_mb:.1f} MB", end="")
        print(f"; stopped in {api.stop():.2f} s")


async def measure_dispatch(api: Api) -> None:
    print("\ndispatch, one after the other, a new job each (target: p95 20 ms with a store of 1 ms)")
    async with lines(api.port, 1) as [line]:
        times = []
        for i in range(500):
            status, spent_ms = await line.ask("POST", f"{INGEST}/github.com/owner/repository-{i}")
            expect(status == 202, f"status {status}")
            times.append(spent_ms)
            if i % 8 == 7:
                await empty_queue(line)
        print(f"  {quantiles(times)}")


async def empty_queue(line: Line) -> None:
    reader_path = "/api/v1/ingestion/jobs"
    for job in (await fetch(line, reader_path))["pending"]:
        await line.ask("DELETE", f"{reader_path}/{job['id']}")


async def fetch(line: Line, path: str) -> dict[str, list[dict[str, str]]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", line._port)
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    writer.write(request.encode())
    answer = await reader.read()
    writer.close()
    shape: dict[str, list[dict[str, str]]] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return shape


async def measure_throughput(api: Api) -> None:
    print("\nthroughput, 8 connections that ask without a pause")
    for name, (method, path) in ROUTES.items():
        async with lines(api.port, 8) as opened:
            await opened[0].ask(method, path)
            cpu_s, began = api.cpu_s, time.perf_counter()
            done = await asyncio.gather(*(ask_often(line, repeat((method, path)), 250) for line in opened))
            wall_s, spent_s = time.perf_counter() - began, api.cpu_s - cpu_s
        times = [t for one in done for t in one]
        rate = f"{len(times) / wall_s:6.0f}/s  {len(times) / spent_s:6.0f}/CPU s"
        print(f"  {name:10s} {rate}  {quantiles(times)}")


async def ask_often(line: Line, requests: Iterator[tuple[str, str]], count: int) -> list[float]:
    times = []
    for _ in range(count):
        status, spent_ms = await line.ask(*next(requests))
        expect(status < 500, f"status {status}")
        times.append(spent_ms)
    return times


async def measure_clients(api: Api) -> None:
    for every_s, routes in ((1.0, list(ROUTES)), (2.0, ["search"])):
        print(f"\n100 clients at once, each of which asks every {every_s:g} s (target: p95 50 ms on every route)")
        for name in routes:
            method, path = ROUTES[name]
            async with lines(api.port, 100) as opened:
                _, first_ms = await opened[0].ask(method, path)  # the first search loads the client of Qdrant
                asking = (ask_paced(line, i, every_s, method, path) for i, line in enumerate(opened))
                cpu_s, began = api.cpu_s, time.perf_counter()
                done = await asyncio.gather(*asking)
                busy = (api.cpu_s - cpu_s) / (time.perf_counter() - began)
            spread = quantiles([t for one in done for t in one])
            print(f"  {name:10s} {spread}  {busy:.0%} of a core; first {first_ms:.0f} ms")
    print("100 clients that ask without a pause, 20 times each: the machine is full, so this is its throughput again")
    for name, (method, path) in ROUTES.items():
        async with lines(api.port, 100) as opened:
            done = await asyncio.gather(*(ask_often(line, repeat((method, path)), 20) for line in opened))
        print(f"  {name:10s} {quantiles([t for one in done for t in one])}")


async def ask_paced(line: Line, number: int, every_s: float, method: str, path: str) -> list[float]:
    await asyncio.sleep(number * every_s / 100)
    times = []
    for _ in range(6):
        began = time.perf_counter()
        times += await ask_often(line, repeat((method, path)), 1)
        await asyncio.sleep(max(0.0, every_s - (time.perf_counter() - began)))
    return times[1:]  # the first one opens the connection


async def measure_memory(api: Api) -> None:
    print("\nmemory over mixed requests on 8 connections (target: 150 MB after 10,000, no growth)")
    print(f"  {0:6d} requests  {api.rss_mb:6.1f} MB")
    async with lines(api.port, 8) as opened:
        for asked in range(2_000, 20_001, 2_000):
            requests = iter(MIXED * 200)
            await asyncio.gather(*(ask_often(line, requests, 250) for line in opened))
            print(f"  {asked:6d} requests  {api.rss_mb:6.1f} MB")


async def measure_hostile(api: Api) -> None:
    from integration.api.urls import hostile_urls  # noqa: PLC0415

    print("\n10,000 hostile addresses, one after the other (target: none accepted, no 5xx, p99 20 ms)")
    statuses: dict[int, int] = {}
    times = []
    async with lines(api.port, 1) as [line]:
        for url in hostile_urls(10_000, seed=1):
            path = f"{INGEST}/{quote(url.encode('utf-8', 'surrogatepass'), safe='').replace('.', '%2E')}"
            status, spent_ms = await line.ask("POST", path)
            statuses[status] = statuses.get(status, 0) + 1
            times.append(spent_ms)
    print(f"  {quantiles(times)}  {statuses}")


MEASURES = {
    "dispatch": measure_dispatch,
    "throughput": measure_throughput,
    "clients": measure_clients,
    "memory": measure_memory,
    "hostile": measure_hostile,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--store-ms", type=float, default=1.0, help="what the queue's server waits before an answer")
    parser.add_argument("--engines", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.engines:
        asyncio.run(engines(float(os.environ.get("STORE_MS", "1")) / 1000))
        return
    os.environ["STORE_MS"] = str(arguments.store_ms)
    with running_engines_process() as variables, tempfile.TemporaryDirectory() as folder:
        print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, store {arguments.store_ms:g} ms", flush=True)
        for part in arguments.parts:
            if part == "start":
                measure_start(variables, Path(folder))
                continue
            api = Api(variables, Path(folder))
            api.wait()
            asyncio.run(MEASURES[part](api))
            api.stop()
            print(f"  (load {os.getloadavg()[0]:.1f})", flush=True)


if __name__ == "__main__":
    main()
