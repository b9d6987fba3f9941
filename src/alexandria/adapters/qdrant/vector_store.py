"""Vectors in Qdrant: a server by its REST interface, or the local mode of its client."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from alexandria.domain.arrays import np
from alexandria.domain.directions import nearest_rows, unit_rows
from alexandria.domain.embedding import DIMENSION
from alexandria.domain.language import Language
from alexandria.domain.transport import is_private_url
from alexandria.ports.packed import PackedPaths
from alexandria.ports.vector_store import (
    IsolatedVectorError,
    SimilarFile,
    StoredVectors,
    VectorBatch,
    VectorNotFoundError,
    VectorStore,
)

if TYPE_CHECKING:
    from alexandria.adapters.qdrant.collection import PointCollection, StoredPoint

COLLECTION = "code_structure_embeddings"
BATCH_ROWS = 500
"""Points of one request: some 600 kB of JSON, below the limits of servers (32 MiB) and most gateways (1 MB)."""

_MARGIN = 2e-5
"""Twice what a float32 product of two unit vectors of 64 may err by."""
_BEYOND = 16
_GROWTH = 4
_NO_PATH = "\0"
"""Begins no path: a prefix that is no text stands for it, as no stored path begins with one."""


class _PointStore(VectorStore, ABC):
    """What server and local mode have in common.

    Args:
        collection: Name of the collection.
        batch_rows: Points of one request.
    """

    def __init__(self, collection: str, batch_rows: int) -> None:
        self._collection = collection
        self._batch_rows = batch_rows
        self._opening = asyncio.Lock()
        self._points: PointCollection | None = None

    @abstractmethod
    def _connect(self) -> PointCollection:
        """Import the client, which takes half a second, and make one; runs in a thread."""

    async def _opened(self) -> PointCollection:
        async with self._opening:
            if self._points is None:
                self._points = await asyncio.to_thread(self._connect)
        return self._points

    async def upload(self, batch: VectorBatch, *, progress: Callable[[float], None] = lambda _: None) -> None:
        PackedPaths.pack(batch.embeddings.paths)  # refuses what is no text without NUL, before anything is stored
        if not batch.embeddings.paths:
            progress(1.0)
            return
        points = await self._opened()
        await points.prepare()
        total, step = len(batch.embeddings.paths), self._batch_rows
        for first in range(0, total, step):
            rows = slice(first, first + step)
            # Qdrant's own norms, in float32, lose the squares of large and of tiny numbers.
            await points.upsert(batch, rows, unit_rows(batch.embeddings.vectors[rows]))
            progress(min(1.0, (first + step) / total))

    async def count(self, repo: str, generation: int) -> int:
        return await (await self._opened()).count(repo, generation)

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
        if not _is_text(path_prefix):
            path_prefix = _NO_PATH
        points = await self._opened()
        limit = k + _BEYOND
        while True:
            found = await points.near(repo, generation, path, limit=limit, languages=languages, path_prefix=path_prefix)
            if found is None:
                raise VectorNotFoundError(repo, path)
            start, near = found
            if start.isolated:
                raise IsolatedVectorError(repo, path)
            # More than k, and as many as may tie with the last of them.
            if len(near) < limit or near[-1].score < near[k - 1].score - _MARGIN:
                return _best(near, start, k)
            limit *= _GROWTH

    async def export(self, repo: str, generation: int) -> StoredVectors:
        points = await self._opened()
        found = sorted([point async for point in points.all_of(repo, generation)], key=lambda point: point.path)
        vectors = unit_rows(np.array([point.vector for point in found], np.float64).reshape(len(found), DIMENSION))
        isolated = np.array([point.isolated for point in found], np.bool_)
        return StoredVectors(tuple(point.path for point in found), vectors, isolated)

    async def sweep(self, repo: str, *, below: int) -> None:
        await (await self._opened()).remove_below(repo, below)

    async def discard(self, repo: str, generation: int) -> None:
        await (await self._opened()).remove_generation(repo, generation)

    async def check(self) -> None:
        """Ask for the collection: that takes the key, and costs no search. It need not be there yet."""
        await (await self._opened()).check()

    async def close(self) -> None:
        """End every connection; the store can not be used again."""
        if self._points is not None:
            await self._points.close()
            self._points = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class QdrantVectorStore(_PointStore):
    """One point a file in one collection of a server, version 1.19 or newer; searches are exact.

    Nothing is asked, and the client is not even imported, before the first call. Each upload asks once
    whether the collection and its payload indexes are there, and makes what is missing.

    The engine finds who can be among the k nearest; the similarities are computed here, from the
    vectors that it returns, in float64: so they do not depend on how an engine rounds, and equal
    vectors have equal ones. To find every file that may tie with the last, more than k are asked for,
    and four times as many again as long as the last one is as good as the k-th: a repository in which
    thousands of files have the same direction is read by the thousand.

    Args:
        url: Of the server, https (loopback may go without); port 6333 if it names none.
        api_key: Empty for none.
        timeout_s: For each try of each request.
        collection: Its name.
        batch_rows: Points of one request.

    Raises:
        ValueError: The key would travel in the clear, or holds what no header can carry.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str = "",
        timeout_s: float = 10.0,
        collection: str = COLLECTION,
        batch_rows: int = BATCH_ROWS,
    ) -> None:
        if not is_private_url(url):
            raise ValueError("the URL of Qdrant must begin with https://: the API key would travel in the clear")
        if not (api_key.isascii() and api_key.isprintable() and " " not in api_key):
            raise ValueError("the API key of Qdrant holds a character that no header can carry")
        super().__init__(collection, batch_rows)
        self._url, self._api_key, self._timeout_s = url, api_key, timeout_s

    def _connect(self) -> PointCollection:
        from alexandria.adapters.qdrant.collection import open_remote  # noqa: PLC0415 (half a second, 35 MB)

        return open_remote(self._collection, self._url, self._api_key, self._timeout_s)

    async def check_access(self) -> None:
        """See the port; over HTTP alone, without the client."""
        from alexandria.adapters.qdrant.access import check_access  # noqa: PLC0415 (httpx, of use to the remote way only)

        await check_access(self._url, self._collection, api_key=self._api_key, timeout_s=self._timeout_s)


class LocalQdrantVectorStore(_PointStore):
    """The local mode of Qdrant's client: no server, exact, slower than SQLite here; for those who want it.

    Args:
        location: A directory, which one process at a time can have open, or `:memory:`.
        collection: Its name.
        batch_rows: Points of one call.
    """

    def __init__(self, location: str, *, collection: str = COLLECTION, batch_rows: int = BATCH_ROWS) -> None:
        super().__init__(collection, batch_rows)
        self._location = location

    def _connect(self) -> PointCollection:
        from alexandria.adapters.qdrant.collection import open_local  # noqa: PLC0415 (half a second, 35 MB)

        return open_local(self._collection, self._location)


def _best(candidates: Sequence[StoredPoint], start: StoredPoint, k: int) -> list[SimilarFile]:
    by_path = sorted(candidates, key=lambda point: point.path)
    rows = np.array([point.vector for point in [start, *by_path]], np.float64)
    units = unit_rows(rows)
    best, similarities = nearest_rows(units[1:], units[0], k=k, eligible=np.ones(len(by_path), np.bool_))
    return [
        SimilarFile(by_path[i].path, by_path[i].language, similarity)
        for i, similarity in zip(best.tolist(), similarities.tolist(), strict=True)
    ]


def _is_text(path: str) -> bool:
    """Whether a request can carry it: a lone surrogate is how Python spells a name that is no UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
