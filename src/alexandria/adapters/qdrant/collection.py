"""One collection of a Qdrant: the requests that the store makes, in the words of its client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import cast
from uuid import UUID, uuid5

import numpy as np
import numpy.typing as npt
from qdrant_client import AsyncQdrantClient, models

from alexandria.adapters.qdrant.connection import (
    CollectionExistsError,
    CollectionMissingError,
    Connection,
    ForeignCollectionError,
    LocalConnection,
    MissingIndexError,
    PointMissingError,
    RemoteConnection,
)
from alexandria.domain.embedding import DIMENSION
from alexandria.domain.language import Language
from alexandria.ports.vector_store import VectorBatch, VectorStoreMismatchError, VectorStoreUnavailableError

PAGE = 1000
"""Points of one answer when all are read: about a megabyte of JSON."""

_IDS = UUID("b114412c-b763-5cb5-a4fc-55d5df2f6df9")
"""Namespace of our point ids, which must never change: with another one no stored file is found."""

_READ = ["file_path", "language", "isolated"]
"""The part of the payload that is read back; the rest is for people and other programs."""

_IndexParams = models.KeywordIndexParams | models.IntegerIndexParams | models.BoolIndexParams
_INDEXES: dict[str, _IndexParams] = {
    "repo_key": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True),
    "generation": models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER, lookup=True, range=True),
    "isolated": models.BoolIndexParams(type=models.BoolIndexType.BOOL),
    "language": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD),
    "file_path": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, prefix=True),
}
"""One for every key that a filter uses: Qdrant Cloud's strict mode answers 400 without it."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredPoint:
    """A file as it was read back.

    Attributes:
        path: The file.
        language: Its language.
        isolated: It has no edge.
        vector: 64 numbers of norm 1 up to rounding, or all zero if it is isolated.
        score: Similarity as the engine computes it in float32; 0 where nothing was searched for.
    """

    path: str
    language: Language
    isolated: bool
    vector: Sequence[float]
    score: float


