"""Vectors in a SQLite file, searched exactly with NumPy."""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from alexandria.adapters.sqlite.database import Database, PortErrors
from alexandria.domain.directions import unit_rows
from alexandria.domain.embedding import DIMENSION
from alexandria.domain.language import Language
from alexandria.ports.exact_search import ExactIndex
from alexandria.ports.packed import PackedLanguages, PackedPaths
from alexandria.ports.vector_store import (
    SimilarFile,
    StoredVectors,
    VectorBatch,
    VectorNotFoundError,
    VectorStore,
    VectorStoreFullError,
    VectorStoreMismatchError,
    VectorStoreUnavailableError,
)

T = TypeVar("T")

CACHE_BYTES = 512 * 2**20
CHUNK_ROWS = 4096
"""1 MiB of vectors, written in one transaction."""

_FLOAT = np.dtype("<f4")
_ERRORS = PortErrors(
    unavailable=VectorStoreUnavailableError, full=VectorStoreFullError, mismatch=VectorStoreMismatchError
)


@dataclass(frozen=True, slots=True, eq=False)
class _Loaded:
    """A matrix in memory, and the state of the set that it was read from."""

    state: tuple[int, int]
    index: ExactIndex
    size_bytes: int


class SqliteVectorStore(VectorStore):
    """Chunks of unit vectors in the file; a search multiplies one repository's matrix with one row.

    The matrix last searched of each repository stays in memory, within `cache_bytes`. Every call
    first reads, in its own transaction, which set is there and how often it was written to: a
    matrix of another state is read anew, so what other processes upload, sweep or delete counts at
    once.
    """

    def __init__(self, database: Database, *, cache_bytes: int = CACHE_BYTES, chunk_rows: int = CHUNK_ROWS) -> None:
        self._database = database
        self._chunk_rows = chunk_rows
        self._cache_bytes = cache_bytes
        self._cache: OrderedDict[str, _Loaded] = OrderedDict()
        # Held while a matrix is read, too: two searches at once would else hold it twice.
        self._cache_lock = threading.Lock()

    async def upload(self, batch: VectorBatch, *, progress: Callable[[float], None] = lambda _: None) -> None:
        total, step = len(batch.embeddings.paths), self._chunk_rows
        for first in range(0, total, step):
            await self._write(partial(_write_chunk, batch=batch, rows=slice(first, first + step)))
            progress(min(1.0, (first + step) / total))
        if not total:
            progress(1.0)

    async def count(self, repo: str, generation: int) -> int:
        def work(connection: sqlite3.Connection) -> int:
            found = connection.execute(
                "SELECT coalesce(sum(num_rows), 0) FROM vector_chunks JOIN vector_sets ON id = set_id "
                "WHERE repo = ? AND generation = ?",
                (repo, generation),
            ).fetchone()
            return int(found[0])

        return await self._read(work)

    async def similar(
        self,
        repo: str,
        generation: int,
        path: str,
        *,
        k: int,
        languages: Collection[Language] = (),
        path_prefix: str = "",
    ) -> Sequence[SimilarFile]:
        def work(connection: sqlite3.Connection) -> list[SimilarFile]:
            index = self._index(connection, repo, generation)
            if index is None:
                raise VectorNotFoundError(repo, path)
            return index.similar(repo, path, k=k, languages=languages, path_prefix=path_prefix)

        return await self._read(work)

    async def export(self, repo: str, generation: int) -> StoredVectors:
        index = await self._read(lambda connection: self._index(connection, repo, generation))
        if index is None:
            return StoredVectors((), np.empty((0, DIMENSION), np.float32), np.empty(0, np.bool_))
        return index.export()

    async def sweep(self, repo: str, *, below: int) -> None:
        await self._write(
            lambda connection: connection.execute(
                "DELETE FROM vector_sets WHERE repo = ? AND generation < ?", (repo, below)
            )
        )
        with self._cache_lock:  # what was searched last is most likely what was swept
            self._cache.pop(repo, None)

    async def discard(self, repo: str, generation: int) -> None:
        await self._write(
            lambda connection: connection.execute(
                "DELETE FROM vector_sets WHERE repo = ? AND generation = ?", (repo, generation)
            )
        )

    async def check(self) -> None:
        await self._read(lambda connection: None)

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with _ERRORS.translated():
            return await self._database.read(work)

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with _ERRORS.translated():
            return await self._database.write(work)

    def _index(self, connection: sqlite3.Connection, repo: str, generation: int) -> ExactIndex | None:
        state: tuple[int, int] | None = connection.execute(
            "SELECT id, writes FROM vector_sets WHERE repo = ? AND generation = ?", (repo, generation)
        ).fetchone()
        if state is None:
            return None
        with self._cache_lock:
            loaded = self._cache.pop(repo, None)
            if loaded is None or loaded.state != state:
                loaded = None  # frees the old matrix before the new one is read
                loaded = _load(connection, state)
            self._cache[repo] = loaded
            while sum(entry.size_bytes for entry in self._cache.values()) > self._cache_bytes:
                self._cache.popitem(last=False)
            return loaded.index


def _write_chunk(connection: sqlite3.Connection, *, batch: VectorBatch, rows: slice) -> None:
    """Write one chunk, and its set if it is not there: never, or swept since by a newer run."""
    paths = batch.embeddings.paths[rows]
    set_id = connection.execute(
        "INSERT INTO vector_sets (repo, generation, repo_url, commit_hash, writes) VALUES (?, ?, ?, ?, 1) "
        "ON CONFLICT (repo, generation) DO UPDATE SET writes = writes + 1 RETURNING id",
        (batch.repo, batch.generation, batch.repo_url, batch.commit),
    ).fetchone()[0]
    connection.execute(
        "INSERT OR REPLACE INTO vector_chunks (set_id, first_row, num_rows, paths, languages, vectors) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (
            set_id,
            rows.start,
            len(paths),
            PackedPaths.pack(paths).blob,
            PackedLanguages.pack(batch.languages[rows]).to_bytes(),
            unit_rows(batch.embeddings.vectors[rows]).astype(_FLOAT, copy=False).data,
        ),
    )


def _load(connection: sqlite3.Connection, state: tuple[int, int]) -> _Loaded:
    """Read the chunks of a set into one matrix, a chunk at a time, so that it is held once."""
    set_id = state[0]
    total = connection.execute("SELECT sum(num_rows) FROM vector_chunks WHERE set_id = ?", (set_id,)).fetchone()[0]
    units = np.empty((total, DIMENSION), np.float32)
    paths: list[bytes] = []
    languages: list[PackedLanguages] = []
    first = 0
    for num_rows, chunk_paths, chunk_languages, vectors in connection.execute(
        "SELECT num_rows, paths, languages, vectors FROM vector_chunks WHERE set_id = ? ORDER BY first_row", (set_id,)
    ):
        units[first : first + num_rows] = np.frombuffer(vectors, _FLOAT).reshape(num_rows, DIMENSION)
        paths.append(chunk_paths)
        languages.append(PackedLanguages.from_bytes(chunk_languages))
        first += num_rows
    packed = PackedPaths(b"".join(paths))
    index = ExactIndex(packed, PackedLanguages.concatenate(languages), units)
    return _Loaded(state, index, units.nbytes + packed.size_bytes + 2 * total)
