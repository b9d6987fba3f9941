"""Many repositories through several workers while clients ask the API: is anything lost, does memory grow?

    .venv/bin/python benchmarks/stress.py                                  # 40 repositories, a minute or two
    .venv/bin/python benchmarks/stress.py --repositories 1000 --workers 2 --clients 100 --large-files 10000

Everything is a process of its own: the engines of the tests (a real Valkey behind Upstash's protocol, a real
PostgreSQL, the stand-in for Qdrant), the API (MODE=CLOUD), and the workers (MODE=EDGE), which clone from a folder of
small repositories made here and one large one. Clients ask at random with a pause between, as people do; the
large repository is submitted in the middle. At the end every repository must be indexed with all of its files, each
file with one vector, no job pending, running or failed, and no temporary directory left. Exit code 1 if not.

Memory is the resident set of each process, its children with it, sampled every few seconds while jobs ran; `growth`
is the slope of a straight line through the samples after the first fifth, over the whole run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = [sys.executable, "-m", "alexandria.entrypoints.start"]
HOST = "https://github.com"
LARGE = "stress/large"
SHAPES = 20
Samples = dict[str, list[tuple[float, float]]]
V1 = "/api/v1"


@dataclass
class Tally:
    """What the clients saw."""

    statuses: Counter[int] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def add(self, kind: str, status: int, seconds: float) -> None:
        self.statuses[status] += 1
        self.seconds.setdefault(kind, []).append(seconds)


# --- Repositories -------------------------------------------------------------------------------------------------


def tree(modules: int, seed: int) -> dict[str, str]:
    """Return a Python package in which every module but the first imports up to three earlier ones."""
    draw = random.Random(seed)
    names = [f"shop/part{i // 40:03}/module{i:05}" for i in range(modules)]
    files = {}
    for i, name in enumerate(names):
        earlier = draw.sample(names[max(0, i - 200) : i], min(i, draw.randint(1, 3))) if i else []
        files[f"{name}.py"] = "".join(f"import {other.replace('/', '.')}\n" for other in earlier)
    return files


def make_repository(folder: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    identity = ["-c", "user.name=Stress", "-c", "user.email=stress@example.org", "-c", "init.defaultBranch=main"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "A state"]):
        subprocess.run(["git", *identity, *command], cwd=folder, check=True)


def make_mirror(mirror: Path, count: int, large_files: int) -> dict[str, int]:
    """Make `count` small repositories of 20 shapes, and a large one; return the files of each by its name."""
    shapes = []
    for shape in range(min(SHAPES, count)):
        folder = mirror.parent / f"shape{shape}"
        make_repository(folder, tree(5 + 3 * shape, shape))
        shapes.append((folder, 5 + 3 * shape))
    files = {}
    for i in range(count):
        folder, size = shapes[i % len(shapes)]
        name = f"stress/repo{i:05}"
        # What a clone needs; the work tree is not.
        shutil.copytree(folder / ".git", mirror / "github.com" / name, ignore=shutil.ignore_patterns("hooks"))
        files[name] = size
    if large_files:
        make_repository(mirror / "github.com" / LARGE, tree(large_files, 99))
        files[LARGE] = large_files
    return files


# --- Processes ----------------------------------------------------------------------------------------------------


async def serve_engines() -> None:
    """Run the engines of the tests until stdin ends; print the variables that name them."""
    sys.path.insert(0, str(ROOT / "tests"))
    from support.engines import running_engines  # noqa: PLC0415  # only this process needs it

    async with running_engines("stress") as engines:
        print(json.dumps(engines.environment("CLOUD")), flush=True)
        await asyncio.to_thread(sys.stdin.read)


@contextlib.contextmanager
def engines() -> Iterator[dict[str, str]]:
    command = [sys.executable, __file__, "--engines"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("both are pipes")
        try:
            variables: dict[str, str] = json.loads(process.stdout.readline())
            yield variables
        finally:
            process.stdin.close()


@contextlib.contextmanager
def started(command: list[str], variables: dict[str, str], log: Path) -> Iterator[psutil.Process]:
    """Start a half; at the end tell it to stop and wait, as an operator would."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=variables, stdout=output, stderr=output, start_new_session=True)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(90)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
        if code != 0:
            print(f"{log.stem} ended with {code}:\n{log.read_text()[-2000:]}", file=sys.stderr)


def migrate(variables: dict[str, str]) -> None:
    subprocess.run([*PROGRAM, "migrate"], env=variables, check=True, stdout=subprocess.DEVNULL)


def resident_mb(process: psutil.Process) -> float:
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += one.memory_info().rss
    return total / 1e6


# --- Clients ------------------------------------------------------------------------------------------------------


async def ask(client: httpx.AsyncClient, tally: Tally, kind: str, route: str, query: dict[str, str | int]) -> None:
    began = time.perf_counter()
    try:
        answer = await client.get(route, params=query)
    except httpx.HTTPError as error:
        tally.broken[type(error).__name__] += 1
    else:
        tally.add(kind, answer.status_code, time.perf_counter() - began)


