"""The use cases over every vector store with every catalog: one index is visible, whole, whatever happens when."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from alexandria.adapters.system.clock import SystemClock
from alexandria.adapters.tree_sitter.parser import TreeSitterParser
from alexandria.application.index import index_repository
from alexandria.application.search import NoSuchRepositoryError, forget_repository, neighbor_files, similar_files
from alexandria.domain.repo_url import RepoUrl
from alexandria.domain.selection import Selection
from alexandria.domain.snapshot import Snapshot
from alexandria.ports.catalog import Catalog
from alexandria.ports.repo_source import RepoSource, SourceTree
from alexandria.ports.vector_store import VectorStore
from contract.stores import (
    CATALOGS,
    VECTOR_STORES,
    OpenVectors,
    pgvector_vectors_in_tiny_chunks,
    qdrant_vectors_in_tiny_batches,
    sqlite_vectors_in_tiny_chunks,
    store_directory,
)
from support.memory_library import RandomEmbedder

IN_TINY_BATCHES: dict[str, OpenVectors] = {
    "sqlite": sqlite_vectors_in_tiny_chunks,
    "qdrant": qdrant_vectors_in_tiny_batches,
    "pgvector": pgvector_vectors_in_tiny_chunks,
}
"""So that a handful of files is several steps, where the store has steps."""

REPO = RepoUrl("github.com/o/r")
PARSER = TreeSitterParser(processes=1)


class TreeOf(SourceTree):
    """A tree in memory: `same.py`, what it imports, and one file whose name says the generation."""

    commit, dirty, skipped = "c0ffee", False, {}

    def __init__(self, generation: int) -> None:
        self._content = {
            "same.py": b"import a, b, c\n",
            "a.py": b"import b\n",
            "b.py": b"",
            "c.py": b"",
            f"new{generation}.py": b"import same\n",
        }
        self.files = {path: len(content) for path, content in self._content.items()}

    def read(self, paths: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        for path in paths:
            yield path, self._content[path]


class SourceOf(RepoSource[RepoUrl]):
    """Opens one tree."""

    def __init__(self, tree: SourceTree) -> None:
        self._tree = tree

    @asynccontextmanager
    async def open(
        self, origin: RepoUrl, *, ref: str = "", progress: Callable[[float], None] = lambda _: None
    ) -> AsyncIterator[SourceTree]:
        yield self._tree


@dataclass
class Pair:
    """A vector store and a catalog that one repository is indexed into, again and again.

    Attributes:
        vectors: The one.
        catalog: The other.
        generations: All that were begun.
    """

    vectors: VectorStore
    catalog: Catalog
    generations: list[int] = field(default_factory=list)

    async def index(self, killer: Killer | None = None) -> Snapshot:
        """Index the next generation, in a program that ends when `killer` says so."""
        generation = len(self.generations) + 1
        self.generations.append(generation)
        vectors, catalog = self.seen_by(killer)
        result = await index_repository(
            REPO,
            generation=generation,
            source=SourceOf(TreeOf(generation)),
            parser=PARSER,
            make_embedder=RandomEmbedder,
            vectors=vectors,
            catalog=catalog,
            clock=SystemClock(),
            selection=Selection(),
        )
        return result.snapshot

    async def remove(self, killer: Killer | None = None) -> Snapshot:
        """Remove the repository, in such a program."""
        vectors, catalog = self.seen_by(killer)
        return await forget_repository(REPO.key, vectors=vectors, catalog=catalog)

    def seen_by(self, killer: Killer | None) -> tuple[VectorStore, Catalog]:
        if killer is None:
            return self.vectors, self.catalog
        return Mortal(self.vectors, killer), Mortal(self.catalog, killer)  # type: ignore[return-value]  # all is handed on

    async def visible(self) -> int:
        """Search and walk; hold both against the one generation that they name, and return it."""
        near = await similar_files(REPO.key, "same.py", vectors=self.vectors, catalog=self.catalog, k=100)
        assert {hit.path for hit in near} == set(TreeOf(near.snapshot.generation).files) - {"same.py"}
        walk = await neighbor_files(REPO.key, "same.py", catalog=self.catalog, depth=5)
        around = {file.path for file in (*walk.imports, *walk.importers)}
        assert around == set(TreeOf(walk.snapshot.generation).files) - {"same.py"}
        return near.snapshot.generation

    async def stored(self) -> dict[int, int]:
        """Return how many vectors each generation has that has any."""
        counts = {g: await self.vectors.count(REPO.key, g) for g in self.generations}
        return {g: count for g, count in counts.items() if count}


USUAL = {("memory", "memory"), ("sqlite", "sqlite"), ("qdrant", "postgres"), ("pgvector", "postgres")}
"""What the modes choose by themselves, and pgvector; the other pairs are for the long form."""

PAIRS = [
    pytest.param(pair, id="-".join(pair), marks=[] if pair in USUAL else [pytest.mark.long])
    for pair in itertools.product(VECTOR_STORES, CATALOGS)
]


@pytest.fixture(params=PAIRS)
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    vectors, catalog = request.param
    with store_directory() as directory:
        async with AsyncExitStack() as opened:
            yield Pair(
                await opened.enter_async_context({**VECTOR_STORES, **IN_TINY_BATCHES}[vectors](directory)),
                await opened.enter_async_context(CATALOGS[catalog](directory)),
            )


class KilledError(Exception):
    """The program is no more."""


class Killer:
    """Counts the steps of a run, and ends it at one of them."""

    def __init__(self, last: int) -> None:
        self.left = last

    def step(self) -> None:
        self.left -= 1
        if not self.left:
            raise KilledError


class Mortal:
    """A store of a program that is killed before or after a call, or between two batches of an upload."""

    def __init__(self, store: object, killer: Killer) -> None:
        self._store = store
        self._killer = killer

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._store, name)

        async def call(*arguments: object, **named: object) -> object:
            self._killer.step()
            if name == "upload":
                named["progress"] = lambda _: self._killer.step()
            answer = await method(*arguments, **named)
            self._killer.step()
            return answer

        return call


async def test_a_crash_between_any_two_steps_is_repaired_by_the_next_run(pair: Pair) -> None:
    before = await pair.index()
    for last in itertools.count(1):
        try:
            after = await pair.index(Killer(last))
        except KilledError:
            assert await pair.visible() in {before.generation, before.generation + 1}
            before = await pair.index()
            assert await pair.visible() == before.generation
            assert await pair.stored() == {before.generation: before.files}
        else:
            break
    assert await pair.visible() == after.generation
    assert await pair.stored() == {after.generation: after.files}
    assert last > 10  # five calls, with a step before and a step after each


async def test_a_removal_that_is_cut_off_is_completed_by_the_next(pair: Pair) -> None:
    for last in itertools.count(1):
        snapshot = await pair.index()
        try:
            await pair.remove(Killer(last))
        except KilledError:
            if await pair.catalog.snapshots():
                assert await pair.remove() == snapshot
            else:  # nobody finds it any more, and its vectors may be there
                with pytest.raises(NoSuchRepositoryError):
                    await pair.remove()
        else:
            break
        assert await pair.catalog.snapshots() == []
        assert await pair.stored() == {}
    assert await pair.stored() == {}
    assert last > 6  # three calls


async def test_a_run_that_begins_while_a_removal_hangs_keeps_its_vectors(pair: Pair) -> None:
    """The second step of a removal may be carried out late, or twice when its answer is lost."""
    await pair.index()
    fence = await pair.catalog.delete(REPO.key)
    newer = await pair.index()
    await pair.vectors.sweep(REPO.key, below=fence)
    assert await pair.visible() == newer.generation


async def test_every_answer_is_of_one_generation_while_others_become_current(pair: Pair) -> None:
    await pair.index()
    running = True

    async def search() -> set[int]:
        seen = set()
        while running:
            seen.add(await pair.visible())
            await asyncio.sleep(0)
        return seen

    searching = [asyncio.create_task(search()) for _ in range(3)]
    for _ in range(6):
        last = await pair.index()
    running = False
    seen = set.union(*await asyncio.gather(*searching))
    assert len(seen) > 1
    assert await pair.visible() == last.generation
