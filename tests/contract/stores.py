"""Every vector store and catalog that the contract suites are held against, and what is put into them.

An adapter joins the suites by one more entry in `VECTOR_STORES` or `CATALOGS`; a deployment joins
the stateful test by one in `DEPLOYMENTS`.
"""

from __future__ import annotations

import itertools
import math
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from alexandria.adapters.memory.catalog import MemoryCatalog
from alexandria.adapters.memory.vector_store import MemoryVectorStore
from alexandria.adapters.postgres import schema
from alexandria.adapters.postgres.catalog import PostgresCatalog
from alexandria.adapters.postgres.database import PostgresDatabase
from alexandria.adapters.postgres.vector_store import PgVectorStore
from alexandria.adapters.qdrant.vector_store import LocalQdrantVectorStore, QdrantVectorStore
from alexandria.adapters.sqlite.catalog import SqliteCatalog
from alexandria.adapters.sqlite.database import Database
from alexandria.adapters.sqlite.vector_store import SqliteVectorStore
from alexandria.domain.embedding import DIMENSION, EmbeddingReport, EmbeddingSet
from alexandria.domain.graph import DependencyGraph, ImportCounts
from alexandria.domain.imports.outcome import EdgeKind
from alexandria.domain.language import Language
from alexandria.domain.snapshot import Snapshot
from alexandria.ports.catalog import Catalog
from alexandria.ports.vector_store import SimilarFile, VectorBatch, VectorStore
from npz_vectors import NpzVectorStore
from support.postgres import emptied_database, postgres_server
from support.qdrant_rest import API_KEY, shared_server

TOLERANCE = 1e-5
"""How far a similarity may be from the exact value, says the port."""

NOW = datetime(2026, 5, 1, 12, 0, 0, 250_000, tzinfo=UTC)


# Main memory where the system offers it: every commit is synced to the disk, and there are thousands.
_RAM = Path("/dev/shm")  # noqa: S108 (a private directory is made in it)


@contextmanager
def store_directory() -> Iterator[Path]:
    """Make a directory for the files of a store, gone when the test is."""
    with tempfile.TemporaryDirectory(dir=_RAM if _RAM.is_dir() else None) as directory:
        yield Path(directory)


@asynccontextmanager
async def memory_vectors(_directory: Path) -> AsyncIterator[VectorStore]:
    yield MemoryVectorStore()


@asynccontextmanager
async def sqlite_vectors(directory: Path) -> AsyncIterator[VectorStore]:
    with Database.open(directory / "alexandria.db") as database:
        yield SqliteVectorStore(database, chunk_rows=50)


@asynccontextmanager
async def sqlite_vectors_in_tiny_chunks(directory: Path) -> AsyncIterator[VectorStore]:
    with Database.open(directory / "alexandria.db") as database:
        yield SqliteVectorStore(database, chunk_rows=3)


@asynccontextmanager
async def qdrant_vectors(directory: Path) -> AsyncIterator[VectorStore]:
    """Speak to the test server, which outlives this: two that name the same directory share a collection."""
    async with QdrantVectorStore(
        shared_server().url, api_key=API_KEY, timeout_s=60.0, collection=directory.name, batch_rows=200
    ) as store:
        yield store
    shared_server().collections.pop(directory.name, None)


@asynccontextmanager
async def qdrant_vectors_in_tiny_batches(directory: Path) -> AsyncIterator[VectorStore]:
    async with QdrantVectorStore(
        shared_server().url, api_key=API_KEY, timeout_s=60.0, collection=directory.name, batch_rows=3
    ) as store:
        yield store


@asynccontextmanager
async def local_qdrant_vectors(_directory: Path) -> AsyncIterator[VectorStore]:
    async with LocalQdrantVectorStore(":memory:", batch_rows=200) as store:
        yield store


@asynccontextmanager
async def example_vectors(directory: Path) -> AsyncIterator[VectorStore]:
    """Open the adapter that the guide shows."""
    yield NpzVectorStore(directory)


@asynccontextmanager
async def memory_catalog(_directory: Path) -> AsyncIterator[Catalog]:
    yield MemoryCatalog()


@asynccontextmanager
async def sqlite_catalog(directory: Path) -> AsyncIterator[Catalog]:
    with Database.open(directory / "alexandria.db") as database:
        yield SqliteCatalog(database)


@asynccontextmanager
async def postgres_database(directory: Path) -> AsyncIterator[PostgresDatabase]:
    """Open the database of all these tests; it is emptied for each new directory."""
    known = directory / "postgres"
    dsn = postgres_server().dsn("contract") if known.exists() else await emptied_database("contract")
    async with PostgresDatabase(dsn) as database:
        if not known.exists():
            await database.migrate(schema.CATALOG)
            await database.migrate(schema.VECTORS)
            known.touch()
        yield database


