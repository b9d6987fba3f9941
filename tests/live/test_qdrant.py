"""The suite of the vector store over the Qdrant at `QDRANT_URL` (with `QDRANT_API_KEY`), in a collection of its own."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest
from qdrant_client import QdrantClient, models

from alexandria.adapters.qdrant.vector_store import QdrantVectorStore
from contract import test_vector_store
from contract.stores import random_batch
from live.suites import cases_that_take

URL = os.environ.get("QDRANT_URL", "")
API_KEY = os.environ.get("QDRANT_API_KEY", "")

if not URL:
    pytest.skip("QDRANT_URL is not set", allow_module_level=True)

pytestmark = pytest.mark.live

globals().update(cases_that_take(test_vector_store, "store"))


@pytest.fixture(scope="module")
def client() -> Iterator[QdrantClient]:
    headers = {"api-key": API_KEY} if API_KEY else {}
    opened = QdrantClient(url=URL, headers=headers, timeout=60, check_compatibility=False)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def collection(client: QdrantClient) -> Iterator[str]:
    name = f"alexandria_live_{uuid4().hex[:12]}"
    yield name
    client.delete_collection(name)


@pytest.fixture
async def store(client: QdrantClient, collection: str) -> AsyncIterator[QdrantVectorStore]:
    async with QdrantVectorStore(URL, api_key=API_KEY, timeout_s=60.0, collection=collection) as opened:
        yield opened
    if client.collection_exists(collection):
        everything = models.FieldCondition(key="generation", range=models.Range(lt=2**60))
        client.delete(collection, models.FilterSelector(filter=models.Filter(must=[everything])), wait=True)


async def test_the_collection_is_made_with_all_its_indexes(store: QdrantVectorStore) -> None:
    await store.upload(random_batch("r", 3))
    await store.check()
