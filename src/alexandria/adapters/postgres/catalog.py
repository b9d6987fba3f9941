"""The catalog in PostgreSQL."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import astuple, dataclass
from typing import TypeVar

from alexandria.adapters.postgres.database import Connection, PostgresDatabase
from alexandria.adapters.postgres.faults import PortErrors
from alexandria.adapters.postgres.schema import CATALOG
from alexandria.domain.graph import DependencyGraph
from alexandria.domain.snapshot import Snapshot
from alexandria.ports.catalog import (
    Catalog,
    CatalogAccessError,
    CatalogFullError,
    CatalogUnavailableError,
    CatalogVersionError,
    Direction,
    IndexedFile,
    Neighbors,
    RepositoryNotFoundError,
    StaleGenerationError,
)
from alexandria.ports.catalog_row import CatalogRow, check_snapshot, snapshot_from_json, snapshot_to_json

T = TypeVar("T")

CACHE_BYTES = 64 * 2**20

_ERRORS = PortErrors(
    unavailable=CatalogUnavailableError,
    access=CatalogAccessError,
    full=CatalogFullError,
    mismatch=CatalogVersionError,
)


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A row that was read. One generation of a repository is written once, so it cannot be outdated."""

    generation: int
    row: CatalogRow

    @property
    def size_bytes(self) -> int:
        return sum(map(len, astuple(self.row)))


class PostgresCatalog(Catalog):
    """One row a repository: activating is writing one row, and a reader sees the row before or after.

    The rows last read stay in memory, within `cache_bytes`: every call asks which generation is
    current, and reads the row, some hundred kilobytes for 10,000 files, only if it is another one.
    """

    def __init__(self, database: PostgresDatabase, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._database = database
        self._cache_bytes = cache_bytes
        self._cache: OrderedDict[str, _Loaded] = OrderedDict()

    async def begin(self, repo: str, generation: int) -> None:
        await self._write(lambda connection: _announce(connection, repo, generation))

    async def activate(self, snapshot: Snapshot, graph: DependencyGraph) -> None:
        check_snapshot(snapshot, graph)
        row = CatalogRow.from_graph(graph)

        async def work(connection: Connection) -> None:
            if await _announce(connection, snapshot.repo, snapshot.generation) == snapshot.generation:
                return
            await connection.execute(
                "UPDATE alexandria.repositories SET generation = $2, snapshot = $3, paths = $4, languages = $5, "
                "out_degrees = $6, targets = $7, kinds = $8 WHERE repo = $1",
                snapshot.repo,
                snapshot.generation,
                snapshot_to_json(snapshot),
                row.paths,
                row.languages,
                row.out_degrees,
                row.targets,
                row.kinds,
            )

        await self._write(work)

    async def snapshot(self, repo: str) -> Snapshot:
        async def work(connection: Connection) -> str | None:
            found: str | None = await connection.fetchval(
                "SELECT snapshot FROM alexandria.repositories WHERE repo = $1 AND generation IS NOT NULL", repo
            )
            return found

        found = await self._read(work)
        if found is None:
            raise RepositoryNotFoundError(repo)
        return snapshot_from_json(found)

    async def snapshots(self) -> Sequence[Snapshot]:
        rows = await self._read(
            lambda connection: connection.fetch(
                "SELECT snapshot FROM alexandria.repositories WHERE generation IS NOT NULL ORDER BY repo"
            )
        )
        return [snapshot_from_json(row["snapshot"]) for row in rows]

    async def files(
        self, repo: str, *, path_prefix: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[IndexedFile]:
        _, row = await self._row(repo)
        return row.files(path_prefix=path_prefix, after=after, limit=limit)

    async def neighbors(
        self, repo: str, path: str, *, directions: Collection[Direction] = tuple(Direction), depth: int = 1
    ) -> Neighbors:
        snapshot, row = await self._row(repo)
        return row.neighbors(snapshot, path, directions=directions, depth=depth)

    async def graph(self, repo: str) -> DependencyGraph:
        snapshot, row = await self._row(repo)
        return row.graph(snapshot.imports)

    async def delete(self, repo: str) -> int:
        fence: int | None = await self._write(
            lambda connection: connection.fetchval(
                "UPDATE alexandria.repositories SET fence = announced + 1, generation = NULL, snapshot = NULL, "
                "paths = NULL, languages = NULL, out_degrees = NULL, targets = NULL, kinds = NULL WHERE repo = $1 "
                "RETURNING fence",
                repo,
            )
        )
        self._cache.pop(repo, None)
        return fence or 0

    async def check(self) -> None:
        await self._read(_nothing)

    async def _row(self, repo: str) -> tuple[Snapshot, CatalogRow]:
        """Return the current generation of `repo`, as of one moment."""
        known = self._cache.get(repo)

        async def work(connection: Connection) -> tuple[str, _Loaded] | None:
            head = await connection.fetchrow(
                "SELECT generation, snapshot FROM alexandria.repositories WHERE repo = $1 AND generation IS NOT NULL",
                repo,
            )
            if head is None:
                return None
            if known is not None and known.generation == head["generation"]:
                return head["snapshot"], known
            columns = await connection.fetchrow(
                "SELECT paths, languages, out_degrees, targets, kinds FROM alexandria.repositories WHERE repo = $1",
                repo,
            )
            return head["snapshot"], _Loaded(head["generation"], CatalogRow(*columns or ()))

        found = await self._read(work)
        if found is None:
            self._cache.pop(repo, None)
            raise RepositoryNotFoundError(repo)
        snapshot, loaded = found
        self._keep(repo, loaded)
        return snapshot_from_json(snapshot), loaded.row

    def _keep(self, repo: str, loaded: _Loaded) -> None:
        self._cache[repo] = loaded
        self._cache.move_to_end(repo)
        while sum(entry.size_bytes for entry in self._cache.values()) > self._cache_bytes:
            self._cache.popitem(last=False)

    async def _read(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        with _ERRORS.translated():
            return await self._database.read(CATALOG, work)

    async def _write(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        with _ERRORS.translated():
            return await self._database.write(CATALOG, work)


async def _announce(connection: Connection, repo: str, generation: int) -> int | None:
    """Raise the fence to `generation`, or refuse it; return the generation that is current.

    The row stays locked until the transaction ends.
    """
    found = await connection.fetchrow(
        "INSERT INTO alexandria.repositories AS known (repo, announced, fence) VALUES ($1, $2, $2) "
        "ON CONFLICT (repo) DO UPDATE SET announced = excluded.announced, fence = excluded.fence "
        "WHERE known.fence <= excluded.fence RETURNING generation",
        repo,
        generation,
    )
    if found is None:
        fence = await connection.fetchval("SELECT fence FROM alexandria.repositories WHERE repo = $1", repo)
        raise StaleGenerationError(repo, generation, fence)
    current: int | None = found["generation"]
    return current


async def _nothing(_: Connection) -> None:
    """Ask for nothing: the transaction around it has looked at the version."""
