"""Vectors in the memory of this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence

import numpy as np

from alexandria.domain.directions import unit_rows
from alexandria.domain.embedding import DIMENSION
from alexandria.domain.language import Language
from alexandria.ports.exact_search import ExactIndex
from alexandria.ports.packed import PackedLanguages, PackedPaths
from alexandria.ports.vector_store import SimilarFile, StoredVectors, VectorBatch, VectorNotFoundError, VectorStore

_BATCH = 4096


class MemoryVectorStore(VectorStore):
    """Exact search over one matrix a generation; an upload that is cut off leaves nothing behind.

    For the tasks of one event loop.
    """

    def __init__(self) -> None:
        self._indexes: dict[str, dict[int, ExactIndex]] = {}

    async def upload(self, batch: VectorBatch, *, progress: Callable[[float], None] = lambda _: None) -> None:
        paths, vectors = PackedPaths.pack(batch.embeddings.paths), batch.embeddings.vectors
        units = np.empty_like(vectors)
        for first in range(0, len(vectors), _BATCH):
            units[first : first + _BATCH] = unit_rows(vectors[first : first + _BATCH])
            progress(min(1.0, (first + _BATCH) / len(vectors)))
            await asyncio.sleep(0)  # heartbeats go on
        if len(vectors):
            index = ExactIndex(paths, PackedLanguages.pack(batch.languages), units)
            self._indexes.setdefault(batch.repo, {})[batch.generation] = index
        progress(1.0)

    async def count(self, repo: str, generation: int) -> int:
        index = self._index(repo, generation)
        return len(index.paths) if index else 0

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
        index = self._index(repo, generation)
        if index is None:
            raise VectorNotFoundError(repo, path)
        return index.similar(repo, path, k=k, languages=languages, path_prefix=path_prefix)

    async def export(self, repo: str, generation: int) -> StoredVectors:
        index = self._index(repo, generation)
        if index is None:
            return StoredVectors((), np.empty((0, DIMENSION), np.float32), np.empty(0, np.bool_))
        return index.export()

    async def sweep(self, repo: str, *, below: int) -> None:
        kept = {g: index for g, index in self._indexes.pop(repo, {}).items() if g >= below}
        if kept:
            self._indexes[repo] = kept

    async def discard(self, repo: str, generation: int) -> None:
        kept = {g: index for g, index in self._indexes.pop(repo, {}).items() if g != generation}
        if kept:
            self._indexes[repo] = kept

    async def check(self) -> None:
        """Do nothing: memory is always there."""

    def _index(self, repo: str, generation: int) -> ExactIndex | None:
        return self._indexes.get(repo, {}).get(generation)
