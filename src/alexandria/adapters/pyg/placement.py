"""Where a training runs, how large its steps are, and what happens when memory runs out."""

from __future__ import annotations

import gc
import warnings
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import torch

from alexandria.adapters.pyg.model import (
    NEGATIVE_BLOCK,
    STEPS_PER_DRAW_ON_GPU,
    WALKS_PER_BLOCK,
    WALKS_PER_DRAW_ON_GPU,
)
from alexandria.adapters.pyg.settings import Node2VecSettings
from alexandria.ports.graph_embedder import EmbedderOutOfMemoryError

GPU_PAYS_FROM = 5_000
"""Linked nodes, of all seeds together. Below, a GPU takes about as long to start as a CPU takes to train."""

CUBLAS_WORKSPACE = 32 << 20
"""What cuBLAS takes for itself at its first product, on the largest cards."""

FEWEST_WALKS = 128
"""A step smaller than this saves no memory worth having."""

MOST_OF_CARD = 0.7
"""Share of the free memory that a step may plan for; the allocator keeps some, and so do other programs."""

STEPS_PER_EPOCH = 100
"""Fewer than these cost quality on large graphs, so a step grows no further, however large the card is."""

CPU_STEP = 1250
"""Large enough that Adam's pass over the rows costs little beside the walks, small enough for the cache."""

