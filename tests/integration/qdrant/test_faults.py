"""Qdrant over HTTP, with the vendor's client, when answers are lost, late, or from somebody else."""

from __future__ import annotations

import asyncio
import json
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import numpy as np
import pytest
import stamina
import stamina.instrumentation
from qdrant_client import models

from alexandria.adapters.qdrant.connection import (
    ForeignCollectionError,
    MissingIndexError,
    RateLimitedError,
    TooSlowError,
)
from alexandria.adapters.qdrant.vector_store import QdrantVectorStore
from alexandria.ports.vector_store import (
    StoredVectors,
    VectorNotFoundError,
    VectorStoreAccessError,
    VectorStoreError,
    VectorStoreFullError,
    VectorStoreMismatchError,
    VectorStoreUnavailableError,
)
from contract.stores import batch_of, random_batch, vector
from support.qdrant_rest import API_KEY, Fault, QdrantServer, StoredCollection, rest_server

NAME = "code_structure_embeddings"
BATCH = batch_of("r", {"a.py": vector(1), "b.py": vector(1, 1), "c.py": vector(0, 1), "lone.py": vector()})


@pytest.fixture(autouse=True)
def _no_waits(request: pytest.FixtureRequest) -> Iterator[None]:
    if "real_waits" in request.fixturenames:
        yield
        return
    with stamina.set_testing(True, attempts=100, cap=True):  # as many tries as the code makes, without waits
        yield


@pytest.fixture
def real_waits() -> Iterator[list[float]]:
    """Let the adapter wait as it does, and return for how long it did."""
    waits: list[float] = []
    stamina.instrumentation.set_on_retry_hooks([lambda details: waits.append(details.wait_for)])
    yield waits
    stamina.instrumentation.set_on_retry_hooks(None)


@pytest.fixture
async def server() -> AsyncIterator[QdrantServer]:
    async with rest_server() as running:
        yield running


@pytest.fixture
async def store(server: QdrantServer, request: pytest.FixtureRequest) -> AsyncIterator[QdrantVectorStore]:
    # The deadline is short only where it must pass: a busy machine answers late, too.
    parameters = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    timeout_s = 0.5 if parameters.get("fault") is Fault.HANG else 60.0
    async with QdrantVectorStore(server.url, api_key=API_KEY, timeout_s=timeout_s) as opened:
        yield opened


@pytest.fixture
async def _filled(store: QdrantVectorStore, server: QdrantServer) -> None:
    await store.upload(BATCH)
    server.requests.clear()


async def similar(store: QdrantVectorStore) -> object:
    return await store.similar("r", 1, "a.py", k=2)


async def exported(store: QdrantVectorStore) -> object:
    stored: StoredVectors = await store.export("r", 1)
    return stored.paths, stored.vectors.tolist(), stored.isolated.tolist()


CALLS: dict[str, Callable[[QdrantVectorStore], Awaitable[object]]] = {
    "upload": lambda store: store.upload(BATCH),
    "count": lambda store: store.count("r", 1),
    "similar": similar,
    "export": exported,
    "sweep": lambda store: store.sweep("r", below=1),
    "discard": lambda store: store.discard("r", 2),
    "check": lambda store: store.check(),
}
PASSING = (
    Fault.DROP_BEFORE,
    Fault.DROP_AFTER,
    Fault.HANG,
    Fault.INTERNAL,
    Fault.BAD_GATEWAY,
    Fault.HTML,
    Fault.OTHER_JSON,
    Fault.NO_RESULT,
    Fault.TIMEOUT,
    Fault.BUSY,
    Fault.BUSY_ONE_SECOND,
    Fault.BUSY_UNTIL_DATE,
)
# All calls take one way, so each fault is tried with one of them, and each of them with one fault.
EACH_FAULT_AND_EACH_CALL = pytest.mark.parametrize(
    ("name", "fault"),
    [*(("similar", fault) for fault in PASSING), *((name, Fault.DROP_AFTER) for name in CALLS if name != "similar")],
)


OF_THEIR_OWN = {
    Fault.HANG: TooSlowError,
    Fault.TIMEOUT: TooSlowError,
    Fault.BUSY: RateLimitedError,
    Fault.BUSY_ONE_SECOND: RateLimitedError,
    Fault.BUSY_UNTIL_DATE: RateLimitedError,
}
"""What callers may tell from other reasons to be unavailable."""


