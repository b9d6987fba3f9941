"""The Python API: one object over one container."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
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
from alexandria.application.jobs import WorkedOff, WorkRules, work_off
from alexandria.application.pacing import Timer
from alexandria.application.presence import Presence
from alexandria.domain.errors import InvalidRepoUrlError
from alexandria.domain.repo_url import LocalRepo, Origin, RepoUrl, checked_ref
from alexandria.domain.selection import Selection
from alexandria.domain.snapshot import Snapshot
from alexandria.entrypoints.containers import open_for
from alexandria.entrypoints.control_plane import ControlPlane, listed, looks_like_a_path
from alexandria.entrypoints.settings import Mode, Settings, check_training
from alexandria.ports.catalog import Catalog, StaleGenerationError
from alexandria.ports.clock import Clock
from alexandria.ports.graph_embedder import GraphEmbedder
from alexandria.ports.job_queue import JobQueue
from alexandria.ports.repo_source import RepoSource
from alexandria.ports.source_parser import SourceParser
from alexandria.ports.status_board import StatusBoard
from alexandria.ports.vector_store import VectorStore

METHODS = ("node2vec", "prone")
MAX_SEED = 2**63 - 1


class Alexandria(ControlPlane):
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
        make_embedder: Callable[[str, str], GraphEmbedder],
        clock: Clock,
    ) -> None:
        super().__init__(settings=settings, queue=queue, board=board, catalog=catalog, vectors=vectors, clock=clock)
        self._local_source = local_source
        self._remote_source = remote_source
        self._parser = parser
        self._make_embedder = make_embedder

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
        settings = Settings.load(mode=Mode.LOCAL, **({} if data_dir is None else {"data_dir": Path(data_dir)}))
        async with open_for(settings) as alexandria:
            if not isinstance(alexandria, cls):
                raise TypeError(f"the container of {settings.mode} gave a {type(alexandria).__name__}")
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
        if not isinstance(source, str) or looks_like_a_path(text) or path.exists():
            return LocalRepo(path.resolve())
        return RepoUrl.parse(text, allowed_hosts=self.settings.allowed_repo_hosts)

    async def index(
        self,
        source: str | os.PathLike[str],
        *,
        ref: str = "",
        seed: int = 0,
        method: str = "node2vec",
        training: str = "",
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
            training: What to change of the training, as the setting `TRAINING`, over which it wins.
            include: Globs of files that count although a rule leaves them out.
            exclude: Globs of files that do not count.
            progress: Called from other threads with each step.

        Raises:
            AlexandriaError: One of its branches says what went wrong; the old index is as it was.
                `StaleGenerationError` says that a newer run of the same repository took over.
            ValueError: `seed`, `method` or `training` is none.
        """
        result = await self.index_with_details(
            source,
            ref=ref,
            seed=seed,
            method=method,
            training=training,
            include=include,
            exclude=exclude,
            progress=progress,
        )
        return result.snapshot

    async def index_with_details(
        self,
        source: str | os.PathLike[str],
        *,
        ref: str = "",
        seed: int = 0,
        method: str = "node2vec",
        training: str = "",
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        progress: ProgressListener = ignore_progress,
    ) -> IndexResult:
        """Do what `index` does, and return graph, vectors and times as well."""
        if not 0 <= seed <= MAX_SEED:
            raise ValueError(f"a seed is 0 to {MAX_SEED}, not {seed}")
        if method not in METHODS:
            raise ValueError(f"the method is one of {', '.join(METHODS)}, not {method!r}")
        check_training(self.settings.training, training)
        origin = self.origin(source)
        checked_ref(ref)
        return await self._index(
            origin,
            await self._token_for(origin),
            ref=ref,
            progress=progress,
            seed=seed,
            method=method,
            training=training,
            selection=_selection(include, exclude),
        )

    async def _token_for(self, origin: Origin) -> int:
        """Return a token that the catalog takes, also after the queue lost its data and counts from 1 again."""
        token = await self.queue.issue_token()
        try:
            await self.catalog.begin(origin.key, token)
        except StaleGenerationError as error:
            return await self.queue.issue_token(above=error.fence)
        return token

    async def _index(
        self,
        origin: Origin,
        generation: int,
        *,
        ref: str,
        progress: ProgressListener,
        seed: int = 0,
        method: str = "node2vec",
        training: str = "",
        selection: Selection | None = None,
    ) -> IndexResult:
        return await index_repository(
            origin,
            generation=generation,
            source=self._source_of(origin),
            parser=self._parser,
            make_embedder=lambda: self._make_embedder(method, training),
            vectors=self.vectors,
            catalog=self.catalog,
            clock=self.clock,
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

    def work_rules(self, worker_id: str, *, stop: asyncio.Event | None = None, timer: Timer | None = None) -> WorkRules:
        """Return what a worker of this name works with.

        Args:
            worker_id: Names it to the queue and on the board.
            stop: Set it to make the worker stop.
            timer: What time it is; None for the time of this machine.
        """
        settings, timer = self.settings, timer or Timer()
        # A busy worker speaks at its heartbeats, which may lie further apart than the words of an idle one.
        ttl_s = max(3 * settings.presence_seconds, settings.heartbeat_seconds + settings.presence_seconds)
        return WorkRules(
            queue=self.queue,
            presence=Presence(worker_id, self.board, timer, every_s=settings.presence_seconds, ttl_s=ttl_s),
            clock=self.clock,
            index=lambda repo, ref, token, progress: self._index(repo, token, ref=ref, progress=progress),
            heartbeat_s=settings.heartbeat_seconds,
            lease_s=settings.lease_seconds,
            timer=timer,
            stop=stop or asyncio.Event(),
        )

    async def work_off_one(self, worker_id: str) -> WorkedOff | None:
        """Claim a job and run it to the end of its attempt; return None if none waits.

        Raises:
            JobQueueError: The queue does not answer.
        """
        claim = await self.queue.claim(worker_id)
        return await work_off(claim, self.work_rules(worker_id)) if claim is not None else None

    def load_embedder(self, method: str = "node2vec") -> GraphEmbedder:
        """Return what trains, on the device that the settings choose; loading it takes seconds: meant for a thread."""
        return self._make_embedder(method, "")

    def _source_of(self, origin: Origin) -> RepoSource[Any]:
        return self._local_source if isinstance(origin, LocalRepo) else self._remote_source


def _selection(include: Sequence[str], exclude: Sequence[str]) -> Selection:
    return Selection(include=tuple(listed(include)), exclude=tuple(listed(exclude)))
