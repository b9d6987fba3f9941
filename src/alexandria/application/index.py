"""Use case: from the address of a repository to vectors that can be searched."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeVar

from alexandria.application.threads import compute
from alexandria.domain.embedding import EmbeddingSet
from alexandria.domain.errors import AlexandriaError
from alexandria.domain.graph import DependencyGraph
from alexandria.domain.imports import FileOutcome, ReadStatus, RepoTree, SourceFacts, resolve_imports, wanted_manifests
from alexandria.domain.job import Phase
from alexandria.domain.language import Language, language_of
from alexandria.domain.repo_url import Origin
from alexandria.domain.selection import Selection
from alexandria.domain.snapshot import Snapshot
from alexandria.ports.catalog import Catalog, RepositoryNotFoundError, StaleGenerationError
from alexandria.ports.clock import Clock
from alexandria.ports.graph_embedder import GraphEmbedder, TrainingProgress
from alexandria.ports.repo_source import RepoSource, SourceTree
from alexandria.ports.source_parser import SourceParser
from alexandria.ports.vector_store import VectorBatch, VectorStore

logger = logging.getLogger(__name__)


class NoSourceFilesError(AlexandriaError):
    """The repository holds no file of a language that we read."""


class IncompleteUploadError(AlexandriaError):
    """The vector store took the upload and holds another number of vectors than were sent.

    Attributes:
        sent: How many were sent.
        stored: How many are there.
    """

    def __init__(self, sent: int, stored: int) -> None:
        super().__init__(f"{sent} vectors were uploaded and the store holds {stored}: the old index stays; index again")
        self.sent = sent
        self.stored = stored


@dataclass(frozen=True, slots=True)
class IndexProgress:
    """Where an index run is.

    Attributes:
        phase: What it does.
        fraction: Share of the phase that is done, in [0, 1], never falling within a phase.
        detail: A few words for a person; may be empty.
        training: Epoch and loss while training, else None.
    """

    phase: Phase
    fraction: float
    detail: str = ""
    training: TrainingProgress | None = None


OriginT = TypeVar("OriginT", bound=Origin)

_REPORTS_OF_PARSING = 200
_CLEAN_UP_S = 10.0

ProgressListener = Callable[[IndexProgress], None]
"""Called from any thread; must be quick and must not raise."""


def ignore_progress(_: IndexProgress) -> None:
    """Listen to nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class CodeGraph:
    """The graph of a repository with what was seen on the way to it.

    Attributes:
        commit: Commit that was read; empty if there is none.
        dirty: The directory held changes to it.
        graph: Files and edges.
        not_read: Source files that could not be read whole, status by path.
        skipped: Entries of the repository that were left out, count by reason.
        explained: The outcome of the file that was asked about, if it is there.
        unmatched_globs: Globs of the selection that match no file of the repository.
        source_bytes: Bytes of all source files.
        seconds: Wall time of each phase so far.
    """

    commit: str
    dirty: bool
    # Not shown: `asyncio.run` asks every finished task for its `repr`, and that of a graph is all its paths.
    graph: DependencyGraph = field(repr=False)
    not_read: dict[str, ReadStatus] = field(repr=False)
    skipped: dict[str, int]
    explained: FileOutcome | None = field(default=None, repr=False)
    unmatched_globs: tuple[str, ...] = ()
    source_bytes: int = 0
    seconds: dict[Phase, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class IndexResult:
    """What an index run made.

    Attributes:
        snapshot: What is searched from now on.
        code: The graph, and what was not read.
        embeddings: The vectors, with the report of the training.
    """

    snapshot: Snapshot
    code: CodeGraph
    embeddings: EmbeddingSet


async def read_code_graph(
    origin: OriginT,
    *,
    source: RepoSource[OriginT],
    parser: SourceParser,
    selection: Selection,
    ref: str = "",
    explain: str = "",
    progress: ProgressListener = ignore_progress,
) -> CodeGraph:
    """Read the dependency graph of a repository; nothing is stored.

    Args:
        origin: The repository.
        source: Opens it.
        parser: Reads its imports.
        selection: Which of its files count.
        ref: Branch, tag or commit; empty for the default.
        explain: Path of a source file whose import outcomes are wanted whole; empty for none.
        progress: Told of the phases cloning and parsing.

    Raises:
        NoSourceFilesError: No file of a known language is in it.
        RepoSourceError: It cannot be opened or read.
    """
    started = time.monotonic()
    opened = source.open(origin, ref=ref, progress=lambda done: progress(IndexProgress(Phase.CLONING, done)))
    async with opened as tree:
        cloned = time.monotonic()
        progress(IndexProgress(Phase.CLONING, 1.0, f"{len(tree.files):,} files"))
        with collector_paused():
            code = await compute(
                lambda cancelled: _read_tree(
                    tree,
                    parser=parser,
                    selection=selection,
                    repo=origin.key,
                    explain=explain,
                    progress=progress,
                    cancelled=cancelled,
                )
            )
    code.seconds[Phase.CLONING] = cloned - started
    code.seconds[Phase.PARSING] = time.monotonic() - cloned
    return code


async def index_repository(
    origin: OriginT,
    *,
    generation: int,
    source: RepoSource[OriginT],
    parser: SourceParser,
    make_embedder: Callable[[], GraphEmbedder],
    vectors: VectorStore,
    catalog: Catalog,
    clock: Clock,
    selection: Selection,
    ref: str = "",
    seed: int = 0,
    progress: ProgressListener = ignore_progress,
) -> IndexResult:
    """Index a repository; searches see the old index whole until they see the new one whole.

    Whatever goes wrong on the way, the index that was there stays as it was. Vectors of a run that
    was refused are removed at once; what another failure or a crash leaves behind, the next run removes.

    Args:
        origin: The repository.
        generation: Fencing token of this run (`JobQueue.claim` or `issue_token`).
        source: Opens it.
        parser: Reads its imports.
        make_embedder: Called once, in a thread, at the start: loading PyTorch takes longer than
            parsing a small repository, so it happens beside it.
        vectors: Where the vectors go.
        catalog: Where the rest goes, and what says which generation is current.
        clock: Stamps the snapshot.
        selection: Which of its files count.
        ref: Branch, tag or commit; empty for the default.
        seed: Of the training.
        progress: Told of every phase.

    Raises:
        StaleGenerationError: A newer run of the same repository took over.
        NoSourceFilesError: No file of a known language is in it.
        IncompleteUploadError: The store lost vectors on the way.
        AlexandriaError: What the ports raise.
    """
    await catalog.begin(origin.key, generation)
    loading = asyncio.ensure_future(asyncio.to_thread(make_embedder))
    try:
        code = await read_code_graph(
            origin, source=source, parser=parser, selection=selection, ref=ref, progress=progress
        )
        embedder = await asyncio.shield(loading)
    finally:
        # The thread cannot be stopped; waiting for it keeps its error, if any, from being lost.
        await asyncio.wait([loading])
    trained_from = time.monotonic()
    embeddings = await compute(
        lambda cancelled: embedder.embed(
            code.graph, seed=seed, progress=_training_listener(progress), cancelled=cancelled
        )
    )
    uploaded_from = time.monotonic()
    code.seconds[Phase.TRAINING] = uploaded_from - trained_from
    snapshot = _snapshot(origin, code, embeddings, ref=ref, generation=generation, clock=clock)
    await _store(snapshot, code.graph, embeddings, vectors=vectors, catalog=catalog, progress=progress)
    code.seconds[Phase.UPLOADING] = time.monotonic() - uploaded_from
    return IndexResult(snapshot, code, embeddings)


@contextmanager
def collector_paused() -> Iterator[None]:
    """Hold Python's search for cycles back until the block is left.

    Reading a repository makes hundreds of thousands of values that live until its end and hold no cycle, and so does
    the loading of PyTorch; to look through them again and again takes a tenth of the time of this process. Of two
    threads that pause it at once, the one that did so first lets it run again.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _read_tree(
    tree: SourceTree,
    *,
    parser: SourceParser,
    selection: Selection,
    repo: str,
    explain: str,
    progress: ProgressListener,
    cancelled: Callable[[], bool],
) -> CodeGraph:
    paths = selection.select(tree.files)
    languages = {path: language for path in sorted(paths) if (language := language_of(path)) is not None}
    if not languages:
        raise NoSourceFilesError(
            f"{repo} holds no source file of {', '.join(Language)}: "
            f"{len(tree.files):,} files were looked at, {len(tree.files) - len(paths):,} of them left out by rule"
        )
    sizes = {path: tree.files[path] for path in languages}
    total = sum(sizes.values())
    not_read: dict[str, ReadStatus] = {}
    parsable = [path for path in languages if sizes[path] <= parser.max_file_bytes]
    too_large = (
        SourceFacts(path, language, ReadStatus.TOO_LARGE)
        for path, language in languages.items()
        if sizes[path] > parser.max_file_bytes
    )

    def counted(facts: Iterator[SourceFacts]) -> Iterator[SourceFacts]:
        seen_bytes = reported_bytes = 0
        for seen, file in enumerate(facts, start=1):
            seen_bytes += sizes[file.path]
            if file.status is not ReadStatus.READ:
                not_read[file.path] = file.status
            if seen_bytes - reported_bytes >= total / _REPORTS_OF_PARSING:  # files come faster than anybody looks
                reported_bytes = seen_bytes
                progress(IndexProgress(Phase.PARSING, seen_bytes / total if total else 1.0, f"{seen:,} files"))
            yield file
        progress(IndexProgress(Phase.PARSING, 1.0, f"{len(languages):,} files"))

    explained: list[FileOutcome] = []

    def outcomes(facts: Iterator[SourceFacts]) -> Iterator[FileOutcome]:
        first = next(facts)  # from now on the parsers are at work, and reading the manifests delays none of them
        repo_tree = _with_manifests(RepoTree(paths), tree, set(languages.values()))
        for outcome in resolve_imports(repo_tree, chain([first], facts)):
            if outcome.path == explain:
                explained.append(outcome)
            yield outcome

    with closing(parser.parse(tree.read(parsable), cancelled=cancelled)) as parsed:
        graph = DependencyGraph.from_outcomes(languages, outcomes(counted(chain(parsed, too_large))))
    return CodeGraph(
        commit=tree.commit,
        dirty=tree.dirty,
        graph=graph,
        not_read=dict(sorted(not_read.items())),
        skipped=dict(tree.skipped),
        explained=explained[0] if explained else None,
        unmatched_globs=selection.unmatched(tree.files),
        source_bytes=total,
    )


def _with_manifests(repo_tree: RepoTree, tree: SourceTree, languages: Collection[Language]) -> RepoTree:
    """Read the manifests that the languages ask for, until none of them asks for more."""
    while wanted := wanted_manifests(repo_tree, languages):
        read = {path: (content or b"").decode("utf-8", "replace") for path, content in tree.read(sorted(wanted))}
        repo_tree = RepoTree(repo_tree.paths, {**repo_tree.manifests, **read})
    return repo_tree


def _training_listener(progress: ProgressListener) -> Callable[[TrainingProgress], None]:
    def listen(training: TrainingProgress) -> None:
        detail = f"epoch {training.epoch}" + (f", loss {training.loss:.3f}" if training.loss is not None else "")
        progress(IndexProgress(Phase.TRAINING, training.fraction, detail, training))

    return listen


def _snapshot(
    origin: Origin, code: CodeGraph, embeddings: EmbeddingSet, *, ref: str, generation: int, clock: Clock
) -> Snapshot:
    report = embeddings.report
    return Snapshot(
        repo=origin.key,
        url=origin.url,
        commit=code.commit,
        generation=generation,
        indexed_at=clock.now(),
        files=code.graph.num_files,
        linked=embeddings.num_linked,
        edges=code.graph.num_edges,
        files_failed=len(code.not_read),
        imports=code.graph.counts,
        method=report.method,
        seed=report.seed,
        device=report.device,
        final_loss=report.final_loss,
        edge_auc=report.edge_auc,
        ref=ref,
        dirty=code.dirty,
    )


async def _store(
    snapshot: Snapshot,
    graph: DependencyGraph,
    embeddings: EmbeddingSet,
    *,
    vectors: VectorStore,
    catalog: Catalog,
    progress: ProgressListener,
) -> None:
    """Upload, count, activate, sweep: in this order a crash after any step leaves a whole index visible."""
    batch = VectorBatch(
        repo=snapshot.repo,
        repo_url=snapshot.url,
        generation=snapshot.generation,
        commit=snapshot.commit,
        languages=graph.languages,
        embeddings=embeddings,
    )
    try:
        await vectors.upload(batch, progress=lambda done: progress(IndexProgress(Phase.UPLOADING, done)))
        stored = await vectors.count(snapshot.repo, snapshot.generation)
    except asyncio.CancelledError:
        await _at_most(_CLEAN_UP_S, asyncio.ensure_future(_discard_refused(snapshot, vectors=vectors, catalog=catalog)))
        raise
    if stored != snapshot.files:
        raise IncompleteUploadError(snapshot.files, stored)
    activating = asyncio.ensure_future(_activate(snapshot, graph, vectors=vectors, catalog=catalog))
    try:
        await asyncio.shield(activating)
    except asyncio.CancelledError:
        # Half an activation would be one of unknown outcome: it takes moments, and cleans up if it is refused.
        await _at_most(_CLEAN_UP_S, activating)
        raise
    progress(IndexProgress(Phase.UPLOADING, 1.0, f"{stored:,} vectors"))


async def _at_most(seconds: float, work: asyncio.Future[None]) -> None:
    """Wait for `work`, which somebody who was cancelled still has to do, but not for long."""
    await asyncio.wait([work], timeout=seconds)
    work.cancel()
    await asyncio.wait([work])
    if not work.cancelled() and (error := work.exception()) is not None:
        logger.info("what was cancelled ended with: %s", error)


async def _activate(snapshot: Snapshot, graph: DependencyGraph, *, vectors: VectorStore, catalog: Catalog) -> None:
    try:
        await catalog.activate(snapshot, graph)
    except StaleGenerationError:
        await _discard_refused(snapshot, vectors=vectors, catalog=catalog)
        raise
    try:
        await vectors.sweep(snapshot.repo, below=snapshot.generation)
    except AlexandriaError as error:
        # The new index is whole and visible: to train it once more would mend nothing.
        logger.warning("old vectors of %s stay until its next run: %s", snapshot.repo, error)


async def _discard_refused(snapshot: Snapshot, *, vectors: VectorStore, catalog: Catalog) -> None:
    """Remove the vectors of a run that was refused or cancelled: no next run may come, as when it was deleted."""
    try:
        # An activation whose answer was lost, repeated after a newer run announced itself, is refused too:
        # what is current is not touched. What is refused and not current will never be current.
        if await _current_generation(catalog, snapshot.repo) != snapshot.generation:
            await vectors.discard(snapshot.repo, snapshot.generation)
    except AlexandriaError as error:
        logger.warning(
            "the vectors of generation %d of %s stay until its next run: %s", snapshot.generation, snapshot.repo, error
        )


async def _current_generation(catalog: Catalog, repo: str) -> int | None:
    try:
        return (await catalog.snapshot(repo)).generation
    except RepositoryNotFoundError:
        return None


def languages_of(graph: DependencyGraph) -> dict[Language, int]:
    """Count the files of each language, the most frequent first."""
    return dict(Counter(graph.languages).most_common())
