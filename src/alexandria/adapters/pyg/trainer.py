"""Skip-gram with negative sampling on whole walks: the loss and the gradient of PyG's Node2Vec, without its windows.

PyG cuts each walk into windows and gathers both ends of every pair, so each row is fetched twenty times and the
autograd graph is as large as all pairs. Here a walk is gathered once, E of shape (B, L, d); E·Eᵀ holds the scores of
all its pairs, a banded mask weighs those that share a window, and (mask ∘ σ(-E·Eᵀ))·E is the gradient of all its
nodes. Negatives are blocks of uniformly drawn nodes, each against the others of its block.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8
"""Adam's constants, those of torch.optim.SparseAdam."""

ROWS_AT_ONCE = 1024
"""Rows of an update whose buffers fit into the second-level cache together."""


def window_band(walk_length: int, context_size: int, decay: float = 1.0) -> Tensor:
    """Return what each pair of positions weighs, shape (L, L), float32, symmetric; zero where no window pairs them.

    A window starts at each of the first L - context_size + 1 positions and pairs it with the rest of the window, as
    in PyG. Neighbours weigh 1, and each step further apart multiplies by `decay`.
    """
    first = torch.arange(walk_length).unsqueeze(1)
    second = torch.arange(walk_length).unsqueeze(0)
    apart = second - first
    paired = (apart > 0) & (apart < context_size) & (first <= walk_length - context_size)
    return (paired | paired.t()) * torch.pow(decay, (apart.abs() - 1).clamp_(min=0).to(torch.float32))


@dataclass(frozen=True, slots=True)
class StepShape:
    """How large one step is.

    Attributes:
        walks: Walks of a step, at most.
        chunk: Walks computed at once; a step's gradient is the sum over its chunks.
        blocks: Blocks of negatives.
        block: Nodes of a block, at least 2.
    """

    walks: int
    chunk: int
    blocks: int
    block: int


