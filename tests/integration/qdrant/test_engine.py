"""The suite of the port over Qdrant's own engine, where its wheel is installed: filters, ties and scores are real."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from alexandria.adapters.qdrant.vector_store import QdrantVectorStore
from contract import test_vector_store
from contract.stores import batch_of, check_hits, random_batch, vector
from live.suites import cases_that_take
from support.qdrant_rest import API_KEY

pytest.importorskip("qdrant_edge", reason="the wheel qdrant-edge-py is not installed")
if TYPE_CHECKING:
    from support.qdrant_engine import EngineServer

pytestmark = pytest.mark.long

globals().update(cases_that_take(test_vector_store, "store"))


@pytest.fixture
async def server() -> AsyncIterator[EngineServer]:
    from support.qdrant_engine import engine_server  # noqa: PLC0415 (not before it is known to be there)

    async with engine_server() as running:
        yield running


@pytest.fixture
async def store(server: EngineServer) -> AsyncIterator[QdrantVectorStore]:
    async with QdrantVectorStore(server.url, api_key=API_KEY, timeout_s=60.0) as opened:
        yield opened


async def test_many_ties_come_in_the_order_of_the_paths(store: QdrantVectorStore) -> None:
    twins = {f"twin{i:03}.py": vector(3, 1, 2) for i in range(200)}
    await store.upload(batch_of("r", {"start.py": vector(1, 1), "far.py": vector(-1), **twins}))
    hits = await store.similar("r", 1, "start.py", k=3)
    assert [hit.path for hit in hits] == ["twin000.py", "twin001.py", "twin002.py"]


async def test_numbers_agree_with_plain_sums_on_a_larger_repository(store: QdrantVectorStore) -> None:
    batch = random_batch("r", 3000)
    await store.upload(batch)
    for path in batch.embeddings.paths[::500]:
        check_hits(await store.similar("r", 1, path, k=50), batch, path, k=50)
