"""How fast the vector stores take and find vectors, and what they take of memory and disk.

    python benchmarks/stores.py                          # memory, SQLite and plain NumPy; 10,000 and 100,000 vectors
    python benchmarks/stores.py --sizes 1000000 --stores sqlite numpy
    python benchmarks/stores.py --stores sqlite qdrant-local pgvector --sizes 10000

Vectors are normally distributed, 64 dimensions. `one` puts all into one repository, so a search
compares with all of them; `many` puts 1,000 into each repository, and a search is inside one.
Upload and search run in processes of their own. `memory` is what the searching process grew by,
from before it opened the store until after the searches; for stores that live in that process
alone it includes the vectors. Recall is against float64. Qdrant over HTTP is left out: the server
of the tests is ours and says nothing of Qdrant's speed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from alexandria.adapters.memory.vector_store import MemoryVectorStore
from alexandria.adapters.postgres.database import PostgresDatabase
from alexandria.adapters.postgres.vector_store import PgVectorStore
from alexandria.adapters.qdrant.vector_store import LocalQdrantVectorStore
from alexandria.adapters.sqlite.database import Database
from alexandria.adapters.sqlite.vector_store import SqliteVectorStore
from alexandria.domain.embedding import DIMENSION, EmbeddingReport, EmbeddingSet
from alexandria.domain.language import Language
from alexandria.ports.vector_store import VectorBatch, VectorStore

K = 10
REPO_SIZE = 1000
SEARCHES = 300


def rows_of(repo: int, count: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the vectors of a repository; the same in every process."""
    return np.random.default_rng(repo).standard_normal((count, DIMENSION), dtype=np.float32)


def path_of(i: int) -> str:
    return f"src/package{i // 50:05}/module{i:07}.py"


def batch_of(repo: int, count: int) -> VectorBatch:
    rows = rows_of(repo, count)
    embeddings = EmbeddingSet(
        tuple(map(path_of, range(count))), rows, np.zeros(count, np.bool_), EmbeddingReport("node2vec", 0, "cpu", 0.0)
    )
    languages = (Language.PYTHON,) * count
    return VectorBatch(f"host.example/o/r{repo}", f"https://host.example/o/r{repo}", 1, "c0ffee", languages, embeddings)


class Bench(ABC):
    """A store as the benchmark drives it: everything in `directory`."""

    lasting = True  # what was uploaded is found by another process

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.opened = ExitStack()

    @abstractmethod
    async def upload(self, repo: int, count: int) -> float:
        """Store a repository; return the seconds without making its vectors."""

    @abstractmethod
    async def search(self, repo: int, i: int) -> Sequence[int]:
        """Return the numbers of the K files nearest to file `i`."""

    async def disk_bytes(self) -> int:
        """Return what it takes of the disk."""
        return sum(f.stat().st_size for f in self.directory.rglob("*") if f.is_file())


class PortBench(Bench):
    """Any adapter of the port."""

    store: VectorStore

    async def upload(self, repo: int, count: int) -> float:
        batch = batch_of(repo, count)
        started = time.perf_counter()
        await self.store.upload(batch)
        return time.perf_counter() - started

    async def search(self, repo: int, i: int) -> Sequence[int]:
        hits = await self.store.similar(f"host.example/o/r{repo}", 1, path_of(i), k=K)
        return [int(hit.path[-10:-3]) for hit in hits]


class MemoryBench(PortBench):
    lasting = False

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.store = MemoryVectorStore()


class SqliteBench(PortBench):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.store = SqliteVectorStore(self.opened.enter_context(Database.open(directory / "alexandria.db")))


class PgVectorBench(PortBench):
    """PostgreSQL as it comes, in processes of its own: its memory is not counted."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        from postgres import running  # noqa: PLC0415 (starts a server; the other stores need none)

        self.database = PostgresDatabase(self.opened.enter_context(running(directory)))
        self.store = PgVectorStore(self.database)

    async def upload(self, repo: int, count: int) -> float:
        from postgres import migrate  # noqa: PLC0415

        await migrate(self.database)
        return await super().upload(repo, count)

    async def disk_bytes(self) -> int:
        from postgres import size_bytes  # noqa: PLC0415

        return await size_bytes(self.database)


class NumpyBench(Bench):
    """What the stores are measured against: unit vectors in an array, no paths, no store."""

    lasting = False

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.units: dict[int, np.ndarray[Any, np.dtype[np.float32]]] = {}

    async def upload(self, repo: int, count: int) -> float:
        rows = rows_of(repo, count)
        started = time.perf_counter()
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        self.units[repo] = rows
        return time.perf_counter() - started

    async def search(self, repo: int, i: int) -> Sequence[int]:
        scores = self.units[repo] @ self.units[repo][i]
        scores[i] = -2
        best = np.argpartition(-scores, K)[:K]
        return [int(j) for j in best[np.argsort(-scores[best])]]


class QdrantLocalBench(PortBench):
    """The local mode of Qdrant's client: its lock and its thread end with the process."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.store = LocalQdrantVectorStore(str(directory / "qdrant"))