@pytest.mark.usefixtures("_filled")
@EACH_FAULT_AND_EACH_CALL
async def test_a_fault_that_passes_is_tried_again_and_not_noticed(
    store: QdrantVectorStore, server: QdrantServer, name: str, fault: Fault
) -> None:
    expected = await CALLS[name](store)
    usual = len(server.requests)
    server.requests.clear()
    server.faults.append(fault)
    assert await CALLS[name](store) == expected
    assert len(server.requests) == usual + 1
    assert await store.count("r", 1) == 4


@pytest.mark.usefixtures("_filled")
@EACH_FAULT_AND_EACH_CALL
async def test_a_fault_that_stays_is_an_error_after_three_tries(
    store: QdrantVectorStore, server: QdrantServer, name: str, fault: Fault
) -> None:
    server.faults.extend([fault] * 3)
    with pytest.raises(OF_THEIR_OWN.get(fault, VectorStoreUnavailableError), match="Qdrant"):
        await CALLS[name](store)
    assert len(server.requests) == 3
    assert await store.count("r", 1) == 4


FINAL = {
    Fault.UNAUTHORIZED: (VectorStoreAccessError, "401: Invalid API key"),
    Fault.FORBIDDEN: (VectorStoreAccessError, "403: Forbidden: Write access"),
    Fault.FULL: (VectorStoreFullError, "disk usage is at 95%"),
    Fault.DISK_FULL: (VectorStoreFullError, "No space left"),
    Fault.POINTS_LIMIT: (VectorStoreFullError, "Max points count limit"),
    Fault.REDIRECT: (VectorStoreMismatchError, "is not Qdrant .301"),
    Fault.OTHER_SERVER: (VectorStoreMismatchError, "is not Qdrant .404"),
    Fault.TOO_LARGE: (VectorStoreMismatchError, "before Qdrant takes no request of our size .413"),
    Fault.ECHO: (VectorStoreMismatchError, r"400.*api-key: \*\*\*"),
    Fault.BUSY_FOR_AN_HOUR: (RateLimitedError, "ask in 3600 s"),
}


@pytest.mark.usefixtures("_filled")
@pytest.mark.parametrize(
    ("name", "fault"),
    [*(("upload", fault) for fault in FINAL), *((name, Fault.FORBIDDEN) for name in CALLS if name != "upload")],
)
async def test_what_will_not_pass_is_not_tried_again_and_says_what_it_is(
    store: QdrantVectorStore, server: QdrantServer, name: str, fault: Fault
) -> None:
    kind, words = FINAL[fault]
    server.faults.append(fault)
    with pytest.raises(kind, match=words):
        await CALLS[name](store)
    assert len(server.requests) == 1


@pytest.mark.usefixtures("_filled")
@pytest.mark.parametrize("fault", [fault for fault in Fault if fault not in {Fault.HANG, Fault.LOSE_ONE}])
async def test_no_error_shows_the_key(store: QdrantVectorStore, server: QdrantServer, fault: Fault) -> None:
    server.faults.extend([fault] * 3)
    with pytest.raises(VectorStoreError) as caught:
        await store.count("r", 1)
    assert API_KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.usefixtures("_filled", "real_waits")
async def test_a_server_that_says_when_is_asked_then(
    store: QdrantVectorStore, server: QdrantServer, real_waits: list[float]
) -> None:
    server.faults.append(Fault.BUSY_ONE_SECOND)
    assert await store.count("r", 1) == 4
    assert real_waits == [1.0]


@pytest.mark.usefixtures("_filled", "real_waits")
async def test_the_waits_between_tries_grow_and_are_not_all_the_same(
    store: QdrantVectorStore, server: QdrantServer, real_waits: list[float]
) -> None:
    server.faults.extend([Fault.INTERNAL] * 2)
    assert await store.count("r", 1) == 4
    first, second = real_waits
    assert 0.25 <= first <= 0.75
    assert 0.5 <= second <= 1.0
    assert first not in {0.25, 0.5}  # the jitter


async def test_a_server_that_is_not_there_is_an_error(server: QdrantServer) -> None:
    async with rest_server() as gone:
        url = gone.url
    async with QdrantVectorStore(url, api_key=API_KEY) as store:
        with pytest.raises(VectorStoreUnavailableError, match="cannot be reached"):
            await store.check()


