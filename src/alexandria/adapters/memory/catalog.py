"""The catalog in the memory of this process."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from alexandria.domain.graph import DependencyGraph
from alexandria.domain.snapshot import Snapshot
from alexandria.ports.catalog import (
    Catalog,
    Direction,
    IndexedFile,
    Neighbors,
    RepositoryNotFoundError,
    StaleGenerationError,
)
from alexandria.ports.catalog_row import CatalogRow, check_snapshot


class MemoryCatalog(Catalog):
    """Packed rows in a dict. No method waits, so each is one step for the tasks of one event loop."""

    def __init__(self) -> None:
        self._announced: dict[str, int] = {}  # the largest generation that was ever seen
        self._fences: dict[str, int] = {}  # the smallest that may still be activated
        self._current: dict[str, tuple[Snapshot, CatalogRow]] = {}

    async def begin(self, repo: str, generation: int) -> None:
        fence = self._fences.get(repo, 0)
        if generation < fence:
            raise StaleGenerationError(repo, generation, fence)
        self._announced[repo] = self._fences[repo] = generation

    async def activate(self, snapshot: Snapshot, graph: DependencyGraph) -> None:
        check_snapshot(snapshot, graph)
        await self.begin(snapshot.repo, snapshot.generation)
        current = self._current.get(snapshot.repo)
        if current is None or current[0].generation != snapshot.generation:
            self._current[snapshot.repo] = snapshot, CatalogRow.from_graph(graph)

    async def snapshot(self, repo: str) -> Snapshot:
        return self._of(repo)[0]

    async def snapshots(self) -> Sequence[Snapshot]:
        return [self._current[repo][0] for repo in sorted(self._current)]

    async def files(
        self, repo: str, *, path_prefix: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[IndexedFile]:
        return self._of(repo)[1].files(path_prefix=path_prefix, after=after, limit=limit)

    async def neighbors(
        self, repo: str, path: str, *, directions: Collection[Direction] = tuple(Direction), depth: int = 1
    ) -> Neighbors:
        snapshot, row = self._of(repo)
        return row.neighbors(snapshot, path, directions=directions, depth=depth)

    async def graph(self, repo: str) -> DependencyGraph:
        snapshot, row = self._of(repo)
        return row.graph(snapshot.imports)

    async def delete(self, repo: str) -> int:
        self._current.pop(repo, None)
        if repo not in self._announced:
            return 0
        self._fences[repo] = self._announced[repo] + 1
        return self._fences[repo]

    async def check(self) -> None:
        """Do nothing: memory is always there."""

    def _of(self, repo: str) -> tuple[Snapshot, CatalogRow]:
        try:
            return self._current[repo]
        except KeyError:
            raise RepositoryNotFoundError(repo) from None
