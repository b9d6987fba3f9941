"""Vectors in PostgreSQL, searched exactly by pgvector."""

from __future__ import annotations

import io
import struct
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from alexandria.adapters.postgres.database import Connection, PostgresDatabase
from alexandria.adapters.postgres.faults import PortErrors
from alexandria.adapters.postgres.schema import VECTORS
from alexandria.domain.directions import unit_rows
from alexandria.domain.embedding import DIMENSION
from alexandria.domain.language import Language
from alexandria.ports.packed import PackedPaths
from alexandria.ports.vector_store import (
    IsolatedVectorError,
    SimilarFile,
    StoredVectors,
    VectorBatch,
    VectorNotFoundError,
    VectorStore,
    VectorStoreAccessError,
    VectorStoreFullError,
    VectorStoreMismatchError,
    VectorStoreUnavailableError,
)

T = TypeVar("T")

CHUNK_ROWS = 4096
"""1.4 MB on the wire, written in one transaction."""

_ERRORS = PortErrors(
    unavailable=VectorStoreUnavailableError,
    access=VectorStoreAccessError,
    full=VectorStoreFullError,
    mismatch=VectorStoreMismatchError,
)

# How pgvector writes a vector: dimension and an unused number, two bytes each, then floats, all big-endian.
_VECTOR_HEAD = struct.pack("!hh", DIMENSION, 0)
_FLOAT = np.dtype(">f4")
_VECTOR = np.dtype([("head", "S4"), ("row", _FLOAT, (DIMENSION,))])

_SIMILAR = """
WITH asked AS (
    SELECT set_id, path, isolated, embedding
    FROM alexandria.vectors JOIN alexandria.vector_sets ON id = set_id
    WHERE repo = $1 AND generation = $2 AND path = $3
)
SELECT asked.isolated, hit.path, hit.language, hit.similarity
FROM asked LEFT JOIN LATERAL (
    SELECT other.path, other.language, least(1, greatest(-1, -(other.embedding <#> asked.embedding))) AS similarity
    FROM alexandria.vectors AS other
    WHERE other.set_id = asked.set_id AND other.path <> asked.path AND NOT other.isolated
        AND starts_with(other.path, $4) AND (cardinality($5::text[]) = 0 OR other.language = ANY ($5))
    ORDER BY similarity DESC, other.path
    LIMIT $6
) AS hit ON true
"""
"""`<#>` is the negative inner product: of unit vectors, the negative cosine, up to what float32 rounds off."""


