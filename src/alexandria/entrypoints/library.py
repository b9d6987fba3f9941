"""The Python API: one object over one container."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from alexandria.application.index import (
    CodeGraph,
    IndexResult,
    ProgressListener,
    ignore_progress,
    index_repository,
    read_code_graph,
)
from alexandria.application.jobs import WorkedOff, submit_job, work_off_one
from alexandria.application.search import (
    ExportAnswer,
    NeighborsAnswer,
    SimilarAnswer,
    export_vectors,
    find_snapshot,
    forget_repository,
    neighbor_files,
    similar_files,
)
from alexandria.domain.errors import InvalidRepoUrlError
from alexandria.domain.job import Job, JobRecord
from alexandria.domain.language import Language
from alexandria.domain.repo_url import LocalRepo, Origin, RepoUrl, checked_ref
from alexandria.domain.selection import Selection
from alexandria.domain.snapshot import Snapshot
from alexandria.domain.worker_status import WorkerStatus
from alexandria.entrypoints.settings import Settings
from alexandria.ports.catalog import Catalog, Direction
from alexandria.ports.clock import Clock
from alexandria.ports.graph_embedder import GraphEmbedder
from alexandria.ports.job_queue import Enqueued, JobQueue, RunningJob
from alexandria.ports.repo_source import RepoSource
from alexandria.ports.source_parser import SourceParser
from alexandria.ports.status_board import StatusBoard, WorkerReport
from alexandria.ports.vector_store import VectorStore

METHODS = ("node2vec", "prone")
MAX_SEED = 2**63 - 1


class Alexandria:
    """An open Alexandria: index repositories, and ask what is near a file.

    Make one with `async with Alexandria.local() as alx`. Safe for any number of tasks at once, and
    several processes may open the same data directory.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        queue: JobQueue,
        board: StatusBoard,
        catalog: Catalog,
        vectors: VectorStore,
        local_source: RepoSource[LocalRepo],
        remote_source: RepoSource[RepoUrl],
        parser: SourceParser,
        make_embedder: Callable[[str], GraphEmbedder],
        clock: Clock,
    ) -> None:
        self.settings = settings
        self._queue = queue
        self._board = board
        self._catalog = catalog
        self._vectors = vectors
        self._local_source = local_source
        self._remote_source = remote_source
        self._parser = parser
        self._make_embedder = make_embedder
        self._clock = clock

    @classmethod
    @asynccontextmanager
    async def local(cls, data_dir: str | os.PathLike[str] | None = None) -> AsyncIterator[Alexandria]:
        """Open the embedded store; nothing else is needed.

        Args:
            data_dir: Directory of the store, made when it is not there. None takes
                `ALEXANDRIA_DATA` or the default of the platform.

        Raises:
            SettingsError: A setting is wrong.
            CatalogError: The store cannot be opened.
        """
        # By name and late: the container names this class, and this class is all that most programs import.
        open_local = import_module("alexandria.entrypoints.containers.local").open_local
        settings = Settings.load(**({} if data_dir is None else {"data_dir": Path(data_dir)}))
        async with open_local(settings) as alexandria:
            yield alexandria

    def origin(self, source: str | os.PathLike[str]) -> Origin:
        """Return what `source` names: a folder that is there, else a repository URL.

        Raises:
            InvalidRepoUrlError: It is neither.
        """
        text = os.fspath(source)
        if not text.strip():
            raise InvalidRepoUrlError("it is empty; `.` is the folder that you are in")
        if "\0" in text:
            raise InvalidRepoUrlError("it holds a NUL character")
        path = Path(text).expanduser()
        if not isinstance(source, str) or _looks_like_a_path(text) or path.exists():
            return LocalRepo(path.resolve())
        return RepoUrl.parse(text, allowed_hosts=self.settings.allowed_repo_hosts)

    async def index(
        self,
        source: str | os.PathLike[str],
        *,
        ref: str = "",
        seed: int = 0,
        method: str = "node2vec",
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        progress: ProgressListener = ignore_progress,
    ) -> Snapshot:
        """Index a folder or a repository and return what is searched from now on.

        Args:
            source: A folder, `https://host/owner/name`, `host/owner/name` or `git@host:owner/name`.
            ref: Branch, tag or commit; empty for the default branch, or the folder as it lies.
            seed: Of the training; the same commit and seed give the same vectors on a CPU.
            method: `node2vec` or another method of the embedder.
            include: Globs of files that count although a rule leaves them out.
            exclude: Globs of files that do not count.
            progress: Called from other threads with each step.

        Raises:
            AlexandriaError: One of its branches says what went wrong; the old index is as it was.
                `StaleGenerationError` says that a newer run of the same repository took over.
            ValueError: `seed` or `method` is none.
        """
        result = await self.index_with_details(
            source, ref=ref, seed=seed, method=method, include=include, exclude=exclude, progress=progress
        )
        return result.snapshot

    async def index_with_details(
        self,
        source: str | os.PathLike[str],
        *,
        ref: str = "",
        seed: int = 0,
        method: str = "node2vec",
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        progress: ProgressListener = ignore_progress,
    ) -> IndexResult:
        """Do what `index` does, and return graph, vectors and times as well."""
        if not 0 <= seed <= MAX_SEED:
            raise ValueError(f"a seed is 0 to {MAX_SEED}, not {seed}")
        if method not in METHODS:
            raise ValueError(f"the method is one of {', '.join(METHODS)}, not {method!r}")
        origin = self.origin(source)
        checked_ref(ref)
        return await self._index(
            origin,
            await self._queue.issue_token(),
            ref=ref,
            progress=progress,
            seed=seed,
            method=method,
            selection=_selection(include, exclude),
        )

    async def _index(
        self,
        origin: Origin,
        generation: int,
        *,
        ref: str,
        progress: ProgressListener,
        seed: int = 0,
        method: str = "node2vec",
        selection: Selection | None = None,
    ) -> IndexResult:
        return await index_repository(
            origin,
            generation=generation,
            source=self._source_of(origin),
            parser=self._parser,
            make_embedder=lambda: self._make_embedder(method),
            vectors=self._vectors,
            catalog=self._catalog,
            clock=self._clock,
            selection=selection or Selection(),
            ref=ref,
            seed=seed,
            progress=progress,
        )

    async def read_graph(
        self,
        source: str | os.PathLike[str],
        *,
        ref: str = "",
        explain: str = "",
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        progress: ProgressListener = ignore_progress,
    ) -> CodeGraph:
        """Return the dependency graph of a folder or a repository; nothing is stored.

        Args:
            source: As for `index`.
            ref: As for `index`.
            explain: A source file; `CodeGraph.explained` then says how each of its imports ended.
            include: As for `index`.
            exclude: As for `index`.
            progress: As for `index`.

        Raises:
            AlexandriaError: One of its branches says what went wrong.
        """
        origin = self.origin(source)
        return await read_code_graph(
            origin,
            source=self._source_of(origin),
            parser=self._parser,
            selection=_selection(include, exclude),
            ref=checked_ref(ref),
            explain=explain,
            progress=progress,
        )

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
        snapshot = await find_snapshot(self._catalog, repo)
        return await similar_files(
            snapshot.repo,
            path,
            vectors=self._vectors,
            catalog=self._catalog,
            k=k,
            languages={Language(language) for language in _listed(languages)},
            path_prefix=path_prefix,
        )

    async def neighbors(
        self, repo: str, path: str, *, directions: Collection[Direction] = tuple(Direction), depth: int = 1
    ) -> NeighborsAnswer:
        """Return what `path` imports and what imports it, up to `depth` (1 to 5) edges away.

        Raises:
            NoSuchRepositoryError: None fits, or several do.
            UnknownFileError: It has no such file.
        """
        snapshot = await find_snapshot(self._catalog, repo)
        return await neighbor_files(snapshot.repo, path, catalog=self._catalog, directions=directions, depth=depth)

    async def repos(self) -> Sequence[Snapshot]:
        """Return every indexed repository, by key."""
        return await self._catalog.snapshots()

    async def repo(self, name: str = "") -> Snapshot:
        """Return the repository that `name` names, as `similar` reads it.

        Raises:
            NoSuchRepositoryError: None fits, or several do.
        """
        return await find_snapshot(self._catalog, name)

    async def export(self, repo: str = "") -> ExportAnswer:
        """Return all vectors of a repository.

        Raises:
            NoSuchRepositoryError: None fits, or several do.
        """
        snapshot = await find_snapshot(self._catalog, repo)
        return await export_vectors(snapshot.repo, vectors=self._vectors, catalog=self._catalog)

    async def remove(self, repo: str) -> Snapshot:
        """Forget a repository, its graph and its vectors; return what it was.

        Raises:
            NoSuchRepositoryError: None fits, or several do.
        """
        snapshot = await find_snapshot(self._catalog, repo)
        await forget_repository(snapshot.repo, vectors=self._vectors, catalog=self._catalog)
        return snapshot

    async def submit(self, url: str, *, ref: str = "") -> Enqueued:
        """Put a repository into the queue, for a worker to index.

        Args:
            url: `https://host/owner/name`, `host/owner/name` or `git@host:owner/name`; no folder.
            ref: Branch, tag or commit; empty for the default branch.

        Raises:
            InvalidRepoUrlError: It is no address that is accepted.
            QueueFullError: As many jobs are pending as may be.
        """
        if _looks_like_a_path(url):
            raise InvalidRepoUrlError("a folder cannot be queued; `alexandria index` reads one")
        repo = RepoUrl.parse(url, allowed_hosts=self.settings.allowed_repo_hosts)
        return await submit_job(repo, ref, queue=self._queue, clock=self._clock)

    async def pending_jobs(self) -> Sequence[Job]:
        """Return the jobs that wait, the next one first."""
        return await self._queue.pending()

    async def running_jobs(self) -> Sequence[RunningJob]:
        """Return the jobs that run, the oldest claim first; those too whose worker is not heard of any more."""
        return await self._queue.running()

    async def job_history(self) -> Sequence[JobRecord]:
        """Return how the latest jobs ended, newest first."""
        return await self._queue.history()

    async def worker_status(self) -> WorkerStatus:
        """Return what the workers say; `Offline` if none is heard of."""
        return await self._board.status()

    async def work_off_one(self, worker_id: str) -> WorkedOff | None:
        """Claim a job and run it to the end of its attempt; return None if none waits."""
        return await work_off_one(
            worker_id,
            queue=self._queue,
            board=self._board,
            clock=self._clock,
            index=lambda repo, ref, token, progress: self._index(repo, token, ref=ref, progress=progress),
            heartbeat_s=self.settings.heartbeat_seconds,
            status_ttl_s=self.settings.lease_seconds,
        )

    async def say_idle(self, worker_id: str) -> None:
        """Put up that a worker waits for jobs."""
        await self._board.publish(WorkerReport(worker_id, WorkerStatus.idle()), ttl_s=self.settings.lease_seconds)

    async def take_off_the_board(self, worker_id: str) -> None:
        """Put up that a worker has stopped."""
        await self._board.publish(WorkerReport(worker_id, WorkerStatus.offline()), ttl_s=self.settings.lease_seconds)

    def _source_of(self, origin: Origin) -> RepoSource[Any]:
        return self._local_source if isinstance(origin, LocalRepo) else self._remote_source


def _listed(values: Collection[str]) -> Collection[str]:
    """Refuse a text where several are meant: Python would take its letters one by one."""
    if isinstance(values, str):
        raise TypeError(f"a list is needed, not the text {values!r}")
    return values


def _selection(include: Sequence[str], exclude: Sequence[str]) -> Selection:
    return Selection(include=tuple(_listed(include)), exclude=tuple(_listed(exclude)))


def _looks_like_a_path(text: str) -> bool:
    first = text.partition("/")[0]
    return "://" not in text and not text.startswith("git@") and (first in {"", "~"} or "." not in first.strip("."))