@asynccontextmanager
async def pgvector_vectors(directory: Path) -> AsyncIterator[VectorStore]:
    async with postgres_database(directory) as database:
        yield PgVectorStore(database, chunk_rows=500)


@asynccontextmanager
async def pgvector_vectors_in_tiny_chunks(directory: Path) -> AsyncIterator[VectorStore]:
    async with postgres_database(directory) as database:
        yield PgVectorStore(database, chunk_rows=3)


@asynccontextmanager
async def postgres_catalog(directory: Path) -> AsyncIterator[Catalog]:
    async with postgres_database(directory) as database:
        yield PostgresCatalog(database)


OpenVectors = Callable[[Path], AbstractAsyncContextManager[VectorStore]]
OpenCatalog = Callable[[Path], AbstractAsyncContextManager[Catalog]]

VECTOR_STORES: dict[str, OpenVectors] = {
    "memory": memory_vectors,
    "sqlite": sqlite_vectors,
    "qdrant": qdrant_vectors,
    "qdrant-local": local_qdrant_vectors,
    "docs/examples/npz_vectors.py": example_vectors,
    "pgvector": pgvector_vectors,
}
CATALOGS: dict[str, OpenCatalog] = {
    "memory": memory_catalog,
    "sqlite": sqlite_catalog,
    "postgres": postgres_catalog,
}


@dataclass(frozen=True)
class Deployment:
    """A vector store and a catalog that are used together.

    Attributes:
        vectors: Opens the one.
        catalog: Opens the other.
        lasting: Both find again what was there, when they are opened anew in the same directory.
        examples: How many histories `make test` tries; `make test-long` tries 100 of every deployment.
    """

    vectors: OpenVectors
    catalog: OpenCatalog
    lasting: bool
    examples: int = 100


DEPLOYMENTS = {
    "memory": Deployment(memory_vectors, memory_catalog, lasting=False),
    "sqlite": Deployment(sqlite_vectors_in_tiny_chunks, sqlite_catalog, lasting=True),
    # A step is some thirty requests here, so a hundred histories take a minute.
    "postgres": Deployment(pgvector_vectors_in_tiny_chunks, postgres_catalog, lasting=True, examples=15),
    "qdrant": Deployment(qdrant_vectors_in_tiny_batches, sqlite_catalog, lasting=True, examples=12),
    "qdrant-local": Deployment(local_qdrant_vectors, memory_catalog, lasting=False, examples=25),
}

_numbers = itertools.count()


def fresh_repo() -> str:
    """Return the key of a repository that no test has used: the examples of one property share a store."""
    return f"host.example/owner/repository-{next(_numbers)}"


def vector(*head: float) -> list[float]:
    """Return the vector that begins with `head` and goes on with zeros."""
    return [*head, *[0.0] * (DIMENSION - len(head))]


def batch_of(
    repo: str,
    vectors: Mapping[str, Sequence[float]],
    *,
    generation: int = 1,
    languages: Mapping[str, Language] | None = None,
) -> VectorBatch:
    """Return the batch of these vectors by path; Python where no language is given."""
    paths = tuple(sorted(vectors))
    rows = np.array([vectors[path] for path in paths], np.float32).reshape(len(paths), DIMENSION)
    return VectorBatch(
        repo=repo,
        repo_url=f"https://{repo}",
        generation=generation,
        commit="c0ffee",
        languages=tuple((languages or {}).get(path, Language.PYTHON) for path in paths),
        embeddings=EmbeddingSet(paths, rows, (rows == 0).all(axis=1), EmbeddingReport("node2vec", 0, "cpu", 1.0)),
    )


def random_batch(repo: str, count: int, *, generation: int = 1, seed: int = 0) -> VectorBatch:
    """Return `count` files with normally distributed vectors."""
    rows = np.random.default_rng(seed).standard_normal((count, DIMENSION))
    return batch_of(repo, {f"src/{i:06}.py": row for i, row in enumerate(rows.tolist())}, generation=generation)


def exact_similarities(batch: VectorBatch, path: str) -> dict[str, float]:
    """Return the cosine to `path` of each file that may be near it; plain sums, no code shared with an adapter."""
    rows = dict(zip(batch.embeddings.paths, batch.embeddings.vectors.tolist(), strict=True))
    norms = {p: math.sqrt(math.fsum(x * x for x in row)) for p, row in rows.items()}
    start = rows[path]
    return {
        p: math.fsum(x * y for x, y in zip(start, row, strict=True)) / norms[path] / norms[p]
        for p, row in rows.items()
        if p != path and norms[p]
    }