OUT_OF_MEMORY = ("can't allocate memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Placement:
    """One way to run a training.

    Attributes:
        device: `cpu` or `cuda:0`, …
        walks_per_step: Walks of a step, at most, of each training.
        seeds_at_once: Trainings that run together as one on a GPU.
        planned_bytes: What the training is expected to hold at most on a GPU.
        notes: What a person should know about the choice.
    """

    device: str
    walks_per_step: int
    seeds_at_once: int = 1
    planned_bytes: int = 0
    notes: tuple[str, ...] = ()


def place(
    settings: Node2VecSettings, linked: int, pairs: int, free_bytes: Callable[[], int | None] = lambda: None
) -> Placement:
    """Choose the device and the size of a step.

    Args:
        settings: What was asked for.
        linked: Nodes with an edge.
        pairs: Linked pairs.
        free_bytes: Answers the free memory of the GPU; None when there is none. Not asked where the graph stays on
            the CPU anyway, as the question alone starts the driver, which takes a second and half a GiB.
    """
    pays = linked * settings.seeds >= GPU_PAYS_FROM
    free = free_bytes() if settings.device == "cuda" or (settings.device == "auto" and pays) else None
    if free is None:
        return _on_cpu(settings, "a GPU was asked for and there is none" if settings.device == "cuda" else None)
    most = MOST_OF_CARD * free
    wanted = settings.walks_per_step or max(linked * settings.walks_per_node // STEPS_PER_EPOCH, CPU_STEP)
    least = min(wanted, FEWEST_WALKS)

    def planned(walks: int, seeds: int = 1) -> int:
        return planned_bytes(settings, linked, pairs, walks, seeds)

    fitting = bisect_right(range(least, wanted + 1), most, key=planned)
    if not fitting:
        lacking = f"{planned(least) / 2**20:.0f} MiB do not fit into the free memory of the card"
        return _on_cpu(settings, lacking)
    walks = least + fitting - 1
    seeds = max(1, bisect_right(range(1, settings.seeds + 1), most, key=lambda seeds: planned(walks, seeds)))
    note = _of_the_card(planned(walks, seeds), free, walks, walks < wanted or seeds < settings.seeds, settings)
    return Placement("cuda:0", walks, seeds, planned(walks, seeds), (note,))


def _on_cpu(settings: Node2VecSettings, why: str | None) -> Placement:
    notes = () if why is None else (f"{why}; trained on the CPU",)
    return Placement("cpu", settings.walks_per_step or CPU_STEP, notes=notes)


def _of_the_card(planned: int, free: int, walks: int, full: bool, settings: Node2VecSettings) -> str:
    """Say how much of the card is planned for, and why it is not more."""
    share = f"planned {planned / 2**20:.0f} MiB, {planned / free:.1%} of the free memory of the card"
    if full:
        return f"{share}, which is as much as a plan may take"
    if settings.walks_per_step is not None:
        return f"{share}; the settings ask for steps of {walks} walks"
    return f"{share}; steps above {walks} walks would leave too few of them, so the rest of the card stays empty"


def bytes_per_walk(settings: Node2VecSettings) -> int:
    """Return what a walk of a step takes: rows, gradients, scores, its path several times, and its negatives."""
    length, dimension = settings.walk_length, settings.dimension
    negatives = NEGATIVE_BLOCK // WALKS_PER_BLOCK
    return length * (2 * 4 * dimension + 4 * length + 6 * 8) + negatives * (2 * 4 * dimension + 2 * 4 * NEGATIVE_BLOCK)


def planned_bytes(settings: Node2VecSettings, linked: int, pairs: int, walks: int, seeds_at_once: int = 1) -> int:
    """Return what trainings hold at most on a GPU: vectors, gradient, moments, a change of each; graph; walks; a step.

    Each pair is two entries of the graph, each with its end, weight, share and two targets, and there is a second
    graph without the held-back pairs. While a graph's alias tables are built, an entry takes about 16 numbers more;
    the gradient and what comes after it do not exist then. A walk is drawn node by node, and then turned over.
    """
    vectors = 4 * linked * settings.dimension
    graph = 2 * 2 * 5 * 8 * pairs
    building = 2 * 16 * 8 * pairs
    of_an_epoch = linked * settings.walks_per_node
    together = seeds_at_once * walks
    drawn = min(STEPS_PER_DRAW_ON_GPU * together, WALKS_PER_DRAW_ON_GPU, seeds_at_once * of_an_epoch)
    training = 4 * vectors + 4 * 8 * of_an_epoch + walks * bytes_per_walk(settings)
    walking = max(drawn, together) * (2 * settings.walk_length + 8) * 8
    return CUBLAS_WORKSPACE + seeds_at_once * (vectors + graph + max(building, training)) + walking


def with_less_on_failure(train_on: Callable[[Placement], T], first: Placement) -> T:
    """Run `train_on`; after each failure for want of memory with half the seeds or the step, at last on the CPU.

    Args:
        train_on: Trains from the start. Raises torch.OutOfMemoryError, or MemoryError, when memory runs out.
        first: What to try first.

    Raises:
        EmbedderOutOfMemoryError: The smallest step on the CPU is still too much.
    """
    placement = first
    while True:
        try:
            return train_on(placement)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if placement.device == "cpu" and placement.walks_per_step <= FEWEST_WALKS:
                raise EmbedderOutOfMemoryError("the graph does not fit into memory, even with the smallest step") from (
                    error
                )
            smaller = _smaller(placement)
        # Only here, past the handler, are the failed attempt's tensors free: the traceback held them.
        warnings.warn(smaller.notes[-1], RuntimeWarning, stacklevel=2)
        _give_memory_back(placement)
        placement = smaller


def is_out_of_memory(error: Exception) -> bool:
    """Whether `error` says that memory ran out; torch's CPU allocator, the CUDA driver and cuBLAS say so in words."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(words in str(error) for words in OUT_OF_MEMORY)


def _give_memory_back(placement: Placement) -> None:
    """Let go of what a failed attempt left, so that a smaller one is not met by its remains."""
    gc.collect()
    if placement.device != "cpu":
        torch.cuda.empty_cache()


def _smaller(placement: Placement) -> Placement:
    if placement.seeds_at_once > 1:
        seeds = placement.seeds_at_once // 2
        note = f"out of memory on {placement.device}; trained again with {seeds} of the seeds at once"
        return replace(placement, seeds_at_once=seeds, notes=(*placement.notes, note))
    walks = placement.walks_per_step // 2
    if walks >= FEWEST_WALKS:
        note = f"out of memory on {placement.device}; trained again with {walks} walks a step"
        return replace(placement, walks_per_step=walks, notes=(*placement.notes, note))
    if placement.device == "cpu":
        note = f"out of memory on the CPU; trained again with {FEWEST_WALKS} walks a step"
        return replace(placement, walks_per_step=FEWEST_WALKS, notes=(*placement.notes, note))
    note = f"out of memory on {placement.device} with the smallest step; trained on the CPU"
    return Placement("cpu", CPU_STEP, notes=(*placement.notes, note))


def free_gpu_bytes() -> int | None:
    """Return the free memory of the first GPU, or None where there is none."""
    if not torch.cuda.is_available():
        return None
    free, _ = torch.cuda.mem_get_info(0)
    return int(free)
