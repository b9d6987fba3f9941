"""The embedder behind the port. Importing this module imports torch, which takes 1 to 3 s."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from alexandria.adapters.pyg.settings import Node2VecSettings, changes_of
from alexandria.adapters.pyg.training import train
from alexandria.domain.embedding import DIMENSION, EmbeddingReport, EmbeddingSet
from alexandria.domain.graph import DependencyGraph
from alexandria.ports.graph_embedder import GraphEmbedder, TrainingProgress, never


class Node2VecEmbedder(GraphEmbedder):
    """node2vec, Grover & Leskovec, arXiv:1607.00653, on PyTorch Geometric's class; walk length counts nodes.

    Args:
        settings: How to train; None for the defaults.

    Raises:
        ValueError: `settings.dimension` is not that of the stores.
    """

    def __init__(self, settings: Node2VecSettings | None = None) -> None:
        self._settings = settings or Node2VecSettings()
        if self._settings.dimension != DIMENSION:
            raise ValueError(f"the stores hold vectors of {DIMENSION} numbers, not {self._settings.dimension}")

    def embed(
        self,
        graph: DependencyGraph,
        *,
        seed: int,
        progress: Callable[[TrainingProgress], None] = lambda _: None,
        cancelled: Callable[[], bool] = never,
    ) -> EmbeddingSet:
        """See `GraphEmbedder.embed`. Files whose edges are all of kinds left out by the settings are isolated."""
        settings = self._settings
        taken = np.isin(graph.kinds, [int(kind) for kind in settings.edge_kinds])
        training = train(
            graph.edges[:, taken],
            graph.num_files,
            seed,
            settings,
            weight=self._weights(graph.kinds[taken]),
            progress=progress,
            cancelled=cancelled,
        )
        changed = changes_of(settings)
        report = EmbeddingReport(
            method=settings.method,
            seed=seed,
            device=training.device,
            seconds=training.seconds,
            loss=training.loss,
            edge_auc=training.edge_auc,
            edges_held_out=training.edges_held_out,
            notes=(*((f"changed of the training: {changed}",) if changed else ()), *training.notes),
        )
        return EmbeddingSet(graph.files, training.vectors, np.logical_not(training.vectors.any(axis=1)), report)

    def _weights(self, kinds: npt.NDArray[np.int8]) -> npt.NDArray[np.float64] | None:
        """Return the weight of each edge, or None when all weigh the same."""
        by_kind = np.ones(int(max(self._settings.edge_kinds, default=0)) + 1, dtype=np.float64)
        for kind, weight in self._settings.edge_weights:
            if kind in self._settings.edge_kinds:
                by_kind[kind] = weight
        weights = by_kind[kinds]
        return None if (weights == 1.0).all() else weights
