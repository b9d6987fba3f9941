"""The catalog in a SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from alexandria.adapters.sqlite.database import Database, PortErrors
from alexandria.domain.graph import DependencyGraph
from alexandria.domain.snapshot import Snapshot
from alexandria.ports.catalog import (
    Catalog,
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

_ERRORS = PortErrors(unavailable=CatalogUnavailableError, full=CatalogFullError, mismatch=CatalogVersionError)


class SqliteCatalog(Catalog):
    """One row a repository: activating is writing one row, and a reader sees the row before or after."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, repo: str, generation: int) -> None:
        await self._write(lambda connection: _announce(connection, repo, generation))

    async def activate(self, snapshot: Snapshot, graph: DependencyGraph) -> None:
        check_snapshot(snapshot, graph)

        def work(connection: sqlite3.Connection) -> None:
            if _announce(connection, snapshot.repo, snapshot.generation) == snapshot.generation:
                return
            row = CatalogRow.from_graph(graph)
            connection.execute(
                "UPDATE repositories SET generation = ?, snapshot = ?, paths = ?, languages = ?, out_degrees = ?, "
                "targets = ?, kinds = ? WHERE repo = ?",
                (
                    snapshot.generation,
                    snapshot_to_json(snapshot),
                    row.paths,
                    row.languages,
                    row.out_degrees,
                    row.targets,
                    row.kinds,
                    snapshot.repo,
                ),
            )

        await self._write(work)

    async def snapshot(self, repo: str) -> Snapshot:
        return await self._read(lambda connection: _snapshot(connection, repo))

    async def snapshots(self) -> Sequence[Snapshot]:
        def work(connection: sqlite3.Connection) -> list[Snapshot]:
            # Before the blobs of a row, so none of them is read.
            rows = connection.execute(
                "SELECT snapshot FROM repositories WHERE generation IS NOT NULL ORDER BY repo COLLATE BINARY"
            )
            return [snapshot_from_json(text) for (text,) in rows]

        return await self._read(work)

    async def files(
        self, repo: str, *, path_prefix: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[IndexedFile]:
        return await self._read(
            lambda connection: _row(connection, repo).files(path_prefix=path_prefix, after=after, limit=limit)
        )

    async def neighbors(
        self, repo: str, path: str, *, directions: Collection[Direction] = tuple(Direction), depth: int = 1
    ) -> Neighbors:
        def work(connection: sqlite3.Connection) -> Neighbors:
            row = _row(connection, repo)
            return row.neighbors(_snapshot(connection, repo), path, directions=directions, depth=depth)

        return await self._read(work)

    async def graph(self, repo: str) -> DependencyGraph:
        return await self._read(lambda connection: _row(connection, repo).graph(_snapshot(connection, repo).imports))

    async def delete(self, repo: str) -> int:
        def work(connection: sqlite3.Connection) -> int:
            found = connection.execute(
                "UPDATE repositories SET fence = announced + 1, generation = NULL, snapshot = NULL, paths = NULL, "
                "languages = NULL, out_degrees = NULL, targets = NULL, kinds = NULL WHERE repo = ? RETURNING fence",
                (repo,),
            ).fetchone()
            return int(found[0]) if found else 0

        return await self._write(work)

    async def check(self) -> None:
        await self._read(lambda connection: None)

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with _ERRORS.translated():
            return await self._database.read(work)

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with _ERRORS.translated():
            return await self._database.write(work)


def _announce(connection: sqlite3.Connection, repo: str, generation: int) -> int | None:
    """Raise the fence to `generation`, or refuse it; return the generation that is current."""
    found = connection.execute("SELECT fence, generation FROM repositories WHERE repo = ?", (repo,)).fetchone()
    fence, current = found or (0, None)
    if generation < fence:
        raise StaleGenerationError(repo, generation, fence)
    if generation != current:
        connection.execute(
            "INSERT INTO repositories (repo, announced, fence) VALUES (?1, ?2, ?2) "
            "ON CONFLICT (repo) DO UPDATE SET announced = excluded.announced, fence = excluded.fence",
            (repo, generation),
        )
    return None if current is None else int(current)


def _snapshot(connection: sqlite3.Connection, repo: str) -> Snapshot:
    found = connection.execute(
        "SELECT snapshot FROM repositories WHERE repo = ? AND generation IS NOT NULL", (repo,)
    ).fetchone()
    if found is None:
        raise RepositoryNotFoundError(repo)
    return snapshot_from_json(found[0])


def _row(connection: sqlite3.Connection, repo: str) -> CatalogRow:
    found = connection.execute(
        "SELECT paths, languages, out_degrees, targets, kinds FROM repositories "
        "WHERE repo = ? AND generation IS NOT NULL",
        (repo,),
    ).fetchone()
    if found is None:
        raise RepositoryNotFoundError(repo)
    return CatalogRow(*found)
