"""The test server with Qdrant's own engine behind it: storage, filters, payload indexes and scores are the real ones.

The engine comes in the wheel `qdrant-edge-py`. HTTP, keys, strict mode and error bodies are still those of
`support.qdrant_rest`.

The wheel's Python reads `MatchValue(False)` as the number 0 (version 0.9.0), which equals no stored
`false`: so what is true or false is kept as 1 or 0 here. REST has no such trouble.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import qdrant_edge
from qdrant_client.http import models

from support.qdrant_rest import QdrantServer, StoredCollection, rest_server

edge: Any = qdrant_edge  # what the client's models hold is wider than what the engine's types take

_DISTANCES = {models.Distance.COSINE: edge.Distance.Cosine}


@dataclass
class EngineCollection(StoredCollection):
    """A collection whose points are in a shard of the engine."""

    shard: Any = None


class EngineServer(QdrantServer):
    """Answers from the engine."""

    def __init__(self) -> None:
        super().__init__()
        self._directory = tempfile.TemporaryDirectory()

    async def stop(self) -> None:
        await super().stop()
        for found in self.collections.values():
            assert isinstance(found, EngineCollection)
            found.shard.close()
        self._directory.cleanup()

    def _create(self, name: str, request: models.CreateCollection) -> bool:
        super()._create(name, request)
        vectors = request.vectors
        assert isinstance(vectors, models.VectorParams)
        assert request.hnsw_config is not None
        hnsw = edge.HnswIndexConfig(m=request.hnsw_config.m or 0, ef_construct=100, full_scan_threshold=10_000)
        params = edge.EdgeVectorParams(size=vectors.size, distance=_DISTANCES[vectors.distance], hnsw_config=hnsw)
        config = edge.EdgeConfig(vectors=params, wal_enabled=False)
        directory = tempfile.mkdtemp(dir=self._directory.name)
        self.collections[name] = EngineCollection(request, shard=edge.EdgeShard.create(directory, config))
        return True

    def _index(self, found: StoredCollection, request: models.CreateFieldIndex) -> models.UpdateResult:
        params: Any = request.field_schema
        made = {
            "keyword": lambda: edge.KeywordIndexParams(is_tenant=params.is_tenant, prefix=params.prefix),
            "integer": lambda: edge.IntegerIndexParams(lookup=params.lookup, range=params.range),
            "bool": edge.IntegerIndexParams,
        }[params.type.value]()
        _shard(found).update(edge.UpdateOperation.create_field_index(request.field_name, made))
        return super()._index(found, request)

    def _upsert(
        self, found: StoredCollection, batch: models.Batch, *, wait: bool, lose_one: bool
    ) -> models.UpdateResult:
        answer = super()._upsert(found, batch, wait=wait, lose_one=lose_one)
        assert isinstance(batch.vectors, list)
        points = [
            edge.Point(
                UUID(str(i)), vector, {k: int(v) if isinstance(v, bool) else v for k, v in (payload or {}).items()}
            )
            for i, vector, payload in zip(batch.ids, batch.vectors, batch.payloads or [], strict=True)
        ]
        found.points.clear()  # the engine alone keeps them
        _shard(found).update(edge.UpdateOperation.upsert_points(points))
        return answer

    def _delete(self, found: StoredCollection, condition: models.Filter, *, wait: bool) -> models.UpdateResult:
        answer = super()._delete(found, condition, wait=wait)
        _shard(found).update(edge.UpdateOperation.delete_points_by_filter(_filter(condition)))
        return answer

    def _count(self, found: StoredCollection, request: models.CountRequest) -> models.CountResult:
        assert request.filter is not None
        self._check_indexes(found, request.filter)
        counted = _shard(found).count(edge.CountRequest(exact=bool(request.exact), filter=_filter(request.filter)))
        return models.CountResult(count=counted)

    def _scroll(self, found: StoredCollection, request: models.ScrollRequest) -> models.ScrollResult:
        assert request.filter is not None
        self._check_indexes(found, request.filter)
        offset = None if request.offset is None else UUID(str(request.offset))
        asked = edge.ScrollRequest(offset, request.limit, _filter(request.filter), with_payload=True, with_vector=True)
        points, after = _shard(found).scroll(asked)
        return models.ScrollResult(
            points=[_record(point) for point in points], next_page_offset=None if after is None else str(after)
        )

    def _nearest(
        self,
        found: StoredCollection,
        vector: npt.NDArray[np.float32],
        condition: models.Filter,
        request: models.QueryRequest,
    ) -> list[models.ScoredPoint]:
        assert request.params is not None
        asked = edge.QueryRequest(
            limit=request.limit or 10,
            query=edge.Query.Nearest(vector.tolist()),
            filter=_filter(condition),
            params=edge.SearchParams(exact=bool(request.params.exact)),
            with_vector=True,
            with_payload=True,
        )
        return [
            models.ScoredPoint(version=0, score=point.score, **_record(point).model_dump())
            for point in _shard(found).query(asked)
        ]


def _shard(found: StoredCollection) -> Any:
    assert isinstance(found, EngineCollection)
    return found.shard


def _record(point: Any) -> models.Record:
    payload = {**point.payload, "isolated": bool(point.payload["isolated"])}
    return models.Record(id=str(point.id), payload=payload, vector=list(point.vector))


def _filter(condition: models.Filter) -> Any:
    return edge.Filter(must=_conditions(condition.must), must_not=_conditions(condition.must_not))


def _conditions(conditions: Any) -> list[Any] | None:
    return None if conditions is None else [_condition(one) for one in conditions]


def _condition(one: Any) -> Any:
    if isinstance(one, models.HasIdCondition):
        return edge.HasIdCondition({UUID(str(i)) for i in one.has_id})
    match one.match:
        case models.MatchValue():
            value = int(one.match.value) if isinstance(one.match.value, bool) else one.match.value
            return edge.FieldCondition(one.key, match=edge.MatchValue(value))
        case models.MatchAny():
            return edge.FieldCondition(one.key, match=edge.MatchAny(one.match.any))
        case models.MatchPrefix():
            return edge.FieldCondition(one.key, match=edge.MatchPrefix(one.match.prefix))
    return edge.FieldCondition(one.key, range=edge.RangeFloat(lt=one.range.lt))


@asynccontextmanager
async def engine_server() -> AsyncIterator[EngineServer]:
    """Serve on a free port of this machine, in this event loop."""
    async with rest_server(EngineServer()) as server:
        assert isinstance(server, EngineServer)
        yield server
