"""How far files are from one another along the edges of the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alexandria.domain.arrays import np

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64] | npt.NDArray[np.int32]


def depths_from(start: int, tails: Ints, heads: Ints, *, num_files: int, limit: int) -> npt.NDArray[np.int8]:
    """Return the length of the shortest way from `start` to each file, by breadth-first search.

    Each step looks at all edges at once: O(E) array work a level, where lists of neighbours would
    have to be built first.

    Args:
        start: The node to start from.
        tails: Shape (E,): where each edge is entered. Importers, to follow imports; else the other way.
        heads: Shape (E,): where each edge leads.
        num_files: Number of nodes, N.
        limit: Longest way to follow, below 128.

    Returns:
        Shape (N,): 0 for `start`, -1 for what is not reached within `limit` edges.
    """
    depths = np.full(num_files, -1, dtype=np.int8)
    depths[start] = 0
    for depth in range(1, limit + 1):
        reached = heads[depths[tails] == depth - 1]
        fresh = reached[depths[reached] < 0]
        if not fresh.size:
            break
        depths[fresh] = depth
    return depths