class PointCollection:
    """The points of all repositories, one a file.

    No HNSW graph is built: every search is inside one repository, which is compared whole.

    Args:
        connection: The way to the server.
        name: Of the collection.
    """

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._name = name
        self._run = connection.run

    async def prepare(self) -> None:
        """Make the collection and its payload indexes, as far as they are not there; two at once are no harm.

        Raises:
            VectorStoreMismatchError: It is there, and holds something else.
        """
        try:
            missing = await self._missing_indexes()
        except CollectionMissingError:
            await self._create()
            missing = await self._missing_indexes()
        for key in missing:
            await self._run(partial(self._create_index, key=key))
        if missing and (unmade := await self._missing_indexes()):
            # A server before 1.19 takes the option `prefix` of an index without a word, and drops it.
            raise VectorStoreMismatchError(
                f"Qdrant did not make the payload index of {', '.join(unmade)}: version 1.19 or newer is needed"
            )

    async def check(self) -> None:
        """Ask for the collection; it need not be there yet.

        Raises:
            VectorStoreMismatchError: It is there, and holds something else or lacks an index.
        """
        try:
            missing = await self._missing_indexes()
        except CollectionMissingError:
            return
        if missing:
            raise MissingIndexError(
                f"the collection {self._name} of Qdrant has no payload index of {', '.join(missing)}: "
                f"index any repository, which makes it"
            )

    async def _create(self) -> None:
        with suppress(CollectionExistsError):  # another process was faster; what it made is looked at next
            await self._run(
                lambda client: client.create_collection(
                    self._name,
                    vectors_config=models.VectorParams(size=DIMENSION, distance=models.Distance.COSINE),
                    hnsw_config=models.HnswConfigDiff(m=0),
                )
            )

    async def _create_index(self, client: AsyncQdrantClient, key: str) -> None:
        await client.create_payload_index(self._name, key, _INDEXES[key], wait=True)

    async def _missing_indexes(self) -> list[str]:
        """Return the keys without their index, after a look at whether the collection is ours."""
        info = await self._run(lambda client: client.get_collection(self._name))
        vectors = info.config.params.vectors
        if not _is_ours(vectors):
            raise ForeignCollectionError(
                f"the collection {self._name} of Qdrant holds {_described(vectors)}, not one of {DIMENSION} numbers "
                f"with distance Cosine: another program made it. Remove or rename it, or use another Qdrant"
            )
        if self._connection.is_local:
            return []  # it filters without
        return [key for key, wanted in _INDEXES.items() if not _is_indexed(info.payload_schema.get(key), wanted)]

    async def upsert(self, batch: VectorBatch, rows: slice, units: npt.NDArray[np.float32]) -> None:
        """Store the files of `rows`, whose vectors are `units`, and wait until they are searchable."""
        paths = batch.embeddings.paths[rows]
        points = models.Batch(
            ids=[point_id(batch.repo, batch.generation, path) for path in paths],
            # Nine places are more than float32 has below 1, and half of what its digits in float64 take.
            vectors=np.round(units.astype(np.float64), 9).tolist(),
            payloads=[
                {
                    "repo_url": batch.repo_url,
                    "repo_key": batch.repo,
                    "generation": batch.generation,
                    "commit": batch.commit,
                    "file_path": path,
                    "language": language.value,
                    "isolated": isolated,
                    "embedding_type": "structural",
                    "model": "node2vec",
                }
                for path, language, isolated in zip(
                    paths, batch.languages[rows], batch.embeddings.isolated[rows].tolist(), strict=True
                )
            ],
        )
        try:
            await self._run(lambda client: client.upsert(self._name, points, wait=True))
        except CollectionMissingError as error:
            raise VectorStoreUnavailableError(
                f"the collection {self._name} of Qdrant was removed during an upload: index again"
            ) from error

    async def count(self, repo: str, generation: int) -> int:
        """Return the exact number of points of a generation."""
        here = _filter(_is("repo_key", repo), _is("generation", generation))
        try:
            answer = await self._run(lambda client: client.count(self._name, here, exact=True))
        except CollectionMissingError:
            return 0
        return answer.count

    async def near(
        self,
        repo: str,
        generation: int,
        path: str,
        *,
        limit: int,
        languages: Collection[Language],
        path_prefix: str,
    ) -> tuple[StoredPoint, Sequence[StoredPoint]] | None:
        """Return a file and the `limit` points nearest to it, best first; never itself nor isolated ones.

        Both are asked for in one request: on the way to a server far away that is half the time.

        Returns:
            None if the file is not there. What is near an isolated one means nothing.
        """
        here = point_id(repo, generation, path)
        itself = models.HasIdCondition(has_id=[here])
        conditions: list[models.Condition] = [
            _is("repo_key", repo),
            _is("generation", generation),
            _is("isolated", value=False),
        ]
        if languages:
            among = models.MatchAny(any=sorted({language.value for language in languages}))
            conditions.append(models.FieldCondition(key="language", match=among))
        if path_prefix:
            begins = models.MatchPrefix(prefix=path_prefix)
            conditions.append(models.FieldCondition(key="file_path", match=begins))
        requests = [
            models.QueryRequest(filter=models.Filter(must=[itself]), limit=1, with_payload=_READ, with_vector=True),
            models.QueryRequest(
                query=models.NearestQuery(nearest=here),
                filter=models.Filter(must=conditions, must_not=[itself]),
                # The local mode is exact anyway, and warns of what it does not look at.
                params=None if self._connection.is_local else models.SearchParams(exact=True),
                limit=limit,
                with_payload=_READ,
                with_vector=True,
            ),
        ]
        try:
            found, nearest = await self._run(partial(self._query, requests=requests))
        except (CollectionMissingError, PointMissingError):
            return None
        if not found.points:
            return None
        return _stored(found.points[0]), [_stored(point) for point in nearest.points]

    async def _query(
        self, client: AsyncQdrantClient, requests: list[models.QueryRequest]
    ) -> Sequence[models.QueryResponse]:
        if self._connection.is_local:
            return await client.query_batch_points(self._name, requests)
        # The same request a layer below, where nobody copies it in search of texts to embed: that took 1 ms.
        batch = models.QueryRequestBatch(searches=requests)
        answer = await client.http.search_api.query_batch_points(self._name, query_request_batch=batch)
        if answer.result is None:
            raise ValueError("an answer without a result")
        return answer.result

    async def all_of(self, repo: str, generation: int) -> AsyncIterator[StoredPoint]:
        """Read a whole generation, in no order."""
        here = _filter(_is("repo_key", repo), _is("generation", generation))
        offset: models.ExtendedPointId | None = None
        while True:
            try:
                records, after = await self._run(partial(self._page, here=here, offset=offset))
            except CollectionMissingError:
                return
            for record in records:
                yield _stored(record)
            if after is None:
                return
            offset = after  # type: ignore[assignment]  # its type also covers gRPC's ids

    async def _page(
        self, client: AsyncQdrantClient, here: models.Filter, offset: models.ExtendedPointId | None
    ) -> tuple[list[models.Record], object]:
        return await client.scroll(self._name, here, limit=PAGE, offset=offset, with_payload=_READ, with_vectors=True)

    async def remove_generation(self, repo: str, generation: int) -> None:
        """Remove the points of one generation of a repository."""
        await self._remove(repo, _is("generation", generation))

    async def remove_below(self, repo: str, generation: int) -> None:
        """Remove the points of every smaller generation of a repository."""
        await self._remove(repo, models.FieldCondition(key="generation", range=models.Range(lt=generation)))

    async def _remove(self, repo: str, which: models.FieldCondition) -> None:
        gone = models.FilterSelector(filter=_filter(_is("repo_key", repo), which))
        with suppress(CollectionMissingError):
            await self._run(lambda client: client.delete(self._name, gone, wait=True))

    async def close(self) -> None:
        """End every connection."""
        await self._connection.close()


