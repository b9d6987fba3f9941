"""Port: a vector for every file of a graph."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from alexandria.domain.embedding import EmbeddingSet
from alexandria.domain.errors import AlexandriaError
from alexandria.domain.graph import DependencyGraph


class GraphEmbedderError(AlexandriaError):
    """Root of the errors of this port."""


class EmbeddingCancelledError(GraphEmbedderError):
    """`cancelled()` answered True; nothing was made."""


class EmbedderOutOfMemoryError(GraphEmbedderError):
    """The graph does not fit into the memory there is, on any device, with the smallest batch."""


class EmbedderCrashedError(GraphEmbedderError):
    """The training ended without an answer; only an embedder that trains in another process can tell."""


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """Where a training is.

    Attributes:
        fraction: Share of the work that is done, in [0, 1], never falling.
        epoch: Epochs that are finished; 0 before the first.
        loss: Mean loss of the last finished epoch; None before that.
    """

    fraction: float
    epoch: int
    loss: float | None


def never() -> bool:
    """Answer False: the default of `cancelled`."""
    return False


class GraphEmbedder(Protocol):
    """Learns where each file stands in the dependency graph.

    It computes and does not wait, so it is plain, not async; callers run it off the event loop.
    """

    @abstractmethod
    def embed(
        self,
        graph: DependencyGraph,
        *,
        seed: int,
        progress: Callable[[TrainingProgress], None] = lambda _: None,
        cancelled: Callable[[], bool] = never,
    ) -> EmbeddingSet:
        """Return one vector of 64 float32 for each file of `graph`, in the order of `graph.files`.

        Every edge is taken in both directions, though not always as often. Files without an edge
        get a zero vector and the isolated mark; a graph without any edge gives all of them so, and
        that is no error. All other rows are finite and not zero. Only angles between vectors of one
        result have a meaning: another seed, or another training, is another rotation of the space.

        On a CPU the same graph and seed give the same bytes, whatever the number of threads.

        Args:
            graph: Any graph, also without files.
            seed: At least 0; all randomness comes from it.
            progress: Called from the computing thread, at least once an epoch; must not raise.
            cancelled: Asked between steps, several times a second; True ends the training.

        Returns:
            The set, with a report whose `edge_auc` was measured on this training.

        Raises:
            EmbeddingCancelledError: `cancelled` answered True.
            EmbedderOutOfMemoryError: There is not enough memory even for the smallest batch.
        """
        ...
