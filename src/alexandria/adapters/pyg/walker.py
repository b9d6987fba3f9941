"""Seeded random walks of first and second order."""

from __future__ import annotations

import torch
from torch import Tensor

from alexandria.adapters.pyg.adjacency import Adjacency


class RandomWalker:
    """Draws the walks of node2vec [1]_, section 3.2, exactly and from a seeded generator.

    From `cur`, reached from `prev`, the next node x is drawn from the neighbours of `cur` in proportion to
    weight(cur, x) · α, where α is 1/p for x = prev, 1 for a neighbour of `prev`, 1/q otherwise. Second-order
    steps are drawn by rejection, as KnightKing [2]_ does, so no table per edge is kept: memory is that of the
    graph. The return edge is folded out of the envelope, so that a small p costs no rejections.

    Args:
        adjacency: The graph.
        p: Return parameter, above 0.
        q: In-out parameter, above 0.

    References:
        .. [1] Grover & Leskovec, arXiv:1607.00653.
        .. [2] Yang et al., KnightKing, SOSP 2019, sections 4 and 5.
    """

    def __init__(self, adjacency: Adjacency, p: float = 1.0, q: float = 1.0) -> None:
        self._graph = adjacency
        self._p, self._q = p, q
        self._first_order = p == 1.0 and q == 1.0
        self._degree = adjacency.degree.to(torch.float64)
        self._start = adjacency.rowptr[:-1].contiguous()
        self._last = max(adjacency.col.numel() - 1, 0)
        self._any_isolated = bool((adjacency.degree == 0).any())
        self._cumulated = None if adjacency.weight is None else _cumulated(adjacency.weight)
        self._keys = None if self._first_order else adjacency.keys()

    def walk(self, starts: Tensor, length: int, generator: torch.Generator) -> Tensor:
        """Return one walk from each of `starts`.

        Args:
            starts: Shape (W,), int64, on the device of the graph.
            length: Nodes of a walk, the start included; at least 1.
            generator: On the device of the graph; all randomness comes from it.

        Returns:
            Shape (W, length), int64, contiguous. A node without neighbours repeats.
        """
        if self._graph.col.numel() == 0:
            return starts.unsqueeze(1).repeat(1, length)
        path = torch.empty((length, starts.numel()), dtype=torch.int64, device=starts.device)
        path[0] = starts
        if self._any_isolated:  # they walk from somewhere else first, which keeps every step free of the question
            isolated = self._graph.degree.index_select(0, starts) == 0
            path[0] = torch.where(isolated, self._graph.col[0], starts)
        for i in range(1, length):
            if i == 1 or self._first_order:
                path[i] = self._step(path[i - 1], generator)
            else:
                path[i] = self._second_order_step(path[i - 2], path[i - 1], generator)
        if self._any_isolated:
            path = torch.where(isolated, starts, path)
        return path.t().contiguous()

    def _step(self, cur: Tensor, generator: torch.Generator) -> Tensor:
        """Draw a neighbour of each `cur` in proportion to its weight."""
        # float64, because 24 bits cannot address the neighbours of a large hub evenly.
        u = torch.rand(cur.shape, generator=generator, dtype=torch.float64, device=cur.device)
        start = self._start.index_select(0, cur)
        if self._cumulated is None:
            entry = u.mul_(self._degree.index_select(0, cur)).to(torch.int64).add_(start)
        else:
            below = self._cumulated[start]
            total = self._cumulated[start + self._graph.degree[cur]] - below
            entry = torch.searchsorted(self._cumulated, below + u * total, right=True) - 1
            entry = torch.minimum(torch.maximum(entry, start), start + self._graph.degree[cur] - 1)
        return self._graph.col.index_select(0, entry)  # several times faster than col[entry]

    def _second_order_step(self, prev: Tensor, cur: Tensor, generator: torch.Generator) -> Tensor:
        """Draw by rejection under an envelope of `most` · weight, with what 1/p exceeds `most` by put beside it."""
        most = max(1.0, 1.0 / self._q)  # the largest α of a node that is not `prev`
        extra = self._return_weight(cur, prev) * max(0.0, 1.0 / self._p - most)
        back_share = extra / (most * self._total_weight(cur) + extra)
        # With one neighbour there is no choice, and a large p would reject it for long.
        back_share.masked_fill_(self._graph.degree.index_select(0, cur) == 1, 1.0)
        result = torch.empty_like(cur)
        waiting = torch.arange(cur.numel(), device=cur.device)
        while waiting.numel():
            before, here = prev.index_select(0, waiting), cur.index_select(0, waiting)
            back, accept = torch.rand((2, waiting.numel()), generator=generator, dtype=torch.float64, device=cur.device)
            proposal = self._step(here, generator)
            alpha = torch.where(self._linked(before, proposal), 1.0, 1.0 / self._q)
            alpha.masked_fill_(proposal == before, min(1.0 / self._p, most))
            outright = back < back_share.index_select(0, waiting)
            settled = outright | (accept * most < alpha)
            result[waiting[settled]] = torch.where(outright, before, proposal)[settled]
            waiting = waiting[~settled]
        return result

    def _total_weight(self, node: Tensor) -> Tensor:
        if self._cumulated is None:
            return self._degree[node]
        start = self._start[node]
        return self._cumulated[start + self._graph.degree[node]] - self._cumulated[start]

    def _return_weight(self, cur: Tensor, prev: Tensor) -> Tensor:
        if self._graph.weight is None:
            return torch.ones(cur.shape, dtype=torch.float64, device=cur.device)
        entry = torch.searchsorted(self._key_table(), cur * self._graph.num_nodes + prev).clamp_(max=self._last)
        return self._graph.weight[entry]

    def _linked(self, a: Tensor, b: Tensor) -> Tensor:
        key = a * self._graph.num_nodes + b
        table = self._key_table()
        return table[torch.searchsorted(table, key).clamp_(max=self._last)] == key

    def _key_table(self) -> Tensor:
        assert self._keys is not None, "only second-order walks look for an edge"  # noqa: S101 - for the type checker
        return self._keys


def _cumulated(weight: Tensor) -> Tensor:
    """Return [0, w0, w0 + w1, …], float64."""
    return torch.cat([weight.new_zeros(1), torch.cumsum(weight, 0)])