def open_remote(name: str, url: str, api_key: str, timeout_s: float) -> PointCollection:
    """Speak to a server; it is not asked anything yet."""
    return PointCollection(RemoteConnection(url, api_key, timeout_s), name)


def open_local(name: str, location: str) -> PointCollection:
    """Use the local mode in the directory `location`, or in `:memory:`."""
    return PointCollection(LocalConnection(location), name)


def point_id(repo: str, generation: int, path: str) -> str:
    """Return the id of a file's point; the three parts hold no NUL, so no two files share one."""
    return str(uuid5(_IDS, f"{repo}\0{generation}\0{path}"))


def _is(key: str, value: str | int | bool) -> models.FieldCondition:
    return models.FieldCondition(key=key, match=models.MatchValue(value=value))


def _filter(*conditions: models.Condition) -> models.Filter:
    return models.Filter(must=list(conditions))


def _stored(point: models.Record | models.ScoredPoint) -> StoredPoint:
    try:
        payload = point.payload or {}
        return StoredPoint(
            path=payload["file_path"],
            language=Language(payload["language"]),
            isolated=payload["isolated"],
            vector=cast(Sequence[float], point.vector),  # of a collection with one vector a point
            score=getattr(point, "score", 0.0),
        )
    except (LookupError, ValueError) as error:
        raise VectorStoreMismatchError(f"the point {point.id} in Qdrant is not as we store them: {error!r}") from error


def _is_ours(vectors: object) -> bool:
    return (
        isinstance(vectors, models.VectorParams)
        and vectors.size == DIMENSION
        and vectors.distance is models.Distance.COSINE
        and vectors.datatype in {None, models.Datatype.FLOAT32}
        and vectors.multivector_config is None
    )


def _described(vectors: object) -> str:
    if isinstance(vectors, models.VectorParams):
        return f"vectors of {vectors.size} numbers with distance {vectors.distance.value}"
    return "named vectors" if vectors else "no vectors"


def _is_indexed(found: models.PayloadIndexInfo | None, wanted: _IndexParams) -> bool:
    if found is None or found.data_type.value != wanted.type.value:
        return False
    return not getattr(wanted, "prefix", None) or bool(getattr(found.params, "prefix", None))