async def be_a_client(client: httpx.AsyncClient, tally: Tally, names: list[str], seed: int, pause_s: float) -> None:
    """Ask one thing after the other for ever; what is not indexed yet answers 404, which is well."""
    draw = random.Random(seed)
    while True:
        name, module = draw.choice(names), f"shop/part000/module{draw.randint(0, 4):05}.py"
        kinds: dict[str, tuple[str, dict[str, str | int]]] = {
            "status": (f"{V1}/ingestion/worker/status", {}),
            "history": (f"{V1}/ingestion/jobs/history", {"limit": 20}),
            "repositories": (f"{V1}/repositories", {"limit": 20}),
            "similar": (f"{V1}/search/similar", {"repo": f"github.com/{name}", "path": module, "k": 5}),
            "neighbors": (f"{V1}/graph/neighbors", {"repo": f"github.com/{name}", "path": module}),
            "live": ("/health/live", {}),
        }
        kind = draw.choice([*kinds, "similar", "neighbors"])
        await ask(client, tally, kind, *kinds[kind])
        await asyncio.sleep(draw.expovariate(1 / pause_s))


async def submit_all(client: httpx.AsyncClient, tally: Tally, names: list[str], token: str) -> None:
    for name in names:
        while True:
            began = time.perf_counter()
            answer = await client.post(
                f"{V1}/ingestion/jobs",
                json={"repo_url": f"{HOST}/{name}"},
                headers={"Authorization": f"Bearer {token}"},
            )
            tally.add("submit", answer.status_code, time.perf_counter() - began)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            await asyncio.sleep(float(answer.headers["retry-after"]))  # as the answer asks; it is counted as refused
        answer.raise_for_status()


async def indexed(client: httpx.AsyncClient) -> dict[str, int]:
    """Return the files of every indexed repository, page by page."""
    found: dict[str, int] = {}
    cursor = ""
    while True:
        answer = await client.get(f"{V1}/repositories", params={"limit": 100, "cursor": cursor})
        answer.raise_for_status()
        page = answer.json()
        found |= {one["repo"].removeprefix("github.com/"): one["files"] for one in page["repositories"]}
        cursor = page["next"]
        if not cursor:
            return found


async def idle(client: httpx.AsyncClient) -> bool:
    """Whether no job waits or runs."""
    answer = await client.get(f"{V1}/ingestion/jobs")
    answer.raise_for_status()
    now = answer.json()
    return not now["pending"] and not now["running"]


async def sample(
    processes: dict[str, psutil.Process], into: dict[str, list[tuple[float, float]]], each_s: float
) -> None:
    began = time.monotonic()
    while True:
        for name, process in processes.items():
            into.setdefault(name, []).append((time.monotonic() - began, resident_mb(process)))
        await asyncio.sleep(each_s)


@contextlib.asynccontextmanager
async def in_the_background(*tasks: Any) -> AsyncIterator[None]:
    running = [asyncio.ensure_future(task) for task in tasks]
    try:
        yield
    finally:
        for task in running:
            task.cancel()
        for ended in await asyncio.gather(*running, return_exceptions=True):
            if isinstance(ended, Exception):  # not a cancellation: a fault of this program
                raise ended


# --- The run ------------------------------------------------------------------------------------------------------


async def vectors_of(variables: dict[str, str], names: list[str]) -> dict[str, int]:
    """Return how many vectors the current generation of each repository has, by the store's own count."""
    os.environ.update(variables)
    from alexandria.domain.repo_url import RepoUrl  # noqa: PLC0415  # after the variables are set
    from alexandria.entrypoints.containers import open_for  # noqa: PLC0415
    from alexandria.entrypoints.settings import Settings  # noqa: PLC0415

    counted = {}
    async with open_for(Settings.load()) as plane:
        for name in names:
            snapshot = await plane.repo(RepoUrl.parse(f"{HOST}/{name}").key)
            counted[name] = await plane.vectors.count(snapshot.repo, snapshot.generation)
    return counted


async def run(options: argparse.Namespace, folder: Path) -> bool:
    began = time.monotonic()
    files = make_mirror(folder / "mirror", options.repositories, options.large_files)
    print(f"{len(files)} repositories, {sum(files.values()):,} files, made in {time.monotonic() - began:.0f} s")
    scratch = folder / "scratch"
    scratch.mkdir()
    with engines() as store, contextlib.ExitStack() as halves:
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        rules = {"QUEUE_CAP": str(len(files) + 10), "REQUESTS_PER_MINUTE": "1000000", "TMPDIR": str(scratch)}
        cloud = kept | store | rules | {"MODE": "CLOUD", "STATUS_CACHE_SECONDS": "2", "LOG_LEVEL": "WARNING"}
        edge = kept | store | rules | {"MODE": "EDGE", "REPO_MIRROR": str(folder / "mirror")}
        await asyncio.to_thread(migrate, cloud)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        api = [*PROGRAM, "api", "--host", "127.0.0.1", "--port", str(port)]
        processes = {"api": halves.enter_context(started(api, cloud, folder / "api.log"))}
        for i in range(options.workers):
            worker = started([*PROGRAM, "worker"], edge | {"WORKER_ID": f"w{i}"}, folder / f"worker{i}.log")
            processes[f"worker {i}"] = halves.enter_context(worker)
        well = await drive(options, f"http://127.0.0.1:{port}", cloud, files, processes)
    left = sorted(path.name for path in scratch.iterdir())
    print(f"temporary directories left: {len(left)} {left[:5]}")
    return well and not left


