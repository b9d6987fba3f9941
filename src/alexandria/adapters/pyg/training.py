"""From edges to vectors: one or several trainings, measured, without any notion of files."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from alexandria.adapters.pyg.model import FusedNode2Vec
from alexandria.adapters.pyg.quality import edge_auc, non_edges, split
from alexandria.adapters.pyg.settings import Node2VecSettings
from alexandria.ports.graph_embedder import EmbeddingCancelledError, TrainingProgress, never

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """Vectors and how they came about.

    Attributes:
        vectors: Shape (N, d), float32, finite; rows of nodes without an edge are zero, no other row is.
        device: Where they were computed.
        seconds: Wall time.
        loss: Mean loss of each epoch.
        edge_auc: As in `EmbeddingReport`.
        edges_held_out: As in `EmbeddingReport`.
        notes: As in `EmbeddingReport`.
    """

    vectors: npt.NDArray[np.float32]
    device: str
    seconds: float
    loss: tuple[float, ...] = ()
    edge_auc: float | None = None
    edges_held_out: bool = False
    notes: tuple[str, ...] = ()


def train(
    edge_index: Int64s,
    num_nodes: int,
    seed: int,
    settings: Node2VecSettings | None = None,
    *,
    weight: npt.NDArray[np.float64] | None = None,
    progress: Callable[[TrainingProgress], None] = lambda _: None,
    cancelled: Callable[[], bool] = never,
) -> Training:
    """Train vectors of the nodes of an undirected graph.

    Args:
        edge_index: Shape (2, E), each in [0, num_nodes); any direction, repeats and self-loops allowed.
        num_nodes: Number of nodes, N; may be 0.
        seed: At least 0.
        settings: How to train.
        weight: Shape (E,), above 0, or None.
        progress: As in `GraphEmbedder.embed`.
        cancelled: As in `GraphEmbedder.embed`.

    Raises:
        EmbeddingCancelledError: `cancelled` answered True.
    """
    settings = settings or Node2VecSettings()
    began = time.perf_counter()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        result = _train_node2vec(
            edge_index, num_nodes, seed, settings, weight=weight, progress=progress, cancelled=cancelled
        )
    finally:
        torch.set_num_threads(threads)
    progress(TrainingProgress(1.0, len(result.loss), result.loss[-1] if result.loss else None))
    return Training(
        vectors=result.vectors,
        device=result.device,
        seconds=time.perf_counter() - began,
        loss=result.loss,
        edge_auc=result.edge_auc,
        edges_held_out=result.edges_held_out,
        notes=result.notes,
    )


def _train_node2vec(
    edge_index: Int64s,
    num_nodes: int,
    seed: int,
    settings: Node2VecSettings,
    *,
    weight: npt.NDArray[np.float64] | None,
    progress: Callable[[TrainingProgress], None],
    cancelled: Callable[[], bool],
) -> Training:
    model = FusedNode2Vec(
        torch.from_numpy(np.ascontiguousarray(edge_index, dtype=np.int64)),
        settings.dimension,
        settings.walk_length,
        settings.context_size,
        settings.walks_per_node,
        settings.p,
        settings.q,
        num_nodes=num_nodes,
        edge_weight=None if weight is None else torch.from_numpy(weight),
        initial_scale=settings.initial_scale,
        seed=seed,
    )
    rng = np.random.default_rng(seed)
    give_back_after = settings.epochs - max(1, settings.epochs // 5)
    pairs = np.searchsorted(model.linked.numpy(), model.pairs.numpy())
    parts = split(pairs, model.linked.numel(), rng, may_hold_out=settings.held_out and give_back_after > 0)
    others = non_edges(pairs, model.linked.numel(), rng)
    losses: list[float] = []
    measured: list[float | None] = []

    def measure() -> None:
        linked_vectors = model.embedding.weight.detach()[model.linked].numpy()
        measured.append(edge_auc(linked_vectors, parts.measured, others))

    def between_steps(share: float) -> None:
        if cancelled():
            raise EmbeddingCancelledError("the training was cancelled")

    def after_epoch(epoch: int, loss: float) -> None:
        losses.append(loss)
        if parts.held_out and epoch == give_back_after:
            measure()
        progress(TrainingProgress(epoch / settings.epochs, epoch, loss))

    model.fit(
        settings.epochs,
        learning_rate=settings.learning_rate,
        walks_per_step=settings.walks_per_step,
        held_back=torch.from_numpy(~parts.kept) if parts.held_out else None,
        give_back_after=give_back_after if parts.held_out else None,
        between_steps=between_steps,
        after_epoch=after_epoch,
    )
    if not parts.held_out:
        measure()
    return Training(
        vectors=model.embedding.weight.detach().numpy(),
        device="cpu",
        seconds=0.0,
        loss=tuple(losses),
        edge_auc=measured[0],
        edges_held_out=parts.held_out,
    )
