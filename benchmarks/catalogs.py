"""What a catalog of many repositories takes of the disk, and how fast it switches and answers.

    python benchmarks/catalogs.py                      # PostgreSQL and SQLite; 1,000 repositories, 1,000,000 files
    python benchmarks/catalogs.py --repos 100 --files 1000

Paths are words in folders, some four deep; each file imports three others on average, most of them
near it; there are 50 such graphs, taken in turn. `disk` is measured when all are activated.
`activate` and `neighbors` (depth 3, importers) are of one more repository of 10,000 files: `cold`
reads its row from the store for every question, `warm` has it in memory, if the adapter keeps it.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np

from alexandria.adapters.postgres.catalog import PostgresCatalog
from alexandria.adapters.postgres.database import PostgresDatabase
from alexandria.adapters.sqlite.catalog import SqliteCatalog
from alexandria.adapters.sqlite.database import Database
from alexandria.domain.graph import DependencyGraph
from alexandria.domain.imports.outcome import EdgeKind
from alexandria.domain.language import Language
from alexandria.domain.snapshot import Snapshot
from alexandria.ports.catalog import Catalog, Direction
from postgres import migrate, running, size_bytes

BIG = 10_000
IMPORTS_PER_FILE = 3
QUESTIONS = 200


def words(rng: np.random.Generator, count: int) -> list[str]:
    letters = np.array(list("etaoinshrdlu"))
    return ["".join(rng.choice(letters, size=rng.integers(4, 11))) for _ in range(count)]


def graph_of(seed: int, files: int) -> DependencyGraph:
    """Return a graph whose paths and edges look like those of code; the same for the same seed."""
    rng = np.random.default_rng(seed)
    vocabulary = words(rng, 200)
    folders = ["/".join(rng.choice(vocabulary, size=rng.integers(1, 5))) for _ in range(max(1, files // 12))]
    paths = sorted({f"src/{folders[i % len(folders)]}/{rng.choice(vocabulary)}_{i}.py" for i in range(files)})
    importers = rng.integers(files, size=files * IMPORTS_PER_FILE)
    near = np.clip(importers + rng.normal(0, 30, size=len(importers)).astype(int), 0, files - 1)
    hubs = (files * rng.random(len(importers)) ** 4).astype(int)
    imported = np.where(rng.random(len(importers)) < 0.7, near, hubs)
    edges = [(paths[a], paths[b], EdgeKind.IMPORT) for a, b in zip(importers, imported, strict=True) if a != b]
    return DependencyGraph.from_edges(dict.fromkeys(paths, Language.PYTHON), edges)


def snapshot_of(repo: str, graph: DependencyGraph, generation: int) -> Snapshot:
    linked = int((~graph.isolated()).sum())
    now = datetime.now(UTC)
    return Snapshot(
        repo,
        f"https://{repo}",
        "c0ffee",
        generation,
        now,
        graph.num_files,
        linked,
        graph.num_edges,
        imports=graph.counts,
    )


async def fill(catalog: Catalog, repos: int, files: int) -> tuple[float, int]:
    """Activate every repository; return the seconds that took, and the bytes of all paths."""
    seconds, size = 0.0, 0
    kinds = [graph_of(seed, files) for seed in range(min(repos, 50))]  # making them takes longer than storing them
    for i in range(repos):
        graph = kinds[i % len(kinds)]
        started = time.perf_counter()
        await catalog.activate(snapshot_of(f"host.example/o/r{i}", graph, 1), graph)
        seconds += time.perf_counter() - started
        size += sum(map(len, graph.files))
    return seconds, size


async def timed(calls: int, call: Callable[[int], Awaitable[object]]) -> list[float]:
    times = []
    for i in range(calls):
        started = time.perf_counter()
        await call(i)
        times.append((time.perf_counter() - started) * 1e3)
    return times


async def measure(
    catalog: Catalog, cold: Catalog, size: Callable[[], Awaitable[int]], arguments: argparse.Namespace
) -> dict[str, float]:
    seconds, path_bytes = await fill(catalog, arguments.repos, arguments.files)
    disk = await size()
    graph = graph_of(10**6, BIG)
    asked = np.random.default_rng(1).choice(graph.files, QUESTIONS).tolist()
    activations = await timed(5, lambda i: catalog.activate(snapshot_of("big", graph, i + 1), graph))

    def ask(of: Catalog) -> Callable[[int], Awaitable[object]]:
        return lambda i: of.neighbors("big", asked[i], directions=[Direction.IMPORTERS], depth=3)

    warm_ms, cold_ms = await timed(QUESTIONS, ask(catalog)), await timed(QUESTIONS, ask(cold))
    return {
        "disk_mb": disk / 1e6,
        "paths_mb": path_bytes / 1e6,
        "fill_s": seconds,
        "activate_ms": median(activations),
        "warm_p50_ms": float(np.percentile(warm_ms, 50)),
        "warm_p95_ms": float(np.percentile(warm_ms, 95)),
        "cold_p50_ms": float(np.percentile(cold_ms, 50)),
        "cold_p95_ms": float(np.percentile(cold_ms, 95)),
    }


async def postgres(directory: Path, arguments: argparse.Namespace) -> dict[str, float]:
    with running(directory) as dsn:
        async with PostgresDatabase(dsn) as database:
            await migrate(database)
            catalog, cold = PostgresCatalog(database), PostgresCatalog(database, cache_bytes=0)
            return await measure(catalog, cold, lambda: size_bytes(database), arguments)


async def sqlite(directory: Path, arguments: argparse.Namespace) -> dict[str, float]:
    path = directory / "alexandria.db"

    async def size() -> int:
        return path.stat().st_size

    with Database.open(path) as database:
        return await measure(SqliteCatalog(database), SqliteCatalog(database), size, arguments)


STORES = {"postgres": postgres, "sqlite": sqlite}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repos", type=int, default=1000)
    parser.add_argument("--files", type=int, default=1000, help="in each repository")
    parser.add_argument("--stores", nargs="+", choices=STORES, default=list(STORES))
    arguments = parser.parse_args()
    for i, name in enumerate(arguments.stores):
        with tempfile.TemporaryDirectory() as directory:
            figures = asyncio.run(STORES[name](Path(directory), arguments))
        if not i:
            print(f"{'store':>10} {'files':>10}", *(f"{column:>12}" for column in figures))
        files = arguments.repos * arguments.files
        print(f"{name:>10} {files:>10,}", *(f"{value:>12,.2f}" for value in figures.values()), flush=True)


if __name__ == "__main__":
    main()