def check_hits(
    hits: Sequence[SimilarFile],
    batch: VectorBatch,
    path: str,
    *,
    k: int,
    languages: Collection[Language] = (),
    path_prefix: str = "",
) -> None:
    """Hold an answer against the promises of `VectorStore.similar`, computed anew."""
    language_of = dict(zip(batch.embeddings.paths, batch.languages, strict=True))
    fitting = {
        p: similarity
        for p, similarity in exact_similarities(batch, path).items()
        if p.startswith(path_prefix) and (not languages or language_of[p] in languages)
    }
    found = {hit.path: hit.similarity for hit in hits}
    assert len(found) == len(hits) == min(k, len(fitting))
    assert all(hit.language == language_of[hit.path] for hit in hits)
    assert all(abs(similarity - fitting[p]) <= TOLERANCE for p, similarity in found.items())
    assert all(-1.0 <= similarity <= 1.0 for similarity in found.values())
    assert [(-hit.similarity, hit.path) for hit in hits] == sorted((-s, p) for p, s in found.items())
    worst = min(found.values(), default=-math.inf)
    assert all(similarity <= worst + 2 * TOLERANCE for p, similarity in fitting.items() if p not in found)


def graph_of(
    edges: Collection[tuple[str, str]] = (),
    *,
    files: Collection[str] = (),
    languages: Mapping[str, Language] | None = None,
    counts: ImportCounts | None = None,
) -> DependencyGraph:
    """Return the graph of `edges` (importer, imported) and of further `files`."""
    paths = {*files, *itertools.chain.from_iterable(edges)}
    known = {path: (languages or {}).get(path, Language.PYTHON) for path in paths}
    return DependencyGraph.from_edges(known, [(a, b, EdgeKind.IMPORT) for a, b in edges], counts)


def snapshot_of(repo: str, graph: DependencyGraph, *, generation: int = 1) -> Snapshot:
    """Return the snapshot that belongs to `graph`, with something in every field."""
    return Snapshot(
        repo=repo,
        url=f"https://{repo}",
        commit="c0ffee",
        generation=generation,
        indexed_at=NOW,
        files=graph.num_files,
        linked=int((~graph.isolated()).sum()),
        edges=graph.num_edges,
        files_failed=2,
        imports=graph.counts,
        method="node2vec",
        seed=7,
        device="cpu",
        final_loss=0.25,
        edge_auc=0.97,
        ref="main",
        dirty=True,
    )


# `%`, `_`, `*`, `?`, `[` and `\` are special in patterns, quotes in SQL; the rest has other orders in other collations.
PATHS = st.text(st.sampled_from("abB/._%*?[]\\'\"-ä𝄞"), min_size=1, max_size=5)
LANGUAGES = st.sampled_from(Language)
_NUMBERS = st.sampled_from([1.0, -1.0, 2.0]) | st.floats(-(2.0**100), 2.0**100, width=32)
VECTORS = st.lists(_NUMBERS, max_size=4).map(lambda head: vector(*head))


@st.composite
def batches(draw: st.DrawFn, *, min_size: int = 0) -> VectorBatch:
    """Draw the batch of a fresh repository: few directions, so that many are equal or opposite."""
    paths = draw(st.lists(PATHS, min_size=min_size, max_size=10, unique=True))
    return batch_of(
        fresh_repo(),
        {path: draw(VECTORS) for path in paths},
        generation=draw(st.integers(1, 2**53)),
        languages={path: draw(LANGUAGES) for path in paths},
    )


@st.composite
def graphs(draw: st.DrawFn) -> DependencyGraph:
    """Draw a graph of up to ten files with edges of all kinds."""
    languages = draw(st.dictionaries(PATHS, LANGUAGES, max_size=10))
    edges: list[tuple[str, str, EdgeKind]] = []
    if languages:
        files = st.sampled_from(sorted(languages))
        edges = draw(st.lists(st.tuples(files, files, st.sampled_from(EdgeKind)), max_size=25))
    count = st.integers(0, 10**9)
    counts = ImportCounts(*(draw(count) for _ in range(5)))
    return DependencyGraph.from_edges(languages, edges, counts)


def reached_by_hand(graph: DependencyGraph, start: str, depth: int, *, backwards: bool) -> dict[str, int]:
    """Return the depth of each file within `depth` edges of `start`, found by walking level after level."""
    follows: dict[str, set[str]] = {path: set() for path in graph.files}
    for a, b in graph.edges.T.tolist():
        importer, imported = graph.files[a], graph.files[b]
        follows[imported if backwards else importer].add(importer if backwards else imported)
    depths = {start: 0}
    for level in range(1, depth + 1):
        edge_of_known = {p for known in list(depths) if depths[known] == level - 1 for p in follows[known]}
        depths.update({p: level for p in edge_of_known if p not in depths})
    del depths[start]
    return depths


def degrees_by_hand(graph: DependencyGraph) -> dict[str, tuple[int, int]]:
    """Return how many files each file imports, and how many import it."""
    imports = Counter(graph.files[a] for a in graph.edges[0].tolist())
    importers = Counter(graph.files[b] for b in graph.edges[1].tolist())
    return {path: (imports[path], importers[path]) for path in graph.files}


def with_generation(batch: VectorBatch, generation: int) -> VectorBatch:
    """Return the same vectors as another generation."""
    return replace(batch, generation=generation)
