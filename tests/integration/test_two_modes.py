"""CLOUD and EDGE as processes of their own, over the engines that they share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.command import Command, Finished
from support.engines import Engines, running_engines
from support.trees import commit_all, write_tree

FILES = {
    "shop/__init__.py": "",
    "shop/prices.py": "",
    "shop/cart.py": "import shop.prices\n",
    "shop/till.py": "import shop.cart, shop.prices\n",
    "shop/stock.py": "import shop.prices, shop.till\n",
    "tests/test_cart.py": "import shop.cart\n",
}


@pytest.fixture
async def engines() -> AsyncIterator[Engines]:
    async with running_engines("two_modes") as engines:
        yield engines


async def run(command: Command, *arguments: str) -> Finished:
    return await asyncio.to_thread(command, *arguments)


async def test_what_the_edge_learns_the_cloud_finds(engines: Engines, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    commit_all(write_tree(mirror / "github.com/test/shop", FILES))
    cloud = Command(tmp_path / "cloud", engines.environment("CLOUD"))
    edge = Command(tmp_path / "edge", engines.environment("EDGE", REPO_MIRROR=str(mirror)))

    refused = await run(cloud, "repos")
    assert (refused.code, refused.out) == (1, "")
    assert "run `alexandria migrate`" in refused.err
    assert (await run(cloud, "migrate", "--json")).json == {"parts": [{"part": "catalog", "version": 1, "steps": 1}]}
    assert (await run(edge, "migrate")).out == "catalog: version 1, was up to date\n"

    job = (await run(cloud, "submit", "github.com/test/shop", "--json")).json["job"]
    assert (await run(cloud, "status")).out == "Offline\n"
    worked = await run(edge, "worker", "--once")
    assert worked.code == 0, worked.err
    history = (await run(cloud, "jobs", "--json")).json["history"]
    assert [(one["job_id"], one["status"], one["files_processed"]) for one in history] == [(job["id"], "complete", 6)]

    [repository] = (await run(cloud, "repos", "--json")).json["repositories"]
    assert (repository["repo"], repository["files"]) == ("github.com/test/shop", 6)
    hits = (await run(cloud, "similar", "shop/cart.py", "--json")).json["similar"]
    assert {hit["path"] for hit in hits} == {"shop/prices.py", "shop/till.py", "shop/stock.py", "tests/test_cart.py"}
    importers = (await run(cloud, "neighbors", "shop/cart.py", "--direction", "importers", "--json")).json["importers"]
    assert [one["path"] for one in importers] == ["shop/till.py", "tests/test_cart.py"]
    assert not (tmp_path / "cloud").exists(), "the cloud keeps nothing on its disk"

    assert (await run(cloud, "remove", "test/shop")).code == 0
    assert engines.vectors.collections["code_structure_embeddings"].points == {}


async def test_the_cloud_cannot_read_code_and_says_so(engines: Engines, tmp_path: Path) -> None:
    done = await run(Command(tmp_path, engines.environment("CLOUD")), "index", str(tmp_path))
    assert (done.code, done.out) == (1, "")
    assert "MODE=EDGE" in done.err


async def test_vectors_may_stay_in_the_database(engines: Engines, tmp_path: Path) -> None:
    root = write_tree(tmp_path / "shop", FILES)
    edge = Command(tmp_path / "edge", engines.environment("EDGE", VECTOR_STORE="pgvector", QDRANT_URL=""))
    parts = (await run(edge, "migrate", "--json")).json["parts"]
    assert [part["part"] for part in parts] == ["catalog", "vectors"]
    indexed = await run(edge, "index", str(root), "--json")
    assert indexed.code == 0, indexed.err
    assert len((await run(edge, "similar", "shop/cart.py", "--repo", "shop", "--json")).json["similar"]) == 4
    assert engines.vectors.requests == []


async def test_a_store_that_is_away_spoils_no_json(engines: Engines, tmp_path: Path) -> None:
    cloud = Command(tmp_path, engines.environment("CLOUD", VECTOR_STORE="pgvector", QDRANT_URL=""))
    assert (await run(cloud, "migrate")).code == 0
    nobody = Command(tmp_path, {**cloud.extra, "DATABASE_URL": "postgresql://u@127.0.0.1:1/alexandria"})
    done = await run(nobody, "repos", "--json")
    assert done.code == 1
    assert done.json["error"]["type"] == "CatalogUnavailableError"
    assert "retry" in done.err, "the tries between are told on stderr"
