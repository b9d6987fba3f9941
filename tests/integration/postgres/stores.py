"""Stores over the server of this run, and an index run over them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from alexandria.adapters.postgres.catalog import PostgresCatalog
from alexandria.adapters.postgres.database import Patience, PostgresDatabase
from alexandria.adapters.postgres.schema import CATALOG, VECTORS
from alexandria.adapters.postgres.vector_store import PgVectorStore
from alexandria.ports.catalog import RepositoryNotFoundError
from alexandria.ports.vector_store import VectorBatch
from contract.stores import batch_of, check_hits, graph_of, snapshot_of
from support.postgres import emptied_database

NAME = "integration"
"""The database of these tests, emptied for each."""

REPO = "host.example/o/r"
SIZE = 20

BRIEF = Patience(backoff_s=0.001)
"""As long as ever, without the waits between tries."""

ONCE = Patience(tries=1)


@dataclass(frozen=True)
class Stores:
    """What one program has open."""

    database: PostgresDatabase
    catalog: PostgresCatalog
    vectors: PgVectorStore

    async def index(self, generation: int) -> None:
        """Announce, upload, count, activate, sweep."""
        batch = batch_in(generation)
        graph = graph_of([("same.py", path) for path in batch.embeddings.paths if path != "same.py"])
        await self.catalog.begin(REPO, generation)
        await self.vectors.upload(batch)
        assert await self.vectors.count(REPO, generation) == SIZE
        await self.catalog.activate(snapshot_of(REPO, graph, generation=generation), graph)
        await self.vectors.sweep(REPO, below=generation)

    async def visible(self) -> int | None:
        """Return the generation that is searched, after a search was held against all of it."""
        try:
            generation = (await self.catalog.snapshot(REPO)).generation
        except RepositoryNotFoundError:
            return None
        batch = batch_in(generation)
        assert tuple(file.path for file in await self.catalog.files(REPO)) == batch.embeddings.paths
        check_hits(await self.vectors.similar(REPO, generation, "same.py", k=SIZE), batch, "same.py", k=SIZE)
        return generation

    async def generations_stored(self) -> list[int]:
        """Return the generations of which anything is in the tables of the vectors."""
        query = (
            "SELECT DISTINCT coalesce(generation, -1) AS generation FROM alexandria.vectors "
            "FULL JOIN alexandria.vector_sets ON id = set_id ORDER BY 1"
        )
        rows = await self.database.read(VECTORS, lambda connection: connection.fetch(query))
        return [row["generation"] for row in rows]


def batch_in(generation: int) -> VectorBatch:
    """Return vectors that are those of this generation alone."""
    head = [[1.0, i, generation] + [0.0] * 61 for i in range(SIZE)]
    paths = ["same.py", *(f"g{generation}/{i:03}.py" for i in range(SIZE - 1))]
    return batch_of(REPO, dict(zip(paths, head, strict=True)), generation=generation)


@asynccontextmanager
async def open_stores(dsn: str, patience: Patience = BRIEF) -> AsyncIterator[Stores]:
    """Open stores over `dsn`; nothing is connected yet."""
    async with PostgresDatabase(dsn, patience=patience) as database:
        yield Stores(database, PostgresCatalog(database), PgVectorStore(database, chunk_rows=16))


async def migrated(dsn: str) -> str:
    """Bring a database up to date."""
    async with PostgresDatabase(dsn) as database:
        await database.migrate(CATALOG)
        await database.migrate(VECTORS)
    return dsn


async def empty_dsn() -> str:
    """Return the address of the database of these tests, migrated and emptied."""
    return await migrated(await emptied_database(NAME))
