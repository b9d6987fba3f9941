"""How well vectors tell an edge from a non-edge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]

HELD_OUT_SHARE = 0.02
FEWEST_HELD_OUT, MOST_HELD_OUT = 100, 400
"""With fewer the measure is off by several hundredths; with more it is hardly better, and training lacks them."""

MOST_HELD_OUT_SHARE = 0.05
"""Where the fewest would be more than this, all edges are measured instead."""

NON_EDGES = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Pairs to train on and pairs held back from it.

    Attributes:
        kept: Mask, shape (P,), of the pairs to train on.
        measured: Shape (2, ·), the pairs to measure with: those held back, or all.
        held_out: Whether `measured` was held back.
    """

    kept: npt.NDArray[np.bool_]
    measured: Int64s
    held_out: bool


def split(pairs: Int64s, num_nodes: int, rng: np.random.Generator, *, may_hold_out: bool = True) -> Split:
    """Hold back a share of `pairs`, never the last link of a node.

    Args:
        pairs: Shape (2, P), each pair once.
        num_nodes: Number of nodes.
        rng: Chooses the pairs.
        may_hold_out: Whether pairs may be held back at all.

    Returns:
        2 % of the pairs, but at least 100 and at most 400; nothing is held back where that would be more
        than 5 %, and then all pairs are measured.
    """
    count = pairs.shape[1]
    wanted = min(max(int(HELD_OUT_SHARE * count), FEWEST_HELD_OUT), MOST_HELD_OUT)
    kept = np.ones(count, dtype=np.bool_)
    if not may_hold_out or wanted > MOST_HELD_OUT_SHARE * count:
        return Split(kept, pairs, held_out=False)
    degree = np.bincount(pairs.ravel(), minlength=num_nodes)
    chosen: list[int] = []
    for k in rng.permutation(count):
        a, b = pairs[:, k]
        if degree[a] > 1 and degree[b] > 1:
            degree[a] -= 1
            degree[b] -= 1
            chosen.append(int(k))
            if len(chosen) == wanted:
                break
    if len(chosen) < FEWEST_HELD_OUT:
        return Split(kept, pairs, held_out=False)
    kept[chosen] = False
    return Split(kept, pairs[:, ~kept], held_out=True)


def non_edges(pairs: Int64s, num_nodes: int, rng: np.random.Generator, count: int = NON_EDGES) -> Int64s:
    """Return pairs of different nodes without a link, uniformly drawn; all of them where they are few.

    Args:
        pairs: Shape (2, P), each linked pair once, low end first.
        num_nodes: Number of nodes.
        rng: Draws them.
        count: How many to draw, about; pairs may repeat.

    Returns:
        Shape (2, at most `count`), low end first; empty when every two nodes are linked.
    """
    linked = np.sort(pairs[0] * num_nodes + pairs[1])
    if num_nodes * (num_nodes - 1) // 2 <= count:
        low, high = (side.astype(np.int64) for side in np.triu_indices(num_nodes, 1))
    else:
        ends = rng.integers(0, num_nodes, (2, count))
        low, high = ends.min(axis=0), ends.max(axis=0)
    # np.isin would look for repeats among the links first, which takes seconds of a million files.
    key = low * num_nodes + high
    known = np.searchsorted(linked, key, side="right") > np.searchsorted(linked, key)
    free = (low != high) & ~known
    return np.stack([low[free], high[free]])


def edge_auc(vectors: npt.NDArray[np.float32], edges: Int64s, others: Int64s) -> float | None:
    """Return the probability that an edge scores above a non-edge, ties counted half.

    The score is the cosine. The area under the ROC curve is computed from ranks (Mann & Whitney, 1947).

    Args:
        vectors: Shape (N, d), finite.
        edges: Shape (2, ·).
        others: Shape (2, ·).

    Returns:
        In [0, 1]; None when either side is empty.
    """
    positives, negatives = edges.shape[1], others.shape[1]
    if not positives or not negatives:
        return None
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
    both = np.concatenate([edges, others], axis=1)
    score = np.concatenate(
        [np.einsum("ij,ij->i", unit[part[0]], unit[part[1]]) for part in np.array_split(both, 16, axis=1)]
    )
    _, group, size = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(size) - (size - 1) / 2)[group]
    return float((rank[:positives].sum() - positives * (positives + 1) / 2) / (positives * negatives))
