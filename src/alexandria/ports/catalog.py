"""Port: what is known of each repository, and which generation of it is current."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from alexandria.domain.errors import AlexandriaError
from alexandria.domain.graph import DependencyGraph
from alexandria.domain.language import Language
from alexandria.domain.snapshot import Snapshot

MAX_DEPTH = 5


class CatalogError(AlexandriaError):
    """Root of the errors of this port."""


class CatalogUnavailableError(CatalogError):
    """No answer, or locked for too long. The same call may be made again later."""


class CatalogAccessError(CatalogError):
    """It answers and does not let us in: a wrong password, a missing right. The settings must change."""


class CatalogFullError(CatalogError):
    """No room is left (disk, quota); what was visible before is unchanged."""


class CatalogVersionError(CatalogError):
    """The database has another schema than this program: newer, or not migrated yet."""


class RepositoryNotFoundError(CatalogError):
    """No repository with this key is indexed.

    Attributes:
        repo: The key that was asked for.
    """

    def __init__(self, repo: str) -> None:
        super().__init__(f"{repo} is not indexed")
        self.repo = repo


class FileNotIndexedError(CatalogError):
    """The repository is indexed and has no such source file.

    Attributes:
        repo: Key of the repository.
        path: The file.
    """

    def __init__(self, repo: str, path: str) -> None:
        super().__init__(f"{path} is not a source file of {repo}")
        self.repo = repo
        self.path = path


class StaleGenerationError(CatalogError):
    """A newer run of the repository has begun, or it was deleted: this one must write nothing more.

    Attributes:
        repo: Key of the repository.
        generation: The one that was refused.
        fence: The smallest that would not be refused.
    """

    def __init__(self, repo: str, generation: int, fence: int) -> None:
        super().__init__(f"generation {generation} of {repo} is too old: a newer run took over, or it was deleted")
        self.repo = repo
        self.generation = generation
        self.fence = fence


class Direction(StrEnum):
    """Which way to follow the edges."""

    IMPORTS = "imports"  # what the file needs
    IMPORTERS = "importers"  # what hangs on the file


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """A source file of the current generation.

    Attributes:
        path: Repository-relative posix path.
        language: Its language.
        imports: How many files it imports.
        importers: How many files import it.
    """

    path: str
    language: Language
    imports: int
    importers: int

    @property
    def isolated(self) -> bool:
        """Whether it has no edge at all."""
        return not self.imports and not self.importers


@dataclass(frozen=True, slots=True)
class ReachedFile:
    """A file that can be reached along edges.

    Attributes:
        path: Repository-relative posix path.
        language: Its language.
        depth: Length of the shortest way, at least 1.
    """

    path: str
    language: Language
    depth: int


@dataclass(frozen=True, slots=True)
class Neighbors:
    """Files along the edges of one file.

    Attributes:
        snapshot: The generation that all of it is of.
        path: The file that was asked for.
        imports: What it needs; by depth, then by path, each file once; empty if not asked for.
        importers: What hangs on it, likewise.
    """

    snapshot: Snapshot
    path: str
    imports: Sequence[ReachedFile]
    importers: Sequence[ReachedFile]


class Catalog(Protocol):
    """Repositories, their current generation, and its files and edges.

    A reader sees one generation whole: the one that was current when its call began. Paths are
    Unicode text without NUL, and sort by code point.

    Any call may raise `CatalogAccessError`, and `CatalogVersionError` when a newer program changes
    the database meanwhile; any that writes `CatalogFullError`. Then nothing has changed.
    """

    @abstractmethod
    async def begin(self, repo: str, generation: int) -> None:
        """Announce that a run has begun: from now on no smaller generation of `repo` is activated.

        Idempotent. Changes nothing that a search sees.

        Raises:
            StaleGenerationError: A larger one was announced or is current, or the repository was
                deleted since this one was announced.
            CatalogUnavailableError: No answer. Safe to retry.
        """
        ...

    @abstractmethod
    async def activate(self, snapshot: Snapshot, graph: DependencyGraph) -> None:
        """Make `snapshot.generation` the current one, with all its files and edges, in one step.

        Either all of it is visible or none; what was current before is gone after. Repeating the
        call with the generation that is current changes nothing.

        Args:
            snapshot: Its `files`, `edges` and `imports` are those of `graph`.
            graph: Files and edges to keep; `graph.unresolved` is not kept, only its count.

        Raises:
            ValueError: Snapshot and graph do not belong together, or a path is no text without NUL.
            StaleGenerationError: A larger generation was announced or is current, or the repository
                was deleted since this one was announced.
            CatalogUnavailableError: No answer; it may or may not have happened. Safe to retry.
            CatalogFullError: There is no room.
        """
        ...

    @abstractmethod
    async def snapshot(self, repo: str) -> Snapshot:
        """Return the current snapshot of `repo`.

        Raises:
            RepositoryNotFoundError: None is active.
            CatalogUnavailableError: No answer. Safe to retry.
        """
        ...

    @abstractmethod
    async def snapshots(self) -> Sequence[Snapshot]:
        """Return the current snapshot of every repository, by key.

        Raises:
            CatalogUnavailableError: No answer. Safe to retry.
        """
        ...

    @abstractmethod
    async def files(
        self, repo: str, *, path_prefix: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[IndexedFile]:
        """Return source files of the current generation in the order of their paths.

        Args:
            repo: Key of the repository.
            path_prefix: Only paths that start with it; no character is special.
            after: Only paths that sort after it (by code point): the last one of the page before.
            limit: At most so many, at least 1.

        Raises:
            ValueError: `limit` is below 1.
            RepositoryNotFoundError: It is not indexed.
            CatalogUnavailableError: No answer. Safe to retry.
        """
        ...

    @abstractmethod
    async def neighbors(
        self, repo: str, path: str, *, directions: Collection[Direction] = tuple(Direction), depth: int = 1
    ) -> Neighbors:
        """Return every file within `depth` edges of `path`, without itself.

        Args:
            repo: Key of the repository.
            path: Where to start.
            directions: Along the edges, against them, or both.
            depth: 1 to 5.

        Raises:
            ValueError: `depth` is not 1 to 5.
            RepositoryNotFoundError: It is not indexed.
            FileNotIndexedError: `path` is not among its files.
            CatalogUnavailableError: No answer. Safe to retry.
        """
        ...

    @abstractmethod
    async def graph(self, repo: str) -> DependencyGraph:
        """Return the graph that was activated; only `unresolved` is empty.

        Raises:
            RepositoryNotFoundError: It is not indexed.
            CatalogUnavailableError: No answer. Safe to retry.
        """
        ...

    @abstractmethod
    async def delete(self, repo: str) -> int:
        """Forget `repo`, its files and edges; no error if it is not there. Safe to repeat.

        Every generation that was announced or current until then is refused from now on: a run
        that is still going may have uploaded what was deleted meanwhile.

        Returns:
            The fence: the smallest generation that is not refused; 0 if none was ever announced.
            Whatever is stored elsewhere of smaller ones can go, at any later time: no run that
            began after the call has one.

        Raises:
            CatalogUnavailableError: No answer. Safe to retry.
        """
        ...

    @abstractmethod
    async def check(self) -> None:
        """Ask for a sign of life, the cheapest there is.

        Raises:
            CatalogUnavailableError: No answer.
            CatalogVersionError: Another schema.
        """
        ...