class PgVectorStore(VectorStore):
    """A row a file, with its vector scaled to norm 1; a search looks at every row of one generation.

    There is no approximate index: the port promises exact answers, a search is inside one
    repository, and an index that is filtered after it was searched returns fewer than `k`.

    A path of more than some 2,600 bytes, which no row of an index holds, is refused as
    `VectorStoreMismatchError`; what reads repositories leaves out paths above 1,024.
    """

    def __init__(self, database: PostgresDatabase, *, chunk_rows: int = CHUNK_ROWS) -> None:
        self._database = database
        self._chunk_rows = chunk_rows

    async def upload(self, batch: VectorBatch, *, progress: Callable[[float], None] = lambda _: None) -> None:
        PackedPaths.pack(batch.embeddings.paths)  # refuses what is no text, before anything is stored
        total, step = len(batch.embeddings.paths), self._chunk_rows
        for first in range(0, total, step):
            await self._write(partial(_write_chunk, batch=batch, rows=slice(first, first + step)))
            progress(min(1.0, (first + step) / total))
        if not total:
            progress(1.0)

    async def count(self, repo: str, generation: int) -> int:
        async def work(connection: Connection) -> int:
            found: int = await connection.fetchval(
                "SELECT count(*) FROM alexandria.vectors JOIN alexandria.vector_sets ON id = set_id "
                "WHERE repo = $1 AND generation = $2",
                repo,
                generation,
            )
            return found

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
        if k < 1:
            raise ValueError(f"k is {k}, at least 1 is needed")
        if not _is_text(path):
            raise VectorNotFoundError(repo, path)
        prefix = path_prefix if _is_text(path_prefix) else None  # NULL: no path begins with it
        rows = await self._read(
            lambda connection: connection.fetch(_SIMILAR, repo, generation, path, prefix, list(languages), k)
        )
        if not rows:
            raise VectorNotFoundError(repo, path)
        if rows[0]["isolated"]:
            raise IsolatedVectorError(repo, path)
        return [
            SimilarFile(row["path"], Language(row["language"]), row["similarity"])
            for row in rows
            if row["path"] is not None
        ]

    async def export(self, repo: str, generation: int) -> StoredVectors:
        return await self._read(partial(_export, repo=repo, generation=generation, page_rows=self._chunk_rows))

    async def sweep(self, repo: str, *, below: int) -> None:
        await self._write(partial(_remove, repo=repo, condition="generation < $2", value=below))

    async def discard(self, repo: str, generation: int) -> None:
        await self._write(partial(_remove, repo=repo, condition="generation = $2", value=generation))

    async def check(self) -> None:
        await self._read(_nothing)

    async def _read(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        with _ERRORS.translated():
            return await self._database.read(VECTORS, work)

    async def _write(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        with _ERRORS.translated():
            return await self._database.write(VECTORS, work)


async def _write_chunk(connection: Connection, *, batch: VectorBatch, rows: slice) -> None:
    """Put one chunk in the place of what is there of it, and its set if it is not there."""
    paths = batch.embeddings.paths[rows]
    # The update changes nothing; it holds the row, so that nobody sweeps the set until this is committed.
    set_id = await connection.fetchval(
        "INSERT INTO alexandria.vector_sets AS known (repo, generation, repo_url, commit_hash) "
        "VALUES ($1, $2, $3, $4) ON CONFLICT (repo, generation) DO UPDATE SET repo = known.repo RETURNING id",
        batch.repo,
        batch.generation,
        batch.repo_url,
        batch.commit,
    )
    await connection.execute(
        "DELETE FROM alexandria.vectors WHERE set_id = $1 AND path BETWEEN $2 AND $3", set_id, paths[0], paths[-1]
    )
    await connection.copy_to_table(
        "vectors",
        schema_name="alexandria",
        columns=("set_id", "path", "language", "isolated", "embedding"),
        format="binary",
        source=io.BytesIO(_copy_of(batch, rows, set_id)),
    )


def _copy_of(batch: VectorBatch, rows: slice, set_id: int) -> bytes:
    """Return rows as COPY reads them in binary (PostgreSQL manual, COPY, "Binary Format").

    The driver knows no vectors, and would need to ask the server for their type on every connection.
    """
    units = unit_rows(batch.embeddings.vectors[rows]).astype(_FLOAT)
    start = struct.pack("!hiq", 5, 8, set_id)
    languages = {language: _field(language.encode()) for language in set(batch.languages[rows])}
    isolated = _field(b"\1"), _field(b"\0")
    parts = [b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)]
    for path, language, unit in zip(batch.embeddings.paths[rows], batch.languages[rows], units, strict=True):
        parts += start, _field(path.encode()), languages[language], isolated[bool(unit.any())]
        parts.append(_field(_VECTOR_HEAD + unit.tobytes()))
    parts.append(struct.pack("!h", -1))
    return b"".join(parts)


def _field(value: bytes) -> bytes:
    return struct.pack("!i", len(value)) + value


async def _export(connection: Connection, *, repo: str, generation: int, page_rows: int) -> StoredVectors:
    """Read a generation page by page; the transaction sees one moment, so the pages belong together."""
    paths: list[str] = []
    isolated: list[bool] = []
    vectors: list[npt.NDArray[np.float32]] = [np.empty((0, DIMENSION), np.float32)]
    while True:
        page = await connection.fetch(
            "SELECT path, isolated, vector_send(embedding) AS vector "
            "FROM alexandria.vectors JOIN alexandria.vector_sets ON id = set_id "
            "WHERE repo = $1 AND generation = $2 AND path > $3 ORDER BY path LIMIT $4",
            repo,
            generation,
            paths[-1] if paths else "",
            page_rows,
        )
        paths += [row["path"] for row in page]
        isolated += [row["isolated"] for row in page]
        vectors.append(np.frombuffer(b"".join(row["vector"] for row in page), _VECTOR)["row"].astype(np.float32))
        if len(page) < page_rows:
            return StoredVectors(tuple(paths), np.concatenate(vectors), np.array(isolated, np.bool_))


async def _remove(connection: Connection, *, repo: str, condition: str, value: int) -> None:
    """Remove the sets that fit, then their rows: whoever still adds to one of them is waited for in between."""
    sets = await connection.fetch(
        f"DELETE FROM alexandria.vector_sets WHERE repo = $1 AND {condition} RETURNING id",  # noqa: S608 (ours)
        repo,
        value,
    )
    await connection.execute("DELETE FROM alexandria.vectors WHERE set_id = ANY ($1)", [row["id"] for row in sets])


def _is_text(path: str) -> bool:
    """Whether PostgreSQL can hold it: no NUL, and no surrogate, which is half a character."""
    return not any(c == "\0" or "\ud800" <= c <= "\udfff" for c in path)


async def _nothing(_: Connection) -> None:
    """Ask for nothing: the transaction around it has looked at the version."""
