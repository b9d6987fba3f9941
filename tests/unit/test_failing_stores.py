"""A job whose stores fail, at each step and in each way that the ports name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from alexandria.domain.errors import AlexandriaError
from alexandria.domain.job import JobRecord, JobState
from alexandria.ports.catalog import (
    CatalogAccessError,
    CatalogFullError,
    CatalogUnavailableError,
    CatalogVersionError,
)
from alexandria.ports.vector_store import (
    VectorStoreAccessError,
    VectorStoreFullError,
    VectorStoreMismatchError,
    VectorStoreUnavailableError,
)
from support.memory_library import MemoryWorld
from support.trees import SHOP, commit_all, write_tree

URL = "https://github.com/test/shop"
REPO = "github.com/test/shop"

LATER = {VectorStoreUnavailableError, CatalogUnavailableError}
"""What may be over in a moment: the job is tried again, three times in all."""


class Store:
    """Hands on every call to a store, but for one that fails as long as `error` is set."""

    def __init__(self, store: object, step: str) -> None:
        self._store = store
        self._step = step
        self.error: AlexandriaError | None = None
        self.failures = 0

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._store, name)

        async def call(*arguments: object, **named: object) -> object:
            if name == self._step and self.error is not None:
                self.failures += 1
                raise self.error
            return await method(*arguments, **named)

        return call


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    root = write_tree(tmp_path / "mirror/github.com/test/shop", SHOP)
    commit_all(root)
    return root


def world_with(shop: Path, step: str) -> tuple[MemoryWorld, Store]:
    """Return a world in which one of the stores can fail at `step`."""
    world = MemoryWorld(mirror=str(shop.parents[2]))
    broken = Store(world.catalog if hasattr(world.catalog, step) else world.vectors, step)
    stores: dict[str, Any] = {"catalog" if hasattr(world.catalog, step) else "vectors": broken}
    return MemoryWorld(mirror=str(shop.parents[2]), **stores), broken


async def job_ended(world: MemoryWorld) -> JobRecord:
    """Submit the repository, and work until its job has ended."""
    submitted = await world.library.submit(URL)
    for _ in range(3):
        ended = await world.library.work_off_one("w")
        assert ended is not None
        if ended.state is not JobState.QUEUED:
            break
        world.clock.advance(3600)
    latest = (await world.library.job_history())[0]
    assert latest.job_id == submitted.job.id
    return latest


AT_EACH_STEP = [
    *[
        (step, kind)
        for step in ("upload", "count")
        for kind in (
            VectorStoreUnavailableError,
            VectorStoreAccessError,
            VectorStoreFullError,
            VectorStoreMismatchError,
        )
    ],
    *[
        (step, kind)
        for step in ("begin", "activate")
        for kind in (CatalogUnavailableError, CatalogAccessError, CatalogFullError, CatalogVersionError)
    ],
]


@pytest.mark.parametrize(("step", "kind"), AT_EACH_STEP)
async def test_a_job_whose_store_fails_ends_with_the_reason_and_leaves_the_old_index_whole(
    shop: Path, step: str, kind: type[AlexandriaError]
) -> None:
    world, store = world_with(shop, step)
    assert (await job_ended(world)).status is JobState.COMPLETE
    before = await world.library.similar(REPO, "shop/cart.py")
    write_tree(shop, {"shop/new.py": "import shop.cart\n"})
    commit_all(shop)

    store.error = kind("what the store says")
    failed = await job_ended(world)
    assert (failed.status, failed.reason) == (JobState.FAILED, "what the store says")
    assert store.failures == (3 if kind in LATER else 1)
    assert await world.library.similar(REPO, "shop/cart.py") == before

    store.error = None
    assert (await job_ended(world)).status is JobState.COMPLETE
    after = await world.library.similar(REPO, "shop/cart.py")
    assert "shop/new.py" in {hit.path for hit in after}
    counts = [await world.vectors.count(REPO, g) for g in range(1, after.snapshot.generation)]
    assert not any(counts)


@pytest.mark.parametrize("kind", [VectorStoreUnavailableError, VectorStoreAccessError, VectorStoreMismatchError])
async def test_a_sweep_that_fails_costs_no_second_training_and_is_made_up_for_by_the_next_run(
    shop: Path, kind: type[AlexandriaError], caplog: pytest.LogCaptureFixture
) -> None:
    world, store = world_with(shop, "sweep")
    assert (await job_ended(world)).status is JobState.COMPLETE
    old = (await world.library.repo(REPO)).generation

    store.error = kind("what the store says")
    assert (await job_ended(world)).status is JobState.COMPLETE
    assert store.failures == 1
    assert f"old vectors of {REPO} stay until its next run: what the store says" in caplog.text
    assert (await world.library.repo(REPO)).generation > old
    assert await world.vectors.count(REPO, old) == 8

    store.error = None
    assert (await job_ended(world)).status is JobState.COMPLETE
    assert await world.vectors.count(REPO, old) == 0