class SkipGram:
    """Vectors in training, with Adam's moments and every buffer that a step needs.

    Args:
        weight: Shape (M, d), float32, contiguous; trained in place.
        walk_length: Nodes of a walk.
        context_size: Nodes of a window.
        window_decay: What a pair weighs for each step further apart than neighbours.
        negative_weight: What the loss of the negatives weighs beside that of the walks.
        shape: Size of a step.
        parts: Trainings at once: as many graphs of equal size side by side, each with its share of walks and blocks.
            Losses are means over a part, so that each part moves as it would alone.
        never_wait: Whether to leave out what makes the host wait for the device; for a GPU.
    """

    def __init__(
        self,
        weight: Tensor,
        *,
        walk_length: int,
        context_size: int,
        window_decay: float = 1.0,
        negative_weight: float,
        shape: StepShape,
        parts: int = 1,
        never_wait: bool = False,
    ) -> None:
        self.weight = weight
        self._steps = 0
        device = weight.device
        count, dimension = weight.shape
        band = window_band(walk_length, context_size, window_decay)
        self._parts = parts
        self._weight_per_walk = float(band.sum()) / 2
        self._band = band.to(device)
        self._gradient = torch.zeros_like(weight)
        self._mean = torch.zeros_like(weight)
        self._variance = torch.zeros_like(weight)
        self._touched = torch.zeros((count, 1), dtype=torch.float32, device=device)

        def empty(*size: int) -> Tensor:
            return torch.empty(size, dtype=torch.float32, device=device)

        chunk = min(shape.chunk, shape.walks)
        self._chunk = chunk
        self._rows = empty(chunk * walk_length, dimension)
        self._row_gradient = empty(chunk, walk_length, dimension)
        self._scores = empty(chunk, walk_length, walk_length)
        self._others = empty(shape.blocks * shape.block, dimension)
        self._other_gradient = empty(shape.blocks, shape.block, dimension)
        self._other_scores = empty(shape.blocks, shape.block, shape.block)
        self._never_wait = never_wait
        self._rows_at_once = count if never_wait else min(ROWS_AT_ONCE, count)
        self._adam = tuple(empty(self._rows_at_once, dimension) for _ in range(1 if never_wait else 4))
        # Both losses are means over pairs, as in PyG (a weighted mean for walks). A node is no negative of itself.
        apart = 1.0 - torch.eye(shape.block, device=device)
        self._other_scale = apart * (-2.0 * negative_weight * parts / (shape.blocks * shape.block * (shape.block - 1)))

    def step(self, walks: Tensor, others: Tensor, *, learning_rate: float, with_loss: bool = False) -> Tensor | None:
        """Take one step of Adam.

        Args:
            walks: Shape (w, L), int64, w at most the walks of a step.
            others: Shape (blocks, block), int64, the negatives.
            learning_rate: Adam's.
            with_loss: Whether to compute the loss.

        Returns:
            The loss before the step, of its first chunk of walks, the mean over parts, a scalar on the device; or None.
        """
        positive = self._add_walks(walks, with_loss)
        negative = self._add_others(others, with_loss)
        self._update(walks, others, learning_rate)
        return positive + negative if positive is not None and negative is not None else None

    def _add_walks(self, walks: Tensor, with_loss: bool) -> Tensor | None:
        scale = self._parts / (walks.shape[0] * self._weight_per_walk)
        band = self._band * scale
        loss = None
        for nodes in torch.split(walks, self._chunk):
            count, length = nodes.shape
            flat = nodes.reshape(-1)
            rows = torch.index_select(self.weight, 0, flat, out=self._rows[: flat.numel()])
            rows = rows.view(count, length, -1)
            scores = self._scores[:count]
            torch.baddbmm(scores, rows, rows.transpose(1, 2), beta=0, alpha=-1, out=scores)
            if with_loss and loss is None:  # the first walks stand for all, which come in random order
                loss = (torch.nn.functional.softplus(scores) * self._band).sum() / (2 * count * self._weight_per_walk)
            scores.sigmoid_().mul_(band)
            gradient = torch.bmm(scores, rows, out=self._row_gradient[:count])
            self._gradient.index_add_(0, flat, gradient.view(flat.numel(), -1))
        return loss

    def _add_others(self, others: Tensor, with_loss: bool) -> Tensor | None:
        flat = others.reshape(-1)
        rows = torch.index_select(self.weight, 0, flat, out=self._others).view(*others.shape, -1)
        scores = torch.bmm(rows, rows.transpose(1, 2), out=self._other_scores)
        loss = None
        if with_loss:
            loss = (torch.nn.functional.softplus(scores) * self._other_scale).sum() / (-2 * self._parts)
        scores.sigmoid_().mul_(self._other_scale)
        gradient = torch.bmm(scores, rows, out=self._other_gradient)
        self._gradient.index_add_(0, flat, gradient.view(flat.numel(), -1))
        return loss

    def _update(self, walks: Tensor, others: Tensor, learning_rate: float) -> None:
        """Move the touched rows by Adam's rule; `_gradient` points downhill and is zero again afterwards."""
        self._steps += 1
        rate = learning_rate * math.sqrt(1 - BETA2**self._steps) / (1 - BETA1**self._steps)
        touched = self._touched
        touched.zero_()
        touched.index_fill_(0, walks.reshape(-1), 1.0)
        touched.index_fill_(0, others.reshape(-1), 1.0)
        if self._never_wait:  # the number of touched rows is known on the device only
            self._update_all(rate)
            return
        rows = touched.nonzero()[:, 0]
        if 2 * rows.numel() > touched.numel():
            self._update_all(rate)
        else:
            for part in torch.split(rows, self._rows_at_once):
                self._update_rows(part, rate)

    def _update_all(self, rate: float) -> None:
        """Pass over all rows; a mask keeps the untouched ones. Cheaper than to fetch more than half of them."""
        for at in range(0, self.weight.shape[0], self._rows_at_once):
            part = slice(at, at + self._rows_at_once)
            touched, gradient = self._touched[part], self._gradient[part]
            mean, variance, weight = self._mean[part], self._variance[part], self.weight[part]
            change = self._adam[0][: weight.shape[0]]
            mean.lerp_(gradient, touched * (1 - BETA1))
            variance.lerp_(torch.mul(gradient, gradient, out=change), touched * (1 - BETA2))
            torch.sqrt(variance, out=change).add_(EPS)
            weight.add_(torch.div(mean, change, out=change).mul_(touched * rate))
            gradient.zero_()

    def _update_rows(self, rows: Tensor, rate: float) -> None:
        # Rows are written back by adding a difference: torch adds rows twice as fast as it copies them.
        count = rows.numel()
        gradient, mean, variance, change = (buffer[:count] for buffer in self._adam)
        torch.index_select(self._gradient, 0, rows, out=gradient)
        torch.neg(gradient, out=change)
        self._gradient.index_add_(0, rows, change)  # x - x is zero, exactly
        torch.index_select(self._mean, 0, rows, out=mean)
        torch.sub(gradient, mean, out=change).mul_(1 - BETA1)
        self._mean.index_add_(0, rows, change)
        mean.add_(change)
        torch.index_select(self._variance, 0, rows, out=variance)
        torch.mul(gradient, gradient, out=change).sub_(variance).mul_(1 - BETA2)
        self._variance.index_add_(0, rows, change)
        variance.add_(change).sqrt_().add_(EPS)
        self.weight.index_add_(0, rows, mean.div_(variance).mul_(rate))