@pytest.mark.parametrize("key", ["", "another"])
async def test_a_wrong_key_is_refused_and_not_shown(server: QdrantServer, key: str) -> None:
    async with QdrantVectorStore(server.url, api_key=key) as store:
        with pytest.raises(VectorStoreAccessError, match="check the API key") as caught:
            await store.upload(BATCH)
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize(("key", "lets_in"), [(API_KEY, True), ("", False), ("another", False)])
async def test_access_is_told_without_a_collection(server: QdrantServer, key: str, lets_in: bool) -> None:
    async with QdrantVectorStore(server.url, api_key=key) as store:
        if lets_in:
            await store.check_access()
            return
        with pytest.raises(VectorStoreAccessError, match="check the API key") as caught:
            await store.check_access()
    assert not key or key not in str(caught.value)


async def test_access_of_a_server_that_is_silent_or_gone_is_not_refused(server: QdrantServer) -> None:
    async with QdrantVectorStore(server.url, api_key=API_KEY, timeout_s=0.2) as store:
        server.faults.append(Fault.HANG)
        with pytest.raises(VectorStoreUnavailableError, match=r"within 0.2 s"):
            await store.check_access()
    async with rest_server() as gone:
        url = gone.url
    async with QdrantVectorStore(url, api_key=API_KEY) as store:
        with pytest.raises(VectorStoreUnavailableError, match="cannot be reached"):
            await store.check_access()


@pytest.mark.parametrize("url", ["http://qdrant.example:6333", "http://10.0.0.1:6333", "qdrant.example", "ftp://h"])
async def test_an_address_in_the_clear_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="https://"):
        QdrantVectorStore(url, api_key=API_KEY)


@pytest.mark.parametrize("key", ["two\nlines", "clé", "sp ace", "\x00"])
async def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ValueError, match="header") as caught:
        QdrantVectorStore("https://qdrant.example", api_key=key)
    assert key not in str(caught.value)


async def test_without_a_call_nothing_is_asked(server: QdrantServer) -> None:
    async with QdrantVectorStore(server.url, api_key=API_KEY):
        pass
    assert server.requests == []


async def test_reading_and_removing_make_no_collection(store: QdrantVectorStore, server: QdrantServer) -> None:
    assert await store.count("r", 1) == 0
    assert (await store.export("r", 1)).paths == ()
    with pytest.raises(VectorNotFoundError):
        await store.similar("r", 1, "a.py", k=1)
    await store.sweep("r", below=9)
    await store.discard("r", 1)
    await store.check()
    assert server.collections == {}


async def test_two_that_make_the_collection_at_once_do_not_harm_each_other(server: QdrantServer) -> None:
    stores = [QdrantVectorStore(server.url, api_key=API_KEY) for _ in range(2)]
    await asyncio.gather(*(s.upload(random_batch(f"r{i}", 5)) for i, s in enumerate(stores)))
    assert [await stores[0].count(f"r{i}", 1) for i in range(2)] == [5, 5]
    for store in stores:
        await store.close()


async def test_a_collection_that_was_made_meanwhile_is_taken(store: QdrantVectorStore, server: QdrantServer) -> None:
    server.faults.extend([None, Fault.DROP_AFTER])  # what the second try meets is what the loser of a race meets: 409
    await store.upload(BATCH)
    assert [method for method, target, _ in server.requests if target == f"/collections/{NAME}"][:3] == [
        "GET",
        "PUT",
        "PUT",
    ]
    assert await store.count("r", 1) == 4


async def test_a_collection_that_is_not_readable_at_once_is_asked_for_again(
    store: QdrantVectorStore, server: QdrantServer
) -> None:
    """Who loses the race to make it may read it before its shards are there: 500 `0 of 0 read operations failed`."""
    server.faults.extend([None, None, Fault.INTERNAL])
    await store.upload(BATCH)
    assert await store.count("r", 1) == 4


@pytest.mark.parametrize(
    ("vectors", "words"),
    [
        (models.VectorParams(size=384, distance=models.Distance.COSINE), "384 numbers with distance Cosine"),
        (models.VectorParams(size=64, distance=models.Distance.DOT), "64 numbers with distance Dot"),
        ({"text": models.VectorParams(size=64, distance=models.Distance.COSINE)}, "named vectors"),
        (
            models.VectorParams(size=64, distance=models.Distance.COSINE, datatype=models.Datatype.UINT8),
            "64 numbers with distance Cosine",
        ),
        (None, "no vectors"),
    ],
)
async def test_a_collection_of_somebody_else_is_left_alone_and_named(
    store: QdrantVectorStore, server: QdrantServer, vectors: models.VectorsConfig | None, words: str
) -> None:
    server.collections[NAME] = StoredCollection(models.CreateCollection(vectors=vectors))
    for call in (store.upload(BATCH), store.check()):
        with pytest.raises(ForeignCollectionError, match=f"{NAME} of Qdrant holds .*{words}.*Remove or rename it"):
            await call
    assert server.collections[NAME].points == {}
    assert server.collections[NAME].indexes == {}


