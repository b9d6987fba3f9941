"""An Alexandria over memory adapters: the use cases without a file, a network, or PyTorch."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from alexandria.adapters.git import DirectorySource, GitSource
from alexandria.adapters.memory.catalog import MemoryCatalog
from alexandria.adapters.memory.clock import ManualClock
from alexandria.adapters.memory.job_queue import MemoryJobQueue
from alexandria.adapters.memory.status_board import MemoryStatusBoard
from alexandria.adapters.memory.vector_store import MemoryVectorStore
from alexandria.adapters.tree_sitter.parser import TreeSitterParser
from alexandria.domain.embedding import DIMENSION, EmbeddingReport, EmbeddingSet
from alexandria.domain.graph import DependencyGraph
from alexandria.entrypoints.library import Alexandria
from alexandria.entrypoints.settings import Settings
from alexandria.ports.catalog import Catalog
from alexandria.ports.graph_embedder import EmbeddingCancelledError, GraphEmbedder, TrainingProgress, never
from alexandria.ports.job_queue import QueueRules
from alexandria.ports.vector_store import VectorStore


class RandomEmbedder(GraphEmbedder):
    """Random directions for linked files: enough for what does not ask whether they make sense."""

    def embed(
        self,
        graph: DependencyGraph,
        *,
        seed: int,
        progress: Callable[[TrainingProgress], None] = lambda _: None,
        cancelled: Callable[[], bool] = never,
    ) -> EmbeddingSet:
        if cancelled():
            raise EmbeddingCancelledError("cancelled")
        isolated = graph.isolated()
        vectors = np.random.default_rng(seed).standard_normal((graph.num_files, DIMENSION)).astype(np.float32)
        vectors[isolated] = 0
        progress(TrainingProgress(1.0, 1, 0.5))
        return EmbeddingSet(graph.files, vectors, isolated, EmbeddingReport("random", seed, "cpu", 0.0, (0.5,), 0.95))


class WaitingEmbedder(RandomEmbedder):
    """Trains until it is let go or cancelled, and says when it has begun. Make it inside a running loop."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.ended = threading.Event()
        self.let_go = threading.Event()
        self.stopped = False
        self._loop = asyncio.get_running_loop()

    def embed(
        self,
        graph: DependencyGraph,
        *,
        seed: int,
        progress: Callable[[TrainingProgress], None] = lambda _: None,
        cancelled: Callable[[], bool] = never,
    ) -> EmbeddingSet:
        progress(TrainingProgress(0.5, 5, 1.0))
        self._loop.call_soon_threadsafe(self.begun.set)
        while not cancelled() and not self.let_go.wait(0.001):
            pass
        self.stopped = True
        self.ended.set()
        return super().embed(graph, seed=seed, progress=progress, cancelled=cancelled)


class BrokenEmbedder(RandomEmbedder):
    """Fails as only a mistake in a program does."""

    def embed(
        self,
        graph: DependencyGraph,
        *,
        seed: int,
        progress: Callable[[TrainingProgress], None] = lambda _: None,
        cancelled: Callable[[], bool] = never,
    ) -> EmbeddingSet:
        raise ZeroDivisionError("two\nlines")


@dataclass
class MemoryWorld:
    """Every port, to look at from outside, and the library over them."""

    clock: ManualClock = field(default_factory=lambda: ManualClock(datetime(2026, 1, 1, tzinfo=UTC)))
    catalog: Catalog = field(default_factory=MemoryCatalog)
    vectors: VectorStore = field(default_factory=MemoryVectorStore)
    embedder: GraphEmbedder = field(default_factory=RandomEmbedder)
    mirror: str = ""

    def __post_init__(self) -> None:
        self.queue = MemoryJobQueue(QueueRules(), self.clock)
        self.board = MemoryStatusBoard(self.clock)
        self.library = Alexandria(
            settings=Settings.load(heartbeat_seconds=0.05, poll_interval_seconds=0.01),
            queue=self.queue,
            board=self.board,
            catalog=self.catalog,
            vectors=self.vectors,
            local_source=DirectorySource(),
            remote_source=GitSource(mirror=self.mirror),
            parser=TreeSitterParser(processes=1),
            make_embedder=lambda _method, _training: self.embedder,
            clock=self.clock,
        )
