"""A vector store of one's own: one NumPy file for each generation, in a directory that `NPZ_VECTORS` names.

    VECTOR_STORE=npz_vectors:open_store NPZ_VECTORS=/srv/vectors PYTHONPATH=docs/examples alexandria index .

It is small, complete, and passes the contract suite of the port. It needs nothing of Alexandria but
`domain` and `ports`, as every adapter does.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import zipfile
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

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

if TYPE_CHECKING:
    from alexandria.entrypoints.settings import Settings

T = TypeVar("T")
Columns = dict[str, npt.NDArray[Any]]

_BATCH = 4096


@asynccontextmanager
async def open_store(_settings: Settings) -> AsyncIterator[VectorStore]:
    """Open the store; what `VECTOR_STORE` names. Settings of its own come from the environment."""
    yield NpzVectorStore(Path(os.environ.get("NPZ_VECTORS", "vectors")))


class NpzVectorStore(VectorStore):
    """Exact search over files; a file appears whole or not at all, so an upload that is cut off leaves nothing."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def upload(self, batch: VectorBatch, *, progress: Callable[[float], None] = lambda _: None) -> None:
        """See the port."""
        paths, vectors = PackedPaths.pack(batch.embeddings.paths), batch.embeddings.vectors
        units = np.empty_like(vectors)
        for first in range(0, len(vectors), _BATCH):
            units[first : first + _BATCH] = unit_rows(vectors[first : first + _BATCH])
            progress(first / len(vectors))
            await asyncio.sleep(0)  # the worker's heartbeats go on
        if len(vectors):
            languages = np.frombuffer(PackedLanguages.pack(batch.languages).to_bytes(), np.uint8)
            columns: Columns = {"paths": np.frombuffer(paths.blob, np.uint8), "languages": languages, "units": units}
            await _in_thread(lambda: _write(self._file(batch.repo, batch.generation), columns))
        progress(1.0)

    async def count(self, repo: str, generation: int) -> int:
        """See the port."""
        index = await self._index(repo, generation)
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
        """See the port."""
        index = await self._index(repo, generation)
        if index is None:
            raise VectorNotFoundError(repo, path)
        return index.similar(repo, path, k=k, languages=languages, path_prefix=path_prefix)

    async def export(self, repo: str, generation: int) -> StoredVectors:
        """See the port."""
        index = await self._index(repo, generation)
        if index is None:
            return StoredVectors((), np.empty((0, DIMENSION), np.float32), np.empty(0, np.bool_))
        return index.export()

    async def sweep(self, repo: str, *, below: int) -> None:
        """See the port."""
        await self._remove(repo, lambda generation: generation < below)

    async def discard(self, repo: str, generation: int) -> None:
        """See the port."""
        await self._remove(repo, lambda there: there == generation)

    async def check(self) -> None:
        """See the port."""
        await _in_thread(lambda: self._root.mkdir(parents=True, exist_ok=True))

    def _file(self, repo: str, generation: int) -> Path:
        # The key of a repository may be longer than a file name, and hold what no file name may.
        return self._root / hashlib.sha256(repo.encode()).hexdigest() / f"{generation}.npz"

    async def _index(self, repo: str, generation: int) -> ExactIndex | None:
        return await _in_thread(lambda: _read(self._file(repo, generation)))

    async def _remove(self, repo: str, unwanted: Callable[[int], bool]) -> None:
        def work() -> None:
            for file in self._file(repo, 0).parent.glob("*.*"):  # parts of who was killed, too
                if unwanted(int(file.name.partition(".")[0])):
                    file.unlink(missing_ok=True)

        await _in_thread(work)


def _write(file: Path, columns: Columns) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".{os.getpid()}.part")
    with part.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **columns)
    part.replace(file)


def _read(file: Path) -> ExactIndex | None:
    try:
        with file.open("rb") as stream, np.load(stream) as columns:
            paths, languages = PackedPaths(columns["paths"].tobytes()), columns["languages"].tobytes()
            return ExactIndex(paths, PackedLanguages.from_bytes(languages), columns["units"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise VectorStoreMismatchError(f"{file.name} is not as we write it: {error!r:.100}") from error


async def _in_thread(work: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(work)
    except OSError as error:
        kind = VectorStoreFullError if error.errno == errno.ENOSPC else VectorStoreUnavailableError
        raise kind(f"the directory of the vectors cannot be used: {error.strerror}") from error