async def drive(
    options: argparse.Namespace,
    address: str,
    cloud: dict[str, str],
    files: dict[str, int],
    processes: dict[str, psutil.Process],
) -> bool:
    small = [name for name in files if name != LARGE]
    tally, memory = Tally(), Samples()
    limits = httpx.Limits(max_connections=options.clients + 10, max_keepalive_connections=options.clients + 10)
    async with httpx.AsyncClient(base_url=address, timeout=60, limits=limits) as client:
        while True:
            with contextlib.suppress(httpx.TransportError):
                if (await client.get("/health/live")).status_code == 200:
                    break
            await asyncio.sleep(0.2)
        clients = [be_a_client(client, tally, small, seed, options.pause) for seed in range(options.clients)]
        began = time.monotonic()
        async with in_the_background(sample(processes, memory, options.sample), *clients):
            half = len(small) // 2
            await submit_all(client, tally, small[:half], cloud["PHAROS_ADMIN_TOKEN"])
            if LARGE in files:
                await submit_all(client, tally, [LARGE], cloud["PHAROS_ADMIN_TOKEN"])
            await submit_all(client, tally, small[half:], cloud["PHAROS_ADMIN_TOKEN"])
            print(f"submitted in {time.monotonic() - began:.0f} s")
            while not await idle(client):
                if time.monotonic() - began > options.limit:
                    print("the limit is over")
                    break
                await asyncio.sleep(2)
            seconds = time.monotonic() - began
        found = await indexed(client)
        history = (await client.get(f"{V1}/ingestion/jobs/history", params={"limit": 100})).json()["history"]
        quiet = await idle(client)
    missing = sorted(files.keys() - found.keys())
    wrong = {name: (found[name], count) for name, count in files.items() if name in found and found[name] != count}
    vectors = await vectors_of(cloud, sorted(files.keys() & found.keys()))
    uneven = {name: (count, files[name]) for name, count in vectors.items() if count != files[name]}
    report(seconds, len(found), tally, memory, processes)
    print(f"lost: {len(missing)} {missing[:5]}; with other files: {wrong}; with other vectors: {uneven}")
    print(f"the last {len(history)} records: {dict(Counter(one['status'] for one in history))}; jobs left: {not quiet}")
    refused = {status: count for status, count in tally.statuses.items() if status not in {200, 202, 404}}
    failed = [one for one in history if one["status"] != "complete"]
    return not (missing or wrong or uneven or refused or tally.broken or failed) and quiet


def report(
    seconds: float,
    done: int,
    tally: Tally,
    memory: Samples,
    processes: dict[str, psutil.Process],
) -> None:
    print(f"{done} repositories in {seconds:.0f} s: {done / seconds * 3600:,.0f} an hour")
    total = sum(tally.statuses.values())
    print(f"{total:,} requests, {total / seconds:.0f} a second")
    print(f"answers {dict(tally.statuses)}, broken {dict(tally.broken)}")
    for kind, times in sorted(tally.seconds.items()):
        p50, p95, p99 = np.percentile(np.array(times) * 1000, [50, 95, 99])
        print(f"  {kind:<13} {len(times):>7,} times  p50 {p50:7.1f} ms  p95 {p95:7.1f} ms  p99 {p99:7.1f} ms")
    for name, samples in memory.items():
        later = np.array(samples[len(samples) // 5 :])
        slope = float(np.polyfit(later[:, 0], later[:, 1], 1)[0]) if len(later) > 2 else float("nan")
        used = sum(processes[name].cpu_times()[:4])
        first, last, most = later[0, 1], later[-1, 1], later[:, 1].max()
        print(f"  {name:<10} {first:6.0f} MB early, {last:6.0f} at the end, {most:6.0f} at most")
        print(f"  {'':<10} growth {slope * seconds:+.1f} MB over the run; {used:.0f} CPU-seconds")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repositories", type=int, default=40, help="small ones, of 5 to 62 files")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--pause", type=float, default=1.0, help="mean seconds between two requests of a client")
    parser.add_argument("--large-files", type=int, default=500, help="files of the large repository; 0: none")
    parser.add_argument("--limit", type=float, default=7200, help="seconds after which to give up")
    parser.add_argument("--sample", type=float, default=2.0, help="seconds between two looks at the memory")
    parser.add_argument("--engines", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.engines:
        asyncio.run(serve_engines())
        return 0
    with tempfile.TemporaryDirectory(prefix="alexandria-stress-") as folder:
        return 0 if asyncio.run(run(options, Path(folder))) else 1


if __name__ == "__main__":
    raise SystemExit(main())
