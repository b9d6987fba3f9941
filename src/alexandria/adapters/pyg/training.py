"""From edges to vectors: one or several trainings, measured, without any notion of files."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from alexandria.adapters.pyg.adjacency import build_adjacency, damped_by_in_degree, undirected_pairs
from alexandria.adapters.pyg.combine import combine
from alexandria.adapters.pyg.model import FusedNode2Vec
from alexandria.adapters.pyg.placement import Placement, free_gpu_bytes, place, with_less_on_failure
from alexandria.adapters.pyg.prone import prone
from alexandria.adapters.pyg.quality import Split, edge_auc, non_edges, split
from alexandria.adapters.pyg.settings import Node2VecSettings
from alexandria.ports.graph_embedder import EmbeddingCancelledError, TrainingProgress, never

Int64s = npt.NDArray[np.int64]

LOGGER = logging.getLogger(__name__)
EPOCHS_PER_LOG = 5


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """Vectors and how they came about.

    Attributes:
        vectors: Shape (N, d), float32, finite; rows of nodes without an edge are zero, no other row is.
        device: Where they were computed.
        seconds: Wall time.
        loss: Mean loss of each epoch, over all seeds.
        edge_auc: As in `EmbeddingReport`; the mean over all seeds.
        edges_held_out: As in `EmbeddingReport`.
        notes: As in `EmbeddingReport`.
    """

    vectors: npt.NDArray[np.float32]
    device: str = "cpu"
    seconds: float = 0.0
    loss: tuple[float, ...] = ()
    edge_auc: float | None = None
    edges_held_out: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Linked:
    """The linked nodes alone, numbered anew, and what to measure on them.

    Attributes:
        nodes: Shape (M,), the old numbers, rising.
        pairs: Shape (2, P), each pair once, new numbers, low end first.
        weight: Shape (P,), or None.
        parts: What is trained on and what is measured.
        others: Pairs that are not linked, to measure against.
    """

    nodes: Tensor
    pairs: Tensor
    weight: Tensor | None
    parts: Split
    others: Int64s

    @property
    def count(self) -> int:
        return self.nodes.numel()

    @property
    def held_back(self) -> Tensor | None:
        """Mask over `pairs`, or None."""
        return torch.from_numpy(~self.parts.kept) if self.parts.held_out else None

    def auc(self, vectors: Tensor) -> float | None:
        return edge_auc(vectors.numpy(), self.parts.measured, self.others)


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

    Sets torch to one thread while it runs, for the whole process, and back afterwards.

    Args:
        edge_index: Shape (2, E), importer and imported, each in [0, num_nodes); repeats and self-loops allowed.
            Walks go both ways; only `in_degree_exponent` asks for the direction.
        num_nodes: Number of nodes, N; may be 0.
        seed: At least 0.
        settings: How to train.
        weight: Shape (E,), above 0, or None. A pair weighs as much as its heaviest edge.
        progress: As in `GraphEmbedder.embed`.
        cancelled: As in `GraphEmbedder.embed`.

    Raises:
        EmbeddingCancelledError: `cancelled` answered True.
        EmbedderOutOfMemoryError: Memory ran out everywhere.
    """
    settings = settings or Node2VecSettings()
    began = time.perf_counter()
    with _one_thread():
        graph = _linked(edge_index, num_nodes, weight, settings)
        if not graph.count:
            result = Training(np.zeros((0, settings.dimension), np.float32))
        elif settings.method == "prone":
            result = _factorise(graph, seed, settings, cancelled)
        else:
            first = place(settings, graph.count, graph.pairs.shape[1], free_gpu_bytes)
            rising = _rising(progress)
            result = with_less_on_failure(
                lambda placement: _train_all(graph, seed, settings, placement, _Watch(settings, rising, cancelled)),
                first,
            )
    progress(TrainingProgress(1.0, len(result.loss), result.loss[-1] if result.loss else None))
    vectors = np.zeros((num_nodes, settings.dimension), np.float32)
    vectors[graph.nodes.numpy()] = result.vectors
    return replace(result, vectors=vectors, seconds=time.perf_counter() - began)