STORES: dict[str, type[Bench]] = {
    "numpy": NumpyBench,
    "memory": MemoryBench,
    "sqlite": SqliteBench,
    "qdrant-local": QdrantLocalBench,
    "pgvector": PgVectorBench,
}


def resident_bytes() -> int:
    """Return the memory of this process that is in RAM (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def layout(kind: str, size: int) -> list[tuple[int, int]]:
    """Return (repository, files) of each repository."""
    return [(0, size)] if kind == "one" else [(repo, REPO_SIZE) for repo in range(size // REPO_SIZE)]


async def upload_all(bench: Bench, repos: list[tuple[int, int]]) -> dict[str, float]:
    seconds = sum([await bench.upload(repo, count) for repo, count in repos])
    return {"upserts_per_s": sum(count for _, count in repos) / seconds}


async def search_all(bench: Bench, repos: list[tuple[int, int]], before: int) -> dict[str, float]:
    # Few repositories, so that most searches are on a matrix that is in memory, as a person's are.
    rng = np.random.default_rng(7)
    asked = [(repos[int(rng.integers(min(10, len(repos))))], int(rng.integers(repos[0][1]))) for _ in range(SEARCHES)]
    started = time.perf_counter()
    await bench.search(asked[0][0][0], asked[0][1])
    first_ms = (time.perf_counter() - started) * 1e3
    times, answers = [], []
    for (repo, _), i in asked:
        started = time.perf_counter()
        answers.append(await bench.search(repo, i))
        times.append(time.perf_counter() - started)
    memory = resident_bytes() - before
    return {
        "first_ms": first_ms,
        "p50_ms": float(np.percentile(times, 50) * 1e3),
        "p95_ms": float(np.percentile(times, 95) * 1e3),
        "recall_at_10": float(np.mean([recall(repo, i, a) for (repo, i), a in zip(asked[:50], answers, strict=False)])),
        "memory_mb": memory / 1e6,
    }


@cache
def exact_units(repo: int, count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    rows = rows_of(repo, count).astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def recall(repo: tuple[int, int], i: int, answer: Sequence[int]) -> float:
    units = exact_units(*repo)
    scores = units @ units[i]
    scores[i] = -np.inf
    return len(set(np.argsort(-scores)[:K].tolist()) & set(answer)) / K


async def child(name: str, kind: str, size: int, directory: Path, steps: str) -> dict[str, float]:
    before = resident_bytes()
    bench = STORES[name](directory)
    repos = layout(kind, size)
    figures: dict[str, float] = {}
    with bench.opened:
        if "upload" in steps:
            figures |= await upload_all(bench, repos)
        if "search" in steps:
            figures |= await search_all(bench, repos, before)
        figures["disk_mb"] = await bench.disk_bytes() / 1e6
    return figures


def measure(name: str, kind: str, size: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as directory:
        figures: dict[str, float] = {}
        for steps in ("upload", "search") if STORES[name].lasting else ("upload+search",):
            command = [sys.executable, __file__, "--child", name, kind, str(size), directory, steps]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            figures |= json.loads(done.stdout)
    return figures


COLUMNS = ("upserts_per_s", "first_ms", "p50_ms", "p95_ms", "recall_at_10", "memory_mb", "disk_mb")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--stores", nargs="+", choices=STORES, default=["numpy", "memory", "sqlite"])
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        name, kind, size, directory, steps = arguments.child
        print(json.dumps(asyncio.run(child(name, kind, int(size), Path(directory), steps))))
        return
    print(f"{'store':>14} {'vectors':>9} {'layout':>6}", *(f"{column:>13}" for column in COLUMNS))
    results = []
    for size in arguments.sizes:
        for kind in ("one", "many"):
            for name in arguments.stores:
                figures = measure(name, kind, size)
                results.append({"store": name, "vectors": size, "layout": kind, **figures})
                print(f"{name:>14} {size:>9,} {kind:>6}", *(f"{figures[c]:>13,.3f}" for c in COLUMNS), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