@pytest.mark.usefixtures("_filled")
@pytest.mark.parametrize("key", ["repo_key", "generation", "isolated", "language", "file_path"])
async def test_a_missing_index_is_named_by_check_and_made_by_the_next_upload(
    store: QdrantVectorStore, server: QdrantServer, key: str
) -> None:
    """Also in the program that has made it, and uploaded, before."""
    del server.collections[NAME].indexes[key]
    with pytest.raises(MissingIndexError, match=f"no payload index of {key}"):
        await store.check()
    with pytest.raises(MissingIndexError, match=f'lacks an index.*"{key}"'):
        await store.similar("r", 1, "a.py", k=1, languages=list(BATCH.languages), path_prefix="b")
    await store.upload(BATCH)
    await store.check()
    assert len(await store.similar("r", 1, "a.py", k=1, languages=list(BATCH.languages), path_prefix="b")) == 1


async def test_a_server_older_than_prefix_indexes_is_refused(store: QdrantVectorStore, server: QdrantServer) -> None:
    server.knows_prefix = False
    with pytest.raises(VectorStoreMismatchError, match=r"file_path: version 1\.19 or newer"):
        await store.upload(BATCH)


@pytest.mark.usefixtures("_filled")
async def test_a_collection_that_was_removed_is_made_again(store: QdrantVectorStore, server: QdrantServer) -> None:
    server.collections.clear()
    await store.upload(BATCH)
    assert await store.count("r", 1) == 4


async def test_a_collection_that_is_removed_during_an_upload_is_an_error_that_says_so(
    store: QdrantVectorStore, server: QdrantServer
) -> None:
    with pytest.raises(VectorStoreUnavailableError, match="removed during an upload: index again"):
        await store.upload(random_batch("r", 1201), progress=lambda _: server.collections.clear())
    await store.upload(BATCH)
    assert await store.count("r", 1) == 4


async def test_an_upload_to_a_collection_that_is_there_asks_for_it_once(
    store: QdrantVectorStore, server: QdrantServer
) -> None:
    await store.upload(BATCH)
    server.requests.clear()
    await store.upload(BATCH)
    assert [method for method, _, _ in server.requests] == ["GET", "PUT"]


@pytest.mark.usefixtures("_filled")
async def test_a_store_that_kept_less_than_it_said_shows_in_count(
    store: QdrantVectorStore, server: QdrantServer
) -> None:
    server.faults.extend([None, Fault.LOSE_ONE])
    await store.upload(batch_of("r", {f"{i}.py": vector(1, i) for i in range(9)}, generation=2))
    assert await store.count("r", 2) == 8


@pytest.mark.usefixtures("_filled")
async def test_points_of_other_programs_are_told_from_ours(store: QdrantVectorStore, server: QdrantServer) -> None:
    for _, payload in server.collections[NAME].points.values():
        payload["language"] = "cobol"
    with pytest.raises(VectorStoreMismatchError, match="not as we store them"):
        await store.export("r", 1)


# what is stored


@pytest.mark.usefixtures("_filled")
async def test_a_point_carries_what_other_programs_may_look_for(server: QdrantServer) -> None:
    payloads = {payload["file_path"]: payload for _, payload in server.collections[NAME].points.values()}
    assert payloads["a.py"] == {
        "repo_url": "https://r",
        "repo_key": "r",
        "generation": 1,
        "commit": "c0ffee",
        "file_path": "a.py",
        "language": "python",
        "isolated": False,
        "embedding_type": "structural",
        "model": "node2vec",
    }
    assert payloads["lone.py"]["isolated"] is True


async def test_the_id_of_a_point_never_changes(store: QdrantVectorStore, server: QdrantServer) -> None:
    await store.upload(batch_of("github.com/pallets/click", {"src/click/core.py": vector(1)}, generation=7))
    assert list(server.collections[NAME].points) == ["911c8d75-d4f4-529c-b5a4-2fe0367a8469"]


async def test_points_travel_in_batches_of_a_hundred_or_more(store: QdrantVectorStore, server: QdrantServer) -> None:
    await store.upload(random_batch("r", 1201))
    sizes = [len(body["batch"]["ids"]) for _, target, body in server.requests if "/points" in target]
    assert sizes == [500, 500, 201]


