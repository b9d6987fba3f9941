"""The undirected graph as a walker wants it: neighbours of a node side by side."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Adjacency:
    """Compressed rows of an undirected simple graph.

    Attributes:
        rowptr: Shape (M + 1,), int64: neighbours of node i are `col[rowptr[i]:rowptr[i + 1]]`.
        col: Shape (2 · pairs,), int64, rising within a row.
        degree: Shape (M,), int64.
        weight: Shape of `col`, float64, above 0; None when all weigh the same.
    """

    rowptr: Tensor
    col: Tensor
    degree: Tensor
    weight: Tensor | None = None

    @property
    def num_nodes(self) -> int:
        """Number of nodes, M."""
        return int(self.degree.numel())

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.col.device

    def keys(self) -> Tensor:
        """Return row · M + column of every entry, rising, for a search whether two nodes are neighbours."""
        rows = torch.repeat_interleave(torch.arange(self.num_nodes, device=self.device), self.degree)
        return rows * self.num_nodes + self.col

    def to(self, device: torch.device) -> Adjacency:
        """Return the same graph on `device`."""
        weight = None if self.weight is None else self.weight.to(device)
        return Adjacency(self.rowptr.to(device), self.col.to(device), self.degree.to(device), weight)


def damped_by_in_degree(edge_index: Tensor, num_nodes: int, exponent: float, weight: Tensor | None) -> Tensor | None:
    """Return the weights of edges divided by a power of the in-degree of the end that is imported.

    Args:
        edge_index: Shape (2, E), int64: importer, imported. Parallel edges count once, self-loops do not.
        num_nodes: Number of nodes.
        exponent: Power of the in-degree; 0 changes nothing.
        weight: Shape (E,), or None for all alike.

    Returns:
        Shape (E,), float64, above 0; None when all weigh the same.
    """
    if exponent and edge_index.numel():
        importer, imported = edge_index
        key = torch.unique((importer * num_nodes + imported)[importer != imported])
        in_degree = torch.bincount(key % num_nodes, minlength=num_nodes).clamp_(min=1).to(torch.float64)
        damping = in_degree[imported].pow_(-exponent)
        weight = damping if weight is None else damping * weight
    return None if weight is None or bool((weight == weight[:1]).all()) else weight


def undirected_pairs(edge_index: Tensor, num_nodes: int, weight: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return each linked pair once, without self-loops.

    Args:
        edge_index: Shape (2, E), int64, any order; parallel and opposite edges are one pair.
        num_nodes: Number of nodes.
        weight: Shape (E,), or None. A pair weighs as much as its heaviest edge, so that writing an import
            twice changes nothing.

    Returns:
        Pairs, shape (2, P), int64, low end first, sorted; and weights, shape (P,), float64, or None.
    """
    low, high = torch.minimum(edge_index[0], edge_index[1]), torch.maximum(edge_index[0], edge_index[1])
    proper = low != high
    key, inverse = torch.unique(low[proper] * num_nodes + high[proper], return_inverse=True)
    pairs = torch.stack([torch.div(key, max(num_nodes, 1), rounding_mode="floor"), key % max(num_nodes, 1)])
    if weight is None:
        return pairs, None
    heaviest = torch.zeros(key.numel(), dtype=torch.float64)
    heaviest.scatter_reduce_(0, inverse, weight[proper].to(torch.float64), "amax")
    return pairs, heaviest


def build_adjacency(pairs: Tensor, num_nodes: int, weight: Tensor | None = None) -> Adjacency:
    """Return the rows of both directions of `pairs`.

    Args:
        pairs: Shape (2, P), int64, each pair once, no self-loops.
        num_nodes: Number of nodes.
        weight: Shape (P,), or None.
    """
    row, col = torch.cat([pairs[0], pairs[1]]), torch.cat([pairs[1], pairs[0]])
    order = torch.argsort(row * num_nodes + col)
    degree = torch.bincount(row, minlength=num_nodes)
    rowptr = torch.zeros(num_nodes + 1, dtype=torch.int64)
    torch.cumsum(degree, 0, out=rowptr[1:])
    both = None if weight is None else weight.repeat(2)[order]
    return Adjacency(rowptr, col[order].contiguous(), degree, both)
