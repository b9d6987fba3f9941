"""The adapter against Qdrant's own engine, where its wheel is installed beside: filters, ties and scores are real."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alexandria.adapters.qdrant.vector_store import QdrantVectorStore
from alexandria.domain.language import Language
from alexandria.ports.vector_store import IsolatedVectorError, VectorBatch
from contract.stores import LANGUAGES, PATHS, batch_of, batches, check_hits, random_batch, vector
from support.qdrant_rest import API_KEY

pytest.importorskip("qdrant_edge", reason="the wheel qdrant-edge-py is not installed")
if TYPE_CHECKING:
    from support.qdrant_engine import EngineServer


@pytest.fixture
async def server() -> AsyncIterator[EngineServer]:
    from support.qdrant_engine import engine_server  # noqa: PLC0415 (not before it is known to be there)

    async with engine_server() as running:
        yield running


@pytest.fixture
async def store(server: EngineServer) -> AsyncIterator[QdrantVectorStore]:
    async with QdrantVectorStore(server.url, api_key=API_KEY, timeout_s=60.0) as opened:
        yield opened


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    batch=batches(),
    k=st.integers(1, 12),
    languages=st.sets(LANGUAGES, max_size=3),
    path_prefix=st.just("") | PATHS.map(lambda path: path[:2]),
)
async def test_search_agrees_with_plain_sums(
    store: QdrantVectorStore, batch: VectorBatch, k: int, languages: set[Language], path_prefix: str
) -> None:
    await store.upload(batch)
    assert await store.count(batch.repo, batch.generation) == len(batch.embeddings.paths)
    assert (await store.export(batch.repo, batch.generation)).paths == batch.embeddings.paths
    for path, isolated in zip(batch.embeddings.paths, batch.embeddings.isolated.tolist(), strict=True):
        search = store.similar(batch.repo, batch.generation, path, k=k, languages=languages, path_prefix=path_prefix)
        if isolated:
            with pytest.raises(IsolatedVectorError):
                await search
        else:
            check_hits(await search, batch, path, k=k, languages=languages, path_prefix=path_prefix)


async def test_generations_and_repositories_are_kept_apart_and_removed_apart(store: QdrantVectorStore) -> None:
    for repo in ("r", "r2"):
        for generation in (1, 2, 3):
            await store.upload(random_batch(repo, 7, generation=generation))

    async def counts() -> Mapping[str, list[int]]:
        return {repo: [await store.count(repo, g) for g in (1, 2, 3)] for repo in ("r", "r2")}

    await store.sweep("r", below=2)
    assert await counts() == {"r": [0, 7, 7], "r2": [7, 7, 7]}
    await store.discard("r", 2)
    assert await counts() == {"r": [0, 0, 7], "r2": [7, 7, 7]}
    await store.delete("r2")
    assert await counts() == {"r": [0, 0, 7], "r2": [0, 0, 0]}


async def test_many_ties_come_in_the_order_of_the_paths(store: QdrantVectorStore) -> None:
    twins = {f"twin{i:03}.py": vector(3, 1, 2) for i in range(200)}
    await store.upload(batch_of("r", {"start.py": vector(1, 1), "far.py": vector(-1), **twins}))
    hits = await store.similar("r", 1, "start.py", k=3)
    assert [hit.path for hit in hits] == ["twin000.py", "twin001.py", "twin002.py"]


async def test_numbers_agree_with_plain_sums_on_a_larger_repository(store: QdrantVectorStore) -> None:
    batch = random_batch("r", 3000)
    await store.upload(batch)
    assert len((await store.export("r", 1)).paths) == 3000
    for path in batch.embeddings.paths[::500]:
        check_hits(await store.similar("r", 1, path, k=50), batch, path, k=50)
