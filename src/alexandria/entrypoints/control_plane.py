"""What needs no code, no parser and no PyTorch: jobs, their state, and the searches. All that the API does."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from alexandria.application.jobs import submit_job
from alexandria.application.search import (
    ExportAnswer,
    SimilarAnswer,
    export_vectors,
    find_snapshot,
    forget_repository,
    neighbor_files,
    similar_files,
)
from alexandria.domain.errors import InvalidRepoUrlError
from alexandria.domain.graph import DependencyGraph
from alexandria.domain.job import Job, JobRecord
from alexandria.domain.language import Language
from alexandria.domain.repo_url import RepoUrl
from alexandria.domain.snapshot import Snapshot
from alexandria.domain.worker_status import WorkerStatus
from alexandria.entrypoints.settings import Settings
from alexandria.ports.catalog import Catalog, Direction, IndexedFile, Neighbors
from alexandria.ports.clock import Clock
from alexandria.ports.job_queue import Enqueued, JobQueue, JobView, RunningJob
from alexandria.ports.status_board import SeenWorker, StatusBoard
from alexandria.ports.vector_store import VectorStore


class ControlPlane:
    """The stores of an Alexandria, opened: submit jobs, watch them, and ask what is near a file.

    Safe for any number of tasks at once.

    Attributes:
        settings: What it was opened with.
        queue: Where jobs wait.
        board: Where workers say what they do.
        catalog: What is known of each repository.
        vectors: The vectors of files.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        queue: JobQueue,
        board: StatusBoard,
        catalog: Catalog,
        vectors: VectorStore,
        clock: Clock,
    ) -> None:
        self.settings = settings
        self.queue = queue
        self.board = board
        self.catalog = catalog
        self.vectors = vectors
        self.clock = clock
        self._remembered: dict[str, Snapshot] = {}

    async def similar(
        self,
        repo: str,
        path: str,
        *,
        k: int = 10,
        languages: Collection[Language] = (),
        path_prefix: str = "",
    ) -> SimilarAnswer:
        """Return the `k` files whose place in the graph is most like that of `path`, best first.

        Args:
            repo: Key of the repository, or the end of it (`pallets/flask`, `flask`); empty for the
                only one that is indexed.
            path: Relative to the root of the repository.
            k: How many, at least 1.
            languages: Only files of these; empty for all.
            path_prefix: Only files whose path starts with it.

        Raises:
            NoSuchRepositoryError: None fits, or several do.
            UnknownFileError: It has no such file.
            IsolatedFileError: The file has no edge, so nothing is near it.
        """
        return await similar_files(
            repo,
            path,
            vectors=self.vectors,
            catalog=self.catalog,
            k=k,
            languages={Language(language) for language in listed(languages)},
            path_prefix=path_prefix,
            remembered=self._remembered,
        )

    async def neighbors(
        self, repo: str, path: str, *, directions: Collection[Direction] = tuple(Direction), depth: int = 1
    ) -> Neighbors:
        """Return what `path` imports and what imports it, up to `depth` (1 to 5) edges away.

        Raises:
            NoSuchRepositoryError: None fits, or several do.
            UnknownFileError: It has no such file.
        """
        return await neighbor_files(repo, path, catalog=self.catalog, directions=directions, depth=depth)

    async def repos(self) -> Sequence[Snapshot]:
        """Return every indexed repository, by key."""
        return await self.catalog.snapshots()

    async def repo(self, name: str = "") -> Snapshot:
        """Return the repository that `name` names, as `similar` reads it.

        Raises:
            NoSuchRepositoryError: None fits, or several do.
        """
        return await find_snapshot(self.catalog, name)

    async def files(
        self, repo: str, *, path_prefix: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[IndexedFile]:
        """Return the source files of a repository in the order of their paths, a page at a time.

        Args:
            repo: As for `similar`.
            path_prefix: Only paths that start with it.
            after: Only paths that sort after it: the last one of the page before.
            limit: At most so many, at least 1.

        Raises:
            NoSuchRepositoryError: None fits, or several do.
        """
        snapshot = await find_snapshot(self.catalog, repo)
        return await self.catalog.files(snapshot.repo, path_prefix=path_prefix, after=after, limit=limit)

    async def stored_graph(self, repo: str) -> DependencyGraph:
        """Return the dependency graph of a repository as it was indexed.

        Raises:
            NoSuchRepositoryError: None fits, or several do.
        """
        snapshot = await find_snapshot(self.catalog, repo)
        return await self.catalog.graph(snapshot.repo)

    async def export(self, repo: str = "") -> ExportAnswer:
        """Return all vectors of a repository.

        Raises:
            NoSuchRepositoryError: None fits, or several do.
        """
        return await export_vectors(repo, vectors=self.vectors, catalog=self.catalog)

    async def remove(self, repo: str) -> Snapshot:
        """Forget a repository, its graph and its vectors; return what it was.

        Raises:
            NoSuchRepositoryError: None fits, or several do.
        """
        return await forget_repository(repo, vectors=self.vectors, catalog=self.catalog)

    async def submit(self, url: str, *, ref: str = "") -> Enqueued:
        """Put a repository into the queue, for a worker to index.

        Args:
            url: `https://host/owner/name`, `host/owner/name` or `git@host:owner/name`; no folder.
            ref: Branch, tag or commit; empty for the default branch.

        Raises:
            InvalidRepoUrlError: It is no address that is accepted.
            QueueFullError: As many jobs are pending as may be.
        """
        if looks_like_a_path(url):
            raise InvalidRepoUrlError("a folder cannot be queued; `alexandria index` reads one")
        repo = RepoUrl.parse(url, allowed_hosts=self.settings.allowed_repo_hosts)
        return await submit_job(repo, ref, queue=self.queue, clock=self.clock)

    async def pending_jobs(self) -> Sequence[Job]:
        """Return the jobs that wait, the next one first."""
        return await self.queue.pending()

    async def running_jobs(self) -> Sequence[RunningJob]:
        """Return the jobs that run, the oldest claim first; those too whose worker is not heard of any more."""
        return await self.queue.running()

    async def job(self, job_id: str) -> JobView:
        """Return a job as it is now.

        Raises:
            JobNotFoundError: It is not known.
        """
        return await self.queue.get(job_id)

    async def cancel(self, job_id: str) -> JobView:
        """Cancel a job: at once if it waits, at its worker's next heartbeat if it runs.

        Raises:
            JobNotFoundError: It is not known.
        """
        return await self.queue.cancel(job_id)

    async def job_history(self, limit: int | None = None) -> Sequence[JobRecord]:
        """Return how the latest jobs ended, newest first; at most `limit`."""
        return await self.queue.history(limit)

    async def worker_status(self) -> WorkerStatus:
        """Return what the workers say; `Offline` if none is heard of."""
        return await self.board.status()

    async def workers(self) -> Sequence[SeenWorker]:
        """Return every worker that is heard of, by its id."""
        return await self.board.workers()


def listed(values: Collection[str]) -> Collection[str]:
    """Refuse a text where several are meant: Python would take its letters one by one."""
    if isinstance(values, str):
        raise TypeError(f"a list is needed, not the text {values!r}")
    return values


def looks_like_a_path(text: str) -> bool:
    """Whether a person who writes `text` means a folder rather than a host."""
    first = text.partition("/")[0]
    return "://" not in text and not text.startswith("git@") and (first in {"", "~"} or "." not in first.strip("."))