async def test_a_request_is_below_what_most_gateways_let_through(
    store: QdrantVectorStore, server: QdrantServer
) -> None:
    rows = np.random.default_rng(0).standard_normal((500, 64)).tolist()
    batch = batch_of("github.com/" + "r" * 80, {f"{'folder/' * 20}{i:03}.py": row for i, row in enumerate(rows)})
    await store.upload(batch)
    (sent,) = [body for _, target, body in server.requests if "/points" in target]
    assert len(json.dumps(sent)) < 1_000_000


async def test_a_request_that_is_too_large_for_the_server_is_refused_with_its_words(
    store: QdrantVectorStore, server: QdrantServer
) -> None:
    server.max_body_bytes = 100_000
    with pytest.raises(VectorStoreMismatchError, match="larger than allowed"):
        await store.upload(random_batch("r", 500))


@pytest.mark.usefixtures("_filled")
async def test_requests_share_a_connection(store: QdrantVectorStore, server: QdrantServer) -> None:
    for _ in range(5):
        await similar(store)
    assert server.connections == 1
    await asyncio.gather(*(similar(store) for _ in range(20)))
    assert server.connections <= 20
    made = server.connections
    await asyncio.gather(*(similar(store) for _ in range(20)))
    assert server.connections == made


@pytest.mark.usefixtures("_filled")
async def test_a_connection_that_the_server_ends_after_its_answer_is_not_noticed(
    store: QdrantVectorStore, server: QdrantServer
) -> None:
    server.hangs_up = True
    expected = await similar(store)
    for _ in range(5):
        await asyncio.sleep(0.01)
        assert await similar(store) == expected
    assert server.connections > 5


async def test_no_graph_is_built_as_every_search_is_exact(store: QdrantVectorStore, server: QdrantServer) -> None:
    await store.upload(BATCH)
    made = server.collections[NAME].request
    assert made.hnsw_config is not None
    assert made.hnsw_config.m == 0


async def test_ties_beyond_the_first_answer_are_all_looked_at(store: QdrantVectorStore, server: QdrantServer) -> None:
    twins = {f"twin{i:03}.py": vector(3, 1, 2) for i in range(200)}
    await store.upload(batch_of("r", {"start.py": vector(1, 1), "far.py": vector(-1), **twins}))
    server.requests.clear()
    hits = await store.similar("r", 1, "start.py", k=3)
    assert [hit.path for hit in hits] == ["twin000.py", "twin001.py", "twin002.py"]
    searches = [body["searches"] for _, target, body in server.requests if target.endswith("/points/query/batch")]
    assert [near["limit"] for _, near in searches] == [19, 76, 304]


async def test_a_usual_search_is_one_request(store: QdrantVectorStore, server: QdrantServer) -> None:
    await store.upload(random_batch("r", 300))
    server.requests.clear()
    await store.similar("r", 1, "src/000000.py", k=10)
    assert [target for _, target, _ in server.requests] == [f"/collections/{NAME}/points/query/batch"]


async def test_a_search_looks_for_no_module(store: QdrantVectorStore, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.upload(random_batch("r", 30))
    await store.similar("r", 1, "src/000000.py", k=10)  # which may still load some
    looked_for: list[str] = []

    class Watch:
        def find_spec(self, name: str, *_: object) -> None:
            looked_for.append(name)

    monkeypatch.setattr(sys, "meta_path", [Watch(), *sys.meta_path])
    await store.similar("r", 1, "src/000000.py", k=10)
    assert looked_for == []  # one that is not there is looked for in every folder of the path, each time


async def test_similarities_do_not_depend_on_how_the_engine_rounds(
    store: QdrantVectorStore, server: QdrantServer
) -> None:
    batch = random_batch("r", 50)
    await store.upload(batch)
    before = await store.similar("r", 1, "src/000000.py", k=49)
    rng = np.random.default_rng(1)
    for point_id, (row, payload) in server.collections[NAME].points.items():
        server.collections[NAME].points[point_id] = (
            (row * (1 + rng.uniform(-4e-7, 4e-7))).astype(np.float32),
            payload,
        )
    after = await store.similar("r", 1, "src/000000.py", k=49)
    assert [hit.path for hit in after] == [hit.path for hit in before]
    assert [hit.similarity for hit in after] == pytest.approx([hit.similarity for hit in before], abs=1e-7)


@pytest.mark.usefixtures("_filled")
async def test_what_no_request_can_carry_is_not_found(store: QdrantVectorStore) -> None:
    with pytest.raises(VectorNotFoundError):
        await store.similar("r", 1, "a\udcff.py", k=1)
    assert await store.similar("r", 1, "a.py", k=1, path_prefix="a\udcff") == []
