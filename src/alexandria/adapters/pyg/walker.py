"""Seeded random walks of first and second order."""

from __future__ import annotations

import torch
from torch import Tensor

from alexandria.adapters.pyg.adjacency import Adjacency

FULL_SLOT = 1 << 31
"""Parts of a slot of an alias table: fine enough for any chance, and a billion edges of it add up in 64 bits."""


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
        self._total: Tensor = self._degree
        self._own_share: Tensor | None = None
        if adjacency.weight is not None:
            self._total = _row_totals(adjacency, adjacency.weight)
            self._own_share, alias = alias_table(adjacency, adjacency.weight)
            # Both answers of an entry side by side, so that a step looks one of them up, not both.
            self._targets = torch.stack([adjacency.col[alias], adjacency.col], dim=1).view(-1)
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
        at = u.mul_(self._degree.index_select(0, cur))
        slot = at.to(torch.int64)
        entry = start.add_(slot)
        if self._own_share is None:
            return self._graph.col.index_select(0, entry)  # several times faster than col[entry]
        own = at.sub_(slot) < self._own_share.index_select(0, entry)
        return self._targets.index_select(0, entry.mul_(2).add_(own))

    def _second_order_step(self, prev: Tensor, cur: Tensor, generator: torch.Generator) -> Tensor:
        """Draw by rejection under an envelope of `most` · weight, with what 1/p exceeds `most` by put beside it."""
        most = max(1.0, 1.0 / self._q)  # the largest α of a node that is not `prev`
        extra = self._return_weight(cur, prev) * max(0.0, 1.0 / self._p - most)
        back_share = extra / (most * self._total.index_select(0, cur) + extra)
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


def _rows(adjacency: Adjacency) -> Tensor:
    return torch.repeat_interleave(torch.arange(adjacency.num_nodes, device=adjacency.device), adjacency.degree)


def _row_totals(adjacency: Adjacency, weight: Tensor) -> Tensor:
    """Return the sum of the weights of each row, shape (M,), float64."""
    total = torch.zeros(adjacency.num_nodes, dtype=torch.float64, device=weight.device)
    return total.index_add_(0, _rows(adjacency), weight)


def alias_table(adjacency: Adjacency, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return Walker's alias table [1]_ of every row, so that a weighted step costs two look-ups, not a search.

    A slot of a row is drawn evenly; it answers with its own entry with the chance `own`, else with its alias. The
    tables of all rows come from a few passes over the entries, by the sweep of [2]_: what the light entries of a row
    lack is what its heavy ones exceed, so a search in one running sum of each pairs them up. Loads are whole numbers,
    so the two sums meet exactly at the end of each row; a chance is right to 2⁻³¹ of the mean of its row.

    Args:
        adjacency: The graph.
        weight: Shape of `adjacency.col`, float64, above 0.

    Returns:
        `own`, shape of `weight`, float64, in [0, 1]; and the alias of each entry, int64, an entry of the same row.

    References:
        .. [1] Walker, An efficient method for generating discrete random variables, ACM TOMS 1977.
        .. [2] Hübschle-Schneider & Sanders, Parallel weighted random sampling, arXiv:1903.00227, section 4.
    """
    load = _whole_loads(adjacency, weight)
    heavy = load > FULL_SLOT
    heavies, lights = heavy.nonzero()[:, 0], (~heavy).nonzero()[:, 0]
    own, alias = torch.ones_like(weight), torch.arange(weight.numel(), device=weight.device)
    if not heavies.numel():
        return own, alias
    lacks = FULL_SLOT - load[lights]
    lacked, exceeded = torch.cumsum(lacks, 0), torch.cumsum(load[heavies] - FULL_SLOT, 0)
    own[lights] = load[lights].to(torch.float64) / FULL_SLOT
    # The heavy entry whose excess begins before what this light one lacks begins; all in one row, as sums meet there.
    served_by = torch.searchsorted(exceeded, lacked - lacks, right=True).clamp_(max=heavies.numel() - 1)
    alias[lights] = torch.where(lacks > 0, heavies[served_by], lights)
    # A heavy entry gives until it lacks something itself, and takes that from the next one of its row.
    overdrawn = lacked[torch.searchsorted(lacked, exceeded)] - exceeded
    own[heavies] = 1 - overdrawn.to(torch.float64) / FULL_SLOT
    alias[heavies] = torch.where(overdrawn > 0, heavies.roll(-1), heavies)
    return own, alias


def _whole_loads(adjacency: Adjacency, weight: Tensor) -> Tensor:
    """Return each entry's share of its row in whole parts, `FULL_SLOT` for a mean one; rows add up exactly."""
    rows = _rows(adjacency)
    running = torch.cumsum(weight, 0)
    before = torch.cat([running.new_zeros(1), running])[adjacency.rowptr[:-1]]
    total = _row_totals(adjacency, weight)
    whole = adjacency.degree * FULL_SLOT
    reached = ((running - before[rows]) / total[rows] * whole[rows]).round_().to(torch.int64)
    reached = torch.minimum(reached.clamp_(min=0), whole[rows])
    ends = adjacency.rowptr[1:][adjacency.degree > 0] - 1
    reached[ends] = whole[adjacency.degree > 0]
    starts = adjacency.rowptr[:-1][adjacency.degree > 0]
    load = torch.diff(reached, prepend=reached.new_zeros(1))
    load[starts] = reached[starts]
    return load
