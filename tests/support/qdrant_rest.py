"""A server that speaks the part of Qdrant's REST interface that we use, more strictly, and fails when told to.

No Qdrant binary can be had from a package registry, so this stands in for one. What it does was read in
Qdrant's sources, version 1.19 (github.com/qdrant/qdrant):

- the envelope `{"result", "status", "time"}`, `{"status": {"error": …}}`, and which error has which HTTP
  status: `src/actix/helpers.rs`; the words before each error: `lib/storage/src/content_manager/errors.rs`;
- a missing or wrong key is answered with 401 in plain text, `/` needs none: `src/actix/auth.rs`, `src/common/auth`;
- strict mode as Qdrant Cloud switches it on (its pages on configuring a cluster): a filter on a key without
  a fitting payload index is answered with 400, for reads and for deletes: `lib/collection/src/operations/
  verification/mod.rs`; `match: {prefix}` needs a keyword index made with `prefix`:
  `tests/openapi/test_prefix_match.py`;
- 409 for a collection that is there, 404 for one that is not: `content_manager/collections_ops.rs`;
- vectors of cosine collections are scaled to norm 1 in float32, unless their squared length is below
  float32's epsilon or 1 within 1e-6; zero stays zero: `lib/segment/src/spaces/simple.rs`, `tools.rs`;
- a wrong length: `Vector dimension error: expected dim: 64, got 3`: `lib/segment/src/common/operation_error.rs`;
- a body above 32 MiB is answered with 400, `JSON payload (… bytes) is larger than allowed`: `src/actix/mod.rs`;
- `Retry-After` in whole seconds with 429: `helpers.rs`; 507 when a quota is reached: `StorageError`.

Stricter than Qdrant: bodies are parsed by the REST models of `qdrant-client`, which refuse unknown fields;
equal scores come back in the order of their (random) ids; a write without `wait=true` becomes visible only
after the next request was answered. Left out: shards, HNSW, named vectors, and all that we do not use.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import cache
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import UUID

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ValidationError
from qdrant_client.http import models

from support.loopback import LoopbackServer, listening, send_http

API_KEY = "a-key-that-must-not-be-seen"
MAX_BODY_BYTES = 32 * 2**20

_EPSILON = float(np.finfo(np.float32).eps)


class Fault(Enum):
    """What happens to one request."""

    DROP_BEFORE = auto()  # the connection breaks before anything was done
    DROP_AFTER = auto()  # it was done, the answer is lost
    HANG = auto()  # it was done, no answer ever comes
    INTERNAL = auto()  # 500 in Qdrant's words
    BAD_GATEWAY = auto()  # 502, HTML of a gateway
    HTML = auto()  # 200, a gateway's own page
    OTHER_JSON = auto()  # 200, JSON of somebody else
    NO_RESULT = auto()  # 200, Qdrant's envelope with nothing in it
    TIMEOUT = auto()  # 408
    BUSY = auto()  # 429 without a word on when to come back
    BUSY_ONE_SECOND = auto()  # 429 with Retry-After: 1
    BUSY_UNTIL_DATE = auto()  # 429 with a Retry-After that the client cannot read
    BUSY_FOR_AN_HOUR = auto()
    UNAUTHORIZED = auto()
    FORBIDDEN = auto()
    FULL = auto()  # 507, a quota
    DISK_FULL = auto()  # 500, the disk
    POINTS_LIMIT = auto()  # 400, a limit of strict mode
    ECHO = auto()  # 400, a gateway that shows the headers it got
    REDIRECT = auto()  # 301
    OTHER_SERVER = auto()  # 404, HTML
    TOO_LARGE = auto()  # 413, a gateway
    LOSE_ONE = auto()  # "ok", and the last point was not kept


_JSON, _HTML, _TEXT = "application/json", "text/html", "text/plain; charset=utf-8"


def _error(words: str) -> bytes:
    return json.dumps({"status": {"error": words}, "time": 0.0}).encode()


_INSTEAD: dict[Fault | None, tuple[int, str, bytes]] = {
    Fault.INTERNAL: (500, _JSON, _error("Service internal error: 0 of 0 read operations failed")),
    Fault.BAD_GATEWAY: (502, _HTML, b"<html>502 Bad Gateway</html>"),
    Fault.HTML: (200, _HTML, b"<html>Welcome</html>"),
    Fault.OTHER_JSON: (200, _JSON, b'["maintenance"]'),
    Fault.NO_RESULT: (200, _JSON, b'{"status": "ok", "time": 0.0}'),
    Fault.TIMEOUT: (408, _JSON, _error("Timeout: Operation 'Search' timed out after 60s")),
    Fault.BUSY: (429, _JSON, _error("Rate limiting exceeded: Read rate limit exceeded")),
    Fault.BUSY_ONE_SECOND: (429, _JSON, _error("Rate limiting exceeded: Read rate limit exceeded")),
    Fault.BUSY_UNTIL_DATE: (429, _JSON, _error("Rate limiting exceeded: Read rate limit exceeded")),
    Fault.BUSY_FOR_AN_HOUR: (429, _JSON, _error("Rate limiting exceeded: Write rate limit exceeded")),
    Fault.UNAUTHORIZED: (401, _TEXT, b"Invalid API key or JWT"),
    Fault.FORBIDDEN: (403, _JSON, _error("Forbidden: Write access to collection is required")),
    Fault.FULL: (507, _JSON, _error("Insufficient storage: disk usage is at 95%")),
    Fault.DISK_FULL: (500, _JSON, _error("Service internal error: No space left on device: WAL buffer size exceeds")),
    Fault.POINTS_LIMIT: (400, _JSON, _error("Bad request: Max points count limit of 10 reached!")),
    Fault.ECHO: (400, _JSON, _error(f"Bad request: header api-key: {API_KEY}")),
    Fault.REDIRECT: (301, _HTML, b"<html>moved</html>"),
    Fault.OTHER_SERVER: (404, _HTML, b"<html>no such page</html>"),
    Fault.TOO_LARGE: (413, _HTML, b"<html>413 Request Entity Too Large</html>"),
}
_HEADERS = {
    Fault.BUSY_ONE_SECOND: "Retry-After: 1\r\n",
    Fault.BUSY_UNTIL_DATE: "Retry-After: Fri, 31 Dec 2027 23:59:59 GMT\r\n",
    Fault.BUSY_FOR_AN_HOUR: "Retry-After: 3600\r\n",
    Fault.REDIRECT: "Location: https://elsewhere.example/\r\n",
}


class _RefusedError(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


@dataclass
class StoredCollection:
    """What a collection holds.

    Attributes:
        request: How it was made.
        indexes: Payload index by key.
        points: Vector and payload by id.
        tenants: Ids by `repo_key`, as an index with `is_tenant` keeps them; may name points that are gone.
    """

    request: models.CreateCollection
    indexes: dict[str, Any] = field(default_factory=dict)
    points: dict[str, tuple[npt.NDArray[np.float32], dict[str, Any]]] = field(default_factory=dict)
    tenants: dict[Any, dict[str, None]] = field(default_factory=dict)

    def keep(self, made: dict[str, tuple[npt.NDArray[np.float32], dict[str, Any]]]) -> None:
        """Put points in, in place of those with their ids."""
        self.points.update(made)
        for point_id, (_, payload) in made.items():
            self.tenants.setdefault(payload.get("repo_key"), {})[point_id] = None

    @property
    def size(self) -> int:
        """Length of its vectors."""
        assert isinstance(self.request.vectors, models.VectorParams)
        return self.request.vectors.size


Model = TypeVar("Model", bound=BaseModel)


def _parse(kind: type[Model], body: bytes) -> Model:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise _RefusedError(400, f"Format error in JSON body: {error.errors()[0]['msg']}") from error


class QdrantServer(LoopbackServer):
    """The server; `faults` are taken by the requests to come, one each, None for a good answer.

    Attributes:
        url: Where it listens.
        faults: What is to happen.
        requests: Method, path and body of each request that carried the key.
        collections: What is stored.
        strict: Whether a filter needs its payload index.
        knows_prefix: Whether it is of version 1.19, which knows `prefix` of a keyword index.
        max_body_bytes: A larger body is refused.
        connections: How many were made.
        hangs_up: Whether it ends a connection after each answer, without a word of it before.
    """

    def __init__(self) -> None:
        super().__init__()
        self.url = ""
        self.faults: deque[Fault | None] = deque()
        self.requests: list[tuple[str, str, Any]] = []
        self.collections: dict[str, StoredCollection] = {}
        self.strict = True
        self.knows_prefix = True
        self.max_body_bytes = MAX_BODY_BYTES
        self.connections = 0
        self.hangs_up = False
        self._unwaited: list[Callable[[], None]] = []

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while await self._answer(reader, writer):
            await writer.drain()
            if self.hangs_up:
                return

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; return whether the connection lives on."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        if (key := headers.get("api-key")) != API_KEY:
            words = "Invalid API key or JWT" if key else "Must provide an API key or an Authorization bearer token"
            return send_http(writer, 401, _TEXT, words.encode())
        self.requests.append((method, target, json.loads(body) if body else None))
        fault = self.faults.popleft() if self.faults else None
        if fault is Fault.DROP_BEFORE:
            return False
        if fault is not None and fault in _INSTEAD:
            return send_http(writer, *_INSTEAD[fault], _HEADERS.get(fault, ""))
        if words := self._unacceptable(headers, body):
            return send_http(writer, 400, _JSON, _error(words))
        written, self._unwaited = self._unwaited, []
        status, answer = self._handle(method, target, body, lose_one=fault is Fault.LOSE_ONE)
        for write in written:
            write()
        if fault is Fault.HANG:
            await asyncio.Event().wait()
        if fault is Fault.DROP_AFTER:
            return False
        return send_http(writer, status, _JSON, answer)

    def _unacceptable(self, headers: dict[str, str], body: bytes) -> str:
        if body and not headers.get("content-type", "").startswith(_JSON):
            return "Content type error"
        if len(body) > self.max_body_bytes:
            return f"JSON payload ({len(body)} bytes) is larger than allowed (limit: {self.max_body_bytes} bytes)."
        return ""

    def _handle(self, method: str, target: str, body: bytes, *, lose_one: bool) -> tuple[int, bytes]:
        parts = urlsplit(target)
        match [unquote(part) for part in parts.path.strip("/").split("/")]:
            case ["collections", name, *rest]:
                pass
            case _:
                return 404, b""
        try:
            wait = parse_qs(parts.query).get("wait") == ["true"]
            result = self._collection(method, name, "/".join(rest), body, wait=wait, lose_one=lose_one)
        except _RefusedError as refused:
            return refused.status, _error(str(refused))
        return 200, f'{{"result": {_as_json(result)}, "status": "ok", "time": 0.0}}'.encode()

    def _collection(self, method: str, name: str, rest: str, body: bytes, *, wait: bool, lose_one: bool) -> Any:
        if (method, rest) == ("PUT", ""):
            return self._create(name, _parse(models.CreateCollection, body))
        if (method, rest) == ("GET", "exists"):
            return {"exists": name in self.collections}
        if name not in self.collections:
            raise _RefusedError(404, f"Not found: Collection `{name}` doesn't exist!")
        found = self.collections[name]
        routes: dict[tuple[str, str], Callable[[], Any]] = {
            ("GET", ""): lambda: _described(found),
            ("DELETE", ""): lambda: bool(self.collections.pop(name)),
            ("PUT", "index"): lambda: self._index(found, _parse(models.CreateFieldIndex, body)),
            ("PUT", "points"): lambda: self._upsert(
                found, _parse(models.PointsBatch, body).batch, wait=wait, lose_one=lose_one
            ),
            ("POST", "points/delete"): lambda: self._delete(
                found, _parse(models.FilterSelector, body).filter, wait=wait
            ),
            ("POST", "points/count"): lambda: self._count(found, _parse(models.CountRequest, body)),
            ("POST", "points/scroll"): lambda: self._scroll(found, _parse(models.ScrollRequest, body)),
            ("POST", "points/query/batch"): lambda: [
                self._query(found, one) for one in _parse(models.QueryRequestBatch, body).searches
            ],
        }
        if (method, rest) in routes:
            return routes[method, rest]()
        raise _RefusedError(404, f"this server knows no {method} {rest}")

    def _create(self, name: str, request: models.CreateCollection) -> bool:
        if name in self.collections:
            raise _RefusedError(409, f"Wrong input: Collection `{name}` already exists!")
        self.collections[name] = StoredCollection(request)
        return True

    def _index(self, found: StoredCollection, request: models.CreateFieldIndex) -> models.UpdateResult:
        params = request.field_schema
        assert params is not None
        assert not isinstance(params, str), "the adapter says what its indexes are for"
        if not self.knows_prefix and isinstance(params, models.KeywordIndexParams):
            params = params.model_copy(update={"prefix": None})
        found.indexes[request.field_name] = params
        return _completed()

    def _upsert(
        self, found: StoredCollection, batch: models.Batch, *, wait: bool, lose_one: bool
    ) -> models.UpdateResult:
        assert isinstance(batch.vectors, list)
        assert batch.payloads is not None
        made = {}
        for point_id, vector, payload in zip(batch.ids, batch.vectors, batch.payloads, strict=True):
            row = np.array(vector, np.float32)
            if row.shape != (found.size,):
                words = f"Wrong input: Vector dimension error: expected dim: {found.size}, got {row.size}"
                raise _RefusedError(400, words)
            made[str(UUID(str(point_id)))] = (_normalised(row), payload or {})
        if lose_one:
            made.popitem()
        self._write(lambda: found.keep(made), wait=wait)
        return _completed()

    def _delete(self, found: StoredCollection, condition: models.Filter, *, wait: bool) -> models.UpdateResult:
        self._check_indexes(found, condition)

        def work() -> None:
            for point_id in _matching(found, condition):
                _, payload = found.points.pop(point_id)
                del found.tenants[payload.get("repo_key")][point_id]

        self._write(work, wait=wait)
        return _completed()

    def _write(self, work: Callable[[], None], *, wait: bool) -> None:
        if wait:
            work()
        else:
            self._unwaited.append(work)

    def _count(self, found: StoredCollection, request: models.CountRequest) -> models.CountResult:
        matching = self._matching(found, request.filter)
        # An estimate is an estimate: nobody may take it for a count.
        return models.CountResult(count=len(matching) if request.exact else len(matching) // 2 * 3)

    def _scroll(self, found: StoredCollection, request: models.ScrollRequest) -> models.ScrollResult:
        limit = request.limit or 10
        first = "" if request.offset is None else str(request.offset)
        ids = sorted(i for i in self._matching(found, request.filter) if i >= first)
        page = [_record(found, i, request.with_payload, request.with_vector) for i in ids[:limit]]
        return models.ScrollResult(points=page, next_page_offset=ids[limit] if len(ids) > limit else None)

    def _query(self, found: StoredCollection, request: models.QueryRequest) -> models.QueryResponse:
        if request.query is None:
            page = self._scroll(
                found,
                models.ScrollRequest(
                    filter=request.filter,
                    limit=request.limit,
                    with_payload=request.with_payload,
                    with_vector=request.with_vector,
                ),
            )
            return models.QueryResponse(points=[_scored(record, 0.0) for record in page.points])
        assert request.params is not None
        assert request.params.exact, "without a graph only an exact search finds anything in time"
        assert isinstance(request.query, models.NearestQuery)
        assert isinstance(request.query.nearest, str | UUID), "the adapter searches near what is stored"
        near = models.HasIdCondition(has_id=[request.query.nearest])
        asked = models.ScrollRequest(filter=models.Filter(must=[near]), with_payload=True, with_vector=True)
        if not (start := self._scroll(found, asked).points):
            raise _RefusedError(404, f"Not found: No point with id {request.query.nearest} found")
        assert request.filter is not None
        self._check_indexes(found, request.filter)
        without = request.filter.model_copy(update={"must_not": [*_listed(request.filter.must_not), near]})
        vector = np.array(start[0].vector, np.float32)
        return models.QueryResponse(points=self._nearest(found, vector, without, request))

    def _nearest(
        self,
        found: StoredCollection,
        vector: npt.NDArray[np.float32],
        condition: models.Filter,
        request: models.QueryRequest,
    ) -> list[models.ScoredPoint]:
        ids = sorted(self._matching(found, condition))
        if not ids:
            return []
        scores = (np.stack([found.points[i][0] for i in ids]) * _normalised(vector)).sum(axis=1)
        best = np.argsort(-scores, kind="stable")[: request.limit or 10]
        return [
            _scored(_record(found, ids[j], request.with_payload, request.with_vector), float(scores[j]))
            for j in best.tolist()
        ]

    def _matching(self, found: StoredCollection, condition: models.Filter | None) -> list[str]:
        if condition is None:
            return list(found.points)
        self._check_indexes(found, condition)
        return _matching(found, condition)

    def _check_indexes(self, found: StoredCollection, condition: models.Filter) -> None:
        for one in [*_listed(condition.must), *_listed(condition.must_not), *_listed(condition.should)]:
            if not self.strict or isinstance(one, models.HasIdCondition):
                continue
            assert isinstance(one, models.FieldCondition)
            kind = _needed_index(one)
            if not _serves(found.indexes.get(one.key), kind):
                words = f'Index required but not found for "{one.key}" of one of the following types: [{kind}]'
                raise _RefusedError(
                    400, f"Bad request: {words}. Help: Create an index for this key or use a different filter."
                )


def _as_json(result: Any) -> str:
    if isinstance(result, BaseModel):
        return result.model_dump_json(exclude_none=True)
    if isinstance(result, list):
        return f"[{','.join(map(_as_json, result))}]"
    return json.dumps(result)


def _completed() -> models.UpdateResult:
    return models.UpdateResult(operation_id=0, status=models.UpdateStatus.COMPLETED)


def _normalised(vector: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    length = (vector * vector).sum(dtype=np.float32)
    if length < _EPSILON or abs(length - 1) <= 1e-6:
        return vector
    scaled: npt.NDArray[np.float32] = vector / np.sqrt(length)
    return scaled


def _scored(record: models.Record, score: float) -> models.ScoredPoint:
    return models.ScoredPoint(version=0, score=score, **record.model_dump())


def _record(found: StoredCollection, point_id: str, with_payload: Any, with_vector: Any) -> models.Record:
    vector, payload = found.points[point_id]
    if isinstance(with_payload, list):
        payload = {key: value for key, value in payload.items() if key in with_payload}
    return models.Record(
        id=point_id,
        payload=payload if with_payload else None,
        vector=[float(x) for x in vector] if with_vector else None,
    )


def _listed(conditions: Any) -> list[Any]:
    if conditions is None:
        return []
    return conditions if isinstance(conditions, list) else [conditions]


def _matching(found: StoredCollection, condition: models.Filter) -> list[str]:
    """Return the ids of the points that fit, looking at no more than those of one repository where one is named."""
    among: Iterable[str] = found.points
    for one in _listed(condition.must):
        if isinstance(one, models.HasIdCondition):
            among = [str(UUID(str(i))) for i in one.has_id]
        elif one.key == "repo_key":
            among = found.tenants.get(one.match.value, {})
    return [i for i in among if i in found.points and _fits(condition, i, found.points[i][1])]


def _fits(condition: models.Filter, point_id: str, payload: dict[str, Any]) -> bool:
    assert condition.should is None, "not used, so not written"
    return all(_holds(one, point_id, payload) for one in _listed(condition.must)) and not any(
        _holds(one, point_id, payload) for one in _listed(condition.must_not)
    )


def _holds(one: Any, point_id: str, payload: dict[str, Any]) -> bool:
    if isinstance(one, models.HasIdCondition):
        return point_id in {str(UUID(str(i))) for i in one.has_id}
    value = payload.get(one.key)
    match one.match:
        case models.MatchValue():
            return type(value) is type(one.match.value) and value == one.match.value
        case models.MatchAny():
            return value in one.match.any
        case models.MatchPrefix():
            return isinstance(value, str) and value.encode().startswith(one.match.prefix.encode())
    assert isinstance(one.range, models.Range)
    assert one.range.lt is not None
    return isinstance(value, int) and value < one.range.lt


def _needed_index(one: models.FieldCondition) -> str:
    match one.match:
        case models.MatchPrefix():
            return "keyword (with prefix: true)"
        case models.MatchAny():
            return "keyword"
        case models.MatchValue(value=bool()):
            return "bool"
        case models.MatchValue(value=int()):
            return "integer"
        case models.MatchValue():
            return "keyword"
    return "integer"


def _serves(index: Any, kind: str) -> bool:
    match index:
        case models.KeywordIndexParams():
            return kind == "keyword" or (kind.startswith("keyword") and bool(index.prefix))
        case models.IntegerIndexParams():
            return kind == "integer"
        case models.BoolIndexParams():
            return kind == "bool"
    return False


def _described(found: StoredCollection) -> models.CollectionInfo:
    return models.CollectionInfo(
        status=models.CollectionStatus.GREEN,
        optimizer_status=models.OptimizersStatusOneOf.OK,
        segments_count=1,
        points_count=len(found.points),
        config=models.CollectionConfig(
            params=models.CollectionParams(vectors=found.request.vectors),
            hnsw_config=models.HnswConfig(m=16, ef_construct=100, full_scan_threshold=10_000),
            optimizer_config=models.OptimizersConfig(
                deleted_threshold=0.2, vacuum_min_vector_number=1000, default_segment_number=0, flush_interval_sec=5
            ),
            wal_config=models.WalConfig(wal_capacity_mb=32, wal_segments_ahead=0),
        ),
        payload_schema={
            key: models.PayloadIndexInfo(
                data_type=models.PayloadSchemaType(params.type.value), params=params, points=len(found.points)
            )
            for key, params in found.indexes.items()
        },
    )


@asynccontextmanager
async def rest_server(server: QdrantServer | None = None) -> AsyncIterator[QdrantServer]:
    """Serve on a free port of this machine, in this event loop."""
    server = server or QdrantServer()
    async with listening(server) as port:
        server.url = f"http://127.0.0.1:{port}"
        yield server


@cache
def shared_server() -> QdrantServer:
    """Return a server in a thread of its own, which outlives event loops and ends with this process."""
    started: deque[QdrantServer] = deque()
    ready = threading.Event()

    async def main() -> None:
        async with rest_server() as server:
            started.append(server)
            ready.set()
            await asyncio.Event().wait()

    threading.Thread(target=lambda: asyncio.run(main()), name="qdrant-rest", daemon=True).start()
    ready.wait()
    return started[0]
