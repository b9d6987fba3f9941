"""The API as a process of its own over real engines, which run in a thread beside the test."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from alexandria.entrypoints.containers import open_for
from alexandria.entrypoints.control_plane import ControlPlane
from alexandria.entrypoints.migrate import migrate
from alexandria.entrypoints.settings import Mode, Settings
from contract.stores import batch_of, graph_of, snapshot_of, vector
from support.command import environment
from support.engines import ADMIN_TOKEN, Engines, running_engines

T = TypeVar("T")

START_S = 60.0
_NO_TLS = ssl.SSLContext(
    ssl.PROTOCOL_TLS_CLIENT
)  # nothing here is encrypted; loading certificates takes 20 ms a client
API = [sys.executable, "-m", "alexandria.entrypoints.start", "api"]
SERVE = [sys.executable, "-m", "alexandria.entrypoints.start", "serve"]
ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
REPO = "github.com/test/shop"
EDGES = [("shop/app.py", "shop/cart.py"), ("shop/orders.py", "shop/cart.py"), ("shop/cart.py", "shop/money.py")]
LONELY = "shop/lonely.py"
# A limit of its own has a test; all others must not meet it.
UNLIMITED = {"REQUESTS_PER_MINUTE": "1000000000", "TRUSTED_PROXIES": "127.0.0.1"}


class Loop:
    """An event loop in a thread: engines live there while a test, which is plain code, waits for HTTP."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` there and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(START_S)

    def call_soon(self, work: Callable[[], object]) -> None:
        """Run `work` there without waiting for it."""
        self._loop.call_soon_threadsafe(work)

    def close(self) -> None:
        """End the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@dataclass
class RunningApi:
    """A process that serves.

    Attributes:
        process: It.
        url: Where it listens.
        log: The file that its stderr goes to.
        started_s: Wall seconds from its start to the first answer of `/health/live`.
    """

    process: subprocess.Popen[bytes]
    url: str
    log: Path
    started_s: float

    def client(self, **headers: str) -> httpx.Client:
        """Return a client, which must be closed."""
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, verify=_NO_TLS)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Tell it to stop; return its exit code."""
        self.process.send_signal(how)
        return self.process.wait(timeout=START_S)

    @property
    def text_of_log(self) -> str:
        """What it wrote to stderr so far."""
        return self.log.read_text()


def free_port() -> int:
    """Return a port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


@contextmanager
def running_api(
    data: Path, variables: Mapping[str, str], command: Sequence[str] = API, *arguments: str
) -> Iterator[RunningApi]:
    """Start it and wait until it answers; leaving stops it."""
    port = free_port()
    with tempfile.NamedTemporaryFile(suffix=".log", dir=data, delete=False) as log:
        began = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--port", str(port), *arguments],
            env=environment(data, **{**UNLIMITED, **variables}),
            cwd=data,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
    api = RunningApi(process, f"http://127.0.0.1:{port}", Path(log.name), 0.0)
    try:
        wait_until_alive(api)
        api.started_s = time.perf_counter() - began
        yield api
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=START_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_until_alive(api: RunningApi) -> None:
    """Ask until it answers."""
    deadline = time.monotonic() + START_S
    with api.client() as client:
        while True:
            assert api.process.poll() is None, api.text_of_log
            assert time.monotonic() < deadline, api.text_of_log
            try:
                assert client.get("/health/live").status_code == 200
            except httpx.TransportError:
                time.sleep(0.01)
            else:
                return


@dataclass
class Cloud:
    """Engines, and an API over them.

    Attributes:
        loop: Where the engines live.
        engines: The three of them.
        plane: The same stores, opened in `loop`.
        data: A directory for the processes.
    """

    loop: Loop
    engines: Engines
    plane: ControlPlane
    data: Path

    def variables(self, **more: str) -> dict[str, str]:
        """Return the environment of a process in MODE=CLOUD."""
        return self.engines.environment("CLOUD", HEALTH_CACHE_SECONDS="0.01", **more)

    def empty_queue(self) -> None:
        """Forget every job."""
        self.loop.run(self._flush())

    async def _flush(self) -> None:
        await self.plane.queue._store.command("FLUSHALL")  # type: ignore[attr-defined]  # its adapter is known here


@contextmanager
def running_cloud(name: str, data: Path) -> Iterator[Cloud]:
    """Start the engines, migrate, index a small repository, and open the stores."""
    loop, stack = Loop(), AsyncExitStack()

    async def opened() -> tuple[Engines, ControlPlane]:
        engines = await stack.enter_async_context(running_engines(name))
        settings = _settings(engines.environment("CLOUD"))
        await migrate(settings)
        plane = await stack.enter_async_context(open_for(settings))
        await put_in(plane, REPO)
        return engines, plane

    try:
        try:
            engines, plane = loop.run(opened())
            yield Cloud(loop, engines, plane, data)
        finally:
            loop.run(stack.aclose())
    finally:
        loop.close()


def _settings(variables: Mapping[str, str]) -> Settings:
    values: dict[str, object] = {name.lower(): value for name, value in variables.items()}
    return Settings.load(**(values | {"mode": Mode(variables["MODE"])}))


_generations = itertools.count(1)  # not from the queue, whose counter goes when a test empties it


async def put_in(plane: ControlPlane, repo: str) -> int:
    """Make a small repository searchable, again if it is; return its generation."""
    graph = graph_of(EDGES, files=[LONELY])
    generation = next(_generations)
    linked = {path for edge in EDGES for path in edge}
    batch = batch_of(
        repo,
        {p: vector(1.0, i / 10, 0.1) if p in linked else vector() for i, p in enumerate(graph.files)},
        generation=generation,
    )
    await plane.catalog.begin(repo, generation)
    await plane.vectors.upload(batch)
    await plane.catalog.activate(snapshot_of(repo, graph, generation=generation), graph)
    return generation


def spoken(url: str, request: bytes) -> httpx.Response:
    """Send bytes as they are to the server at `url`, and return the answer that comes back."""
    parts = urlsplit(url)
    with closing(socket.create_connection((parts.hostname, parts.port), timeout=30)) as line:
        answer = b""
        with suppress(ConnectionError):  # it may be closed before all is sent
            line.sendall(request)
        with suppress(ConnectionError):
            while chunk := line.recv(65536):
                answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in rest)]
    return httpx.Response(int(first.split(" ")[1]), headers=headers, content=body)


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    """Return the resident memory of a process in megabytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
