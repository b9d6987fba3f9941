"""Index runs over one SQLite file, also as a program: `python generations.py FILE FIRST LAST`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import numpy as np

from alexandria.adapters.sqlite.catalog import SqliteCatalog
from alexandria.adapters.sqlite.database import Database
from alexandria.adapters.sqlite.vector_store import SqliteVectorStore
from alexandria.domain.graph import DependencyGraph
from alexandria.ports.vector_store import VectorBatch
from contract.stores import batch_of, graph_of, snapshot_of

SIZE = 200
REPO = "host.example/o/r"


def graph_in(generation: int) -> DependencyGraph:
    """Return a graph whose paths name the generation, but for `same.py`."""
    return graph_of([("same.py", f"g{generation}/{i:03}.py") for i in range(SIZE - 1)])


def batch_in(generation: int) -> VectorBatch:
    """Return the vectors of `graph_in`."""
    rng = np.random.default_rng(generation)
    vectors = {path: rng.standard_normal(64).tolist() for path in graph_in(generation).files}
    return batch_of(REPO, vectors, generation=generation)


async def index(database: Database, generation: int) -> None:
    """Announce, upload, count, activate, sweep."""
    vectors, catalog = SqliteVectorStore(database, chunk_rows=16), SqliteCatalog(database)
    graph = graph_in(generation)
    await catalog.begin(REPO, generation)
    await vectors.upload(batch_in(generation))
    assert await vectors.count(REPO, generation) == SIZE
    await catalog.activate(snapshot_of(REPO, graph, generation=generation), graph)
    await vectors.sweep(REPO, below=generation)


async def main(path: Path, first: int, last: int) -> None:
    """Index one generation after the other, and say when each is done."""
    with Database.open(path) as database:
        for generation in range(first, last + 1):
            await index(database, generation)
            sys.stdout.write(f"{generation}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
