"""The local mode of Qdrant's client, and what of the client is loaded when."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from qdrant_client import QdrantClient, models

from alexandria.adapters.qdrant.vector_store import LocalQdrantVectorStore
from alexandria.ports.vector_store import VectorStoreMismatchError, VectorStoreUnavailableError
from contract.stores import batch_of, check_hits, random_batch, vector

LOADS_NOTHING = """
import asyncio, sys
from alexandria.adapters.qdrant.vector_store import LocalQdrantVectorStore, QdrantVectorStore

async def main():
    async with QdrantVectorStore("https://qdrant.example", api_key="k"), LocalQdrantVectorStore(":memory:"):
        print(sorted(name for name in sys.modules if name.split(".")[0] in {"qdrant_client", "grpc", "httpx"}))

asyncio.run(main())
"""


def test_the_client_is_not_loaded_before_the_first_call() -> None:
    done = subprocess.run([sys.executable, "-c", LOADS_NOTHING], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


async def test_a_directory_is_found_again(tmp_path: Path) -> None:
    batch = random_batch("r", 30)
    async with LocalQdrantVectorStore(str(tmp_path / "q")) as store:
        await store.upload(batch)
    async with LocalQdrantVectorStore(str(tmp_path / "q")) as store:
        assert await store.count("r", 1) == 30
        check_hits(await store.similar("r", 1, "src/000000.py", k=5), batch, "src/000000.py", k=5)


# The client leaves its lock file to the garbage collector when it cannot have it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_directory_that_is_open_already_is_refused(tmp_path: Path) -> None:
    async with LocalQdrantVectorStore(str(tmp_path)) as first, LocalQdrantVectorStore(str(tmp_path)) as second:
        await first.upload(batch_of("r", {"a.py": vector(1)}))
        with pytest.raises(VectorStoreUnavailableError, match="one at a time"):
            await second.count("r", 1)
        assert await first.count("r", 1) == 1


async def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with LocalQdrantVectorStore(str(tmp_path / "file" / "q")) as store:
        with pytest.raises(VectorStoreUnavailableError, match="local Qdrant failed"):
            await store.check()


async def test_a_collection_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    client = QdrantClient(path=str(tmp_path))
    size_3 = models.VectorParams(size=3, distance=models.Distance.COSINE)
    client.create_collection("code_structure_embeddings", vectors_config=size_3)
    client.close()
    async with LocalQdrantVectorStore(str(tmp_path)) as store:
        with pytest.raises(VectorStoreMismatchError, match="vectors of 3 numbers"):
            await store.upload(batch_of("r", {"a.py": vector(1)}))


async def test_it_works_in_a_thread_of_its_own_that_ends_with_it(tmp_path: Path) -> None:
    def threads() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("qdrant-local")]

    async with LocalQdrantVectorStore(":memory:") as store:
        await store.check()
        assert len(threads()) == 1
    assert threads() == []