@contextmanager
def _one_thread() -> Iterator[None]:
    # Steps are too small to share, and sums over shares would depend on how many there are.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _linked(
    edge_index: Int64s, num_nodes: int, weight: npt.NDArray[np.float64] | None, settings: Node2VecSettings
) -> _Linked:
    edges = torch.from_numpy(np.array(edge_index, dtype=np.int64))
    edge_weight = None if weight is None else torch.from_numpy(weight)
    if settings.method == "node2vec":
        edge_weight = damped_by_in_degree(edges, num_nodes, settings.in_degree_exponent, edge_weight)
    pairs, pair_weight = undirected_pairs(edges, num_nodes, edge_weight)
    nodes = torch.bincount(pairs.reshape(-1), minlength=num_nodes).nonzero()[:, 0]
    pairs = torch.searchsorted(nodes, pairs)
    # The same pairs for every seed, so that two seeds learn the same graph.
    rng = np.random.default_rng(0)
    may_hold_out = settings.held_out and (settings.method == "prone" or _give_back_after(settings) > 0)
    parts = split(pairs.numpy(), nodes.numel(), rng, may_hold_out=may_hold_out)
    return _Linked(nodes, pairs, pair_weight, parts, non_edges(pairs.numpy(), nodes.numel(), rng))


def _give_back_after(settings: Node2VecSettings) -> int:
    """Return the epoch after which the measure is taken and walks take the held-back pairs too."""
    return settings.epochs - max(1, settings.epochs // 5)


def _rising(progress: Callable[[TrainingProgress], None]) -> Callable[[TrainingProgress], None]:
    """Return `progress` with a fraction that waits where it was while a training that ran out of memory is repeated."""
    furthest = 0.0

    def report(at: TrainingProgress) -> None:
        nonlocal furthest
        furthest = max(furthest, at.fraction)
        progress(replace(at, fraction=furthest))

    return report


class _Watch:
    """Progress of trainings that may run at once, and the wish to end them."""

    def __init__(
        self,
        settings: Node2VecSettings,
        progress: Callable[[TrainingProgress], None],
        cancelled: Callable[[], bool],
    ) -> None:
        self._epochs = settings.epochs
        self._progress, self._cancelled = progress, cancelled
        self._losses: list[list[float]] = [[] for _ in range(settings.seeds)]
        self._lock = threading.Lock()
        self._ended = False

    def check(self) -> None:
        """Raise when the training shall end."""
        with self._lock:
            self._ended = self._ended or self._cancelled()
            if self._ended:
                raise EmbeddingCancelledError("the training was cancelled")

    def epoch_done(self, which: int, loss: float) -> None:
        """Report an epoch of training `which`."""
        with self._lock:
            self._losses[which].append(loss)
            finished = sum(len(losses) for losses in self._losses)
            means = self.mean_losses()
            fraction = finished / (self._epochs * len(self._losses))
            if means and len(self._losses[which]) == len(means) and self._worth_a_log(len(means)):
                facts = {"epoch": len(means), "loss": means[-1]}
                LOGGER.info("epoch %d of %d: loss %.4f", len(means), self._epochs, means[-1], extra=facts)
            self._progress(TrainingProgress(fraction, len(means), means[-1] if means else None))

    def mean_losses(self) -> tuple[float, ...]:
        """Return the mean over trainings of each epoch that all have finished."""
        return tuple(sum(of_epoch) / len(of_epoch) for of_epoch in zip(*self._losses, strict=False))

    def _worth_a_log(self, epoch: int) -> bool:
        return epoch % EPOCHS_PER_LOG == 0 or epoch == self._epochs


def _train_all(graph: _Linked, seed: int, settings: Node2VecSettings, placement: Placement, watch: _Watch) -> Training:
    """Train `settings.seeds` times and combine."""
    together = placement.seeds_at_once
    groups = [range(first, min(first + together, settings.seeds)) for first in range(0, settings.seeds, together)]

    def train_group(group: range) -> list[tuple[Tensor, float | None]]:
        def epoch_done(loss: float) -> None:
            for which in group:
                watch.epoch_done(which, loss)

        return _train_together(
            graph, len(group), _seed_of(seed, group[0]), settings, placement, epoch_done=epoch_done, check=watch.check
        )

    on_gpu = placement.device != "cpu"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(placement.device)
    at_once = 1 if on_gpu else min(settings.threads, settings.seeds)
    if at_once == 1:
        trained = [one for group in groups for one in train_group(group)]
    else:
        with ThreadPoolExecutor(at_once) as pool:
            trained = [one for group in pool.map(train_group, groups) for one in group]
    notes = placement.notes
    if on_gpu:
        peak, card = torch.cuda.max_memory_allocated(placement.device), torch.cuda.get_device_properties(0).total_memory
        notes += (f"peak {peak / 2**20:.0f} MiB, {peak / card:.1%} of the card",)
    for note in notes:
        LOGGER.info("%s", note)
    aucs = [auc for _, auc in trained if auc is not None]
    return Training(
        vectors=combine([vectors for vectors, _ in trained]).numpy(),
        device=placement.device,
        loss=watch.mean_losses(),
        edge_auc=sum(aucs) / len(aucs) if aucs else None,
        edges_held_out=graph.parts.held_out and bool(aucs),
        notes=notes,
    )


def _seed_of(seed: int, which: int) -> int:
    """Return the seed of training `which`; that of the first is the seed itself."""
    return seed if which == 0 else int(np.random.SeedSequence([seed, which]).generate_state(1, np.uint64)[0] >> 1)


def _train_together(
    graph: _Linked,
    count: int,
    seed: int,
    settings: Node2VecSettings,
    placement: Placement,
    *,
    epoch_done: Callable[[float], None],
    check: Callable[[], None],
) -> list[tuple[Tensor, float | None]]:
    """Return, of each of `count` trainings, vectors of the linked nodes, on the CPU, and their AUC.

    Several are one training of as many copies of the graph: a GPU that is not full with one takes hardly longer.
    """
    first = torch.arange(count).repeat_interleave(graph.pairs.shape[1]) * graph.count
    model = FusedNode2Vec(
        graph.pairs.repeat(1, count) + first,
        settings.dimension,
        settings.walk_length,
        settings.context_size,
        settings.walks_per_node,
        settings.p,
        settings.q,
        num_nodes=count * graph.count,
        edge_weight=None if graph.weight is None else graph.weight.repeat(count),
        initial_scale=settings.initial_scale,
        seed=seed,
        device=placement.device,
    )
    give_back_after = _give_back_after(settings)
    measured: list[float | None] = []

    def parts() -> Tensor:
        return model.embedding.weight.detach().cpu().view(count, graph.count, -1)

    def after_epoch(epoch: int, loss: float) -> None:
        if graph.parts.held_out and epoch == give_back_after:
            measured.extend(graph.auc(vectors) for vectors in parts())
        epoch_done(loss)

    model.fit(
        settings.epochs,
        learning_rate=settings.learning_rate,
        window_decay=settings.window_decay,
        negative_weight=settings.negative_weight,
        walks_per_step=placement.walks_per_step,
        parts=count,
        held_back=None if graph.held_back is None else graph.held_back.repeat(count),
        give_back_after=give_back_after if graph.parts.held_out else None,
        between_steps=lambda _: check(),
        after_epoch=after_epoch,
    )
    trained = list(parts())
    return list(zip(trained, measured or map(graph.auc, trained), strict=True))


def _factorise(graph: _Linked, seed: int, settings: Node2VecSettings, cancelled: Callable[[], bool]) -> Training:
    """Compute ProNE's vectors; where pairs are held back, once without them for the measure."""

    def check() -> None:
        if cancelled():
            raise EmbeddingCancelledError("the computation was cancelled")

    def vectors_of(kept: Tensor) -> Tensor:
        check()
        weight = None if graph.weight is None else graph.weight[kept]
        adjacency = build_adjacency(graph.pairs[:, kept], graph.count, weight)
        return prone(adjacency, settings.dimension, torch.Generator().manual_seed(seed))

    everything = torch.ones(graph.pairs.shape[1], dtype=torch.bool)
    vectors = vectors_of(everything)
    held_back = graph.held_back
    measured = vectors if held_back is None else vectors_of(~held_back)
    check()
    auc = graph.auc(measured)
    return Training(vectors.numpy(), edge_auc=auc, edges_held_out=held_back is not None and auc is not None)
