"""The embedder in a process of its own, so that PyTorch loads beside all that this process does."""

from __future__ import annotations

import logging
import os
import signal
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from alexandria.adapters.pyg import program
from alexandria.adapters.pyg.settings import Node2VecSettings
from alexandria.adapters.pyg.spawn import TrainingProcess
from alexandria.domain.embedding import EmbeddingSet
from alexandria.domain.graph import DependencyGraph
from alexandria.ports.graph_embedder import (
    EmbedderCrashedError,
    EmbeddingCancelledError,
    GraphEmbedder,
    TrainingProgress,
    never,
)

LOGGER = logging.getLogger(__name__)
_POLL_S = 0.05  # how soon a cancel is noticed
_PATIENCE_S = 1.0  # from the end of its pipes to its own


class ProcessEmbedder(GraphEmbedder):
    """`Node2VecEmbedder` in a `TrainingProcess`: the same vectors, logs and warnings.

    Not for several trainings at once. A process that ended, by a cancel or a crash, is replaced by the next call.

    Args:
        settings: How to train.
        process: The process; it may be loading still, which is waited for. Who started it closes it too.

    Raises:
        ImportError: PyTorch or PyTorch Geometric cannot be loaded.
        EmbedderCrashedError: The process ended while it was loading.
    """

    def __init__(self, settings: Node2VecSettings, process: TrainingProcess) -> None:
        self._settings = settings
        self._begin(process)

    def _begin(self, process: TrainingProcess) -> None:
        self._process: TrainingProcess | None = process
        self._requests = Connection(os.dup(process.stdin), readable=False)
        self._answers = Connection(os.dup(process.stdout), writable=False)
        self._next()  # it is ready, or says why not

    def embed(
        self,
        graph: DependencyGraph,
        *,
        seed: int,
        progress: Callable[[TrainingProgress], None] = lambda _: None,
        cancelled: Callable[[], bool] = never,
    ) -> EmbeddingSet:
        """See `GraphEmbedder.embed`.

        Raises:
            EmbedderCrashedError: The process ended without an answer.
        """
        if self._process is None:
            self._begin(TrainingProcess())
        try:
            self._requests.send((self._settings, graph, seed, LOGGER.getEffectiveLevel()))
        except BrokenPipeError:
            raise self._crashed() from None
        while True:
            if cancelled():
                self.close()
                raise EmbeddingCancelledError("the training was cancelled")
            if not self._answers.poll(_POLL_S):
                continue
            kind, value = self._next()
            if kind == program.PROGRESS:
                progress(value)
            elif kind == program.LOG:
                logging.getLogger(value.name).handle(value)
            elif kind == program.WARNING:
                text, category = value
                warnings.warn(text, category, stacklevel=2)
            else:
                made: EmbeddingSet = value
                return made

    def close(self) -> None:
        """End the process; safe to repeat."""
        if self._process is not None:
            self._end(self._process)

    def _end(self, process: TrainingProcess, patience_s: float = 0.0) -> int:
        self._process = None
        self._requests.close()
        self._answers.close()
        return process.close(patience_s)

    def _next(self) -> tuple[str, Any]:
        try:
            kind, value = self._answers.recv()
        except (EOFError, OSError):  # it ended between two messages, or within one
            raise self._crashed() from None
        if kind == program.FAILED:
            raise value
        return kind, value

    def _crashed(self) -> EmbedderCrashedError:
        assert self._process is not None  # noqa: S101 - somebody has just spoken to it
        code = self._end(self._process, _PATIENCE_S)
        if code == -signal.SIGKILL:
            return EmbedderCrashedError("the process that trains was killed, as a machine does that runs out of memory")
        return EmbedderCrashedError(f"the process that trains ended with code {code}; what it said stands above")
