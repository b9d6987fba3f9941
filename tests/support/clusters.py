"""A graph that any embedder should tell from noise, and how far two sets of vectors agree on it."""

from __future__ import annotations

import numpy as np


def clusters(count: int, size: int, seed: int = 3, degree: int = 4) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    rng = np.random.default_rng(seed)
    nodes = np.repeat(np.arange(count * size), degree)
    inside = np.stack([nodes, nodes // size * size + rng.integers(0, size, nodes.size)])
    bridges = np.stack([np.arange(count - 1) * size, np.arange(1, count) * size])
    return np.concatenate([inside, bridges], axis=1).astype(np.int64)


def overlap(
    a: np.ndarray[tuple[int, int], np.dtype[np.float32]], b: np.ndarray[tuple[int, int], np.dtype[np.float32]]
) -> float:
    """Mean share of the ten nearest that two sets of vectors have in common."""
    nearest = []
    for vectors in (a, b):
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        cosine = unit @ unit.T
        np.fill_diagonal(cosine, -2)
        nearest.append(np.argsort(-cosine, axis=1)[:, :10])
    return float(np.mean([np.intersect1d(x, y).size for x, y in zip(*nearest, strict=True)]) / 10)
