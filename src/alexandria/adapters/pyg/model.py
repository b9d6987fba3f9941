"""PyG's Node2Vec with a walker of our own and a fused training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from alexandria.adapters.pyg.adjacency import build_adjacency, undirected_pairs
from alexandria.adapters.pyg.geometric import Node2Vec
from alexandria.adapters.pyg.trainer import SkipGram, StepShape
from alexandria.adapters.pyg.walker import RandomWalker

FEWEST_STEPS, ENOUGH_STEPS = 100, 200
"""Adam moves a coordinate by at most the learning rate in a step, so too few steps cannot leave the start."""

WALKS_WORTH_A_STEP = 100
"""Between the two numbers of steps, one more is taken only for so many walks: smaller steps, which a graph of less
than 200 files would have, cost a hundredth of the AUC of held-out edges."""

NEGATIVE_BLOCK = 32
WALKS_PER_BLOCK = 16
"""One negative for each ten nodes of walks, each against 31 others: a third as many pairs as the walks have. Negatives
weigh so little that their noise hardly shows: twice as many move no measure, half as many make two runs agree less."""

FEWEST_BLOCKS = 32
"""Small graphs have small steps; so many negatives are cheap beside what a step costs at least."""

FINAL_RATE = 0.1
"""The learning rate falls evenly to this share of itself, as in word2vec."""

CHUNK = 128
"""Walks computed at once: their rows, scores and gradients together fit into a second-level cache of 1 MB."""

WALKS_PER_DRAW = 16_384
"""Walks drawn at once: enough to hide the cost of a call, few enough to stay small at a million nodes."""

WALKS_PER_DRAW_ON_GPU, STEPS_PER_DRAW_ON_GPU = 1 << 20, 100
"""A draw is some 180 kernels that a card starts one by one: 5 ms on an H100, be it of a thousand walks or of a hundred
thousand. Of so many steps it costs little beside them, and with half the step it takes half the memory."""

LOSS_STEPS = 4
"""Steps of an epoch, about, on which the loss is measured: a logarithm costs more than the products beside it."""


def steps_per_draw(walks: int, steps: int, on_gpu: bool) -> int:
    """Return for how many of the steps of an epoch its walks are drawn at once."""
    if on_gpu:
        return max(1, min(STEPS_PER_DRAW_ON_GPU, WALKS_PER_DRAW_ON_GPU * steps // walks))
    return max(1, WALKS_PER_DRAW * steps // walks)


class FusedNode2Vec(Node2Vec):  # type: ignore[misc]  # torch_geometric's modules are not typed
    """Node2Vec [1]_ on an undirected graph, trained by `fit`; `loader`, `loss` and `forward` are PyG's.

    PyG's own `__init__` refuses to work without pyg-lib, which the package index does not carry, so it is not
    called; the attributes that PyG's methods read are set here instead.

    Args:
        edge_index: Shape (2, E), int64. Both directions are walked; parallel edges are one.
        embedding_dim: Length of a vector.
        walk_length: Nodes of a walk, the start included.
        context_size: Nodes of a window, its first included.
        walks_per_node: Walks from each linked node in an epoch.
        p: Return parameter.
        q: In-out parameter.
        num_negative_samples: Negatives for each positive, for PyG's `loader`; `fit` has blocks of its own.
        num_nodes: Number of nodes; needed, as trailing isolated nodes cannot be read off the edges.
        sparse: Whether `loss` gives sparse gradients.
        edge_weight: Shape (E,), above 0; None weighs all the same.
        initial_scale: Standard deviation of the normal start.
        seed: What all randomness starts from, that of `loader` included.
        device: Where graph, walks and vectors are; the start is drawn on the CPU and is the same everywhere.

    Attributes:
        linked: Shape (M,), int64: the nodes that have an edge, rising. Only they are trained.

    References:
        .. [1] Grover & Leskovec, arXiv:1607.00653.
    """

    def __init__(  # noqa: PLR0917 - the order is that of PyG's class
        self,
        edge_index: Tensor,
        embedding_dim: int,
        walk_length: int,
        context_size: int,
        walks_per_node: int = 1,
        p: float = 1.0,
        q: float = 1.0,
        num_negative_samples: int = 1,
        num_nodes: int | None = None,
        sparse: bool = False,
        *,
        edge_weight: Tensor | None = None,
        initial_scale: float = 0.1,
        seed: int = 0,
        device: str | torch.device = "cpu",
    ) -> None:
        torch.nn.Module.__init__(self)
        if walk_length < context_size:
            raise ValueError(f"walk_length {walk_length} is shorter than context_size {context_size}")
        if num_nodes is None:
            num_nodes = int(edge_index.max()) + 1 if edge_index.numel() else 0
        self.EPS = 1e-15
        self.num_nodes = num_nodes
        self.embedding_dim, self.context_size = embedding_dim, context_size
        self.walk_length = walk_length - 1  # PyG counts steps here, not nodes
        self.walks_per_node, self.num_negative_samples = walks_per_node, num_negative_samples
        self.p, self.q = p, q
        self.initial_scale = initial_scale
        pairs, pair_weight = undirected_pairs(edge_index.cpu(), num_nodes, edge_weight)
        self.pairs, self.pair_weight = pairs, pair_weight
        adjacency = build_adjacency(pairs, num_nodes, pair_weight).to(torch.device(device))
        self.generator = torch.Generator(adjacency.device).manual_seed(seed)
        self._start_generator = torch.Generator().manual_seed(seed)
        self.linked = adjacency.degree.nonzero()[:, 0]
        self.rowptr, self.col = adjacency.rowptr, adjacency.col
        self.walker = RandomWalker(adjacency, p, q)
        self.embedding = torch.nn.Embedding(num_nodes, embedding_dim, sparse=sparse, _weight=self._start())

    def random_walk_fn(self, _rowptr: Tensor, _col: Tensor, start: Tensor, steps: int, _p: float, _q: float) -> Tensor:
        """Walk as pyg-lib's operator does, for PyG's `pos_sample`: shape (W, steps + 1).

        A method, where PyG sets an attribute: a bound method in an attribute would be a cycle, which keeps a model's
        memory until the collector comes by.
        """
        return self.walker.walk(start, steps + 1, self.generator)

    def _start(self) -> Tensor:
        """Return the untrained vectors: a small normal for linked nodes, zero for isolated ones."""
        drawn = torch.randn(self.linked.numel(), self.embedding_dim, generator=self._start_generator)
        weight = torch.zeros(self.num_nodes, self.embedding_dim, device=self.linked.device)
        return weight.index_copy_(0, self.linked, drawn.mul_(self.initial_scale).to(weight.device))

    def reset_parameters(self) -> None:
        """Draw the start anew; isolated nodes are zero."""
        with torch.no_grad():
            self.embedding.weight.copy_(self._start())

    def fit(
        self,
        epochs: int,
        *,
        learning_rate: float = 0.01,
        window_decay: float = 1.0,
        negative_weight: float = 1.0,
        walks_per_step: int = 1250,
        parts: int = 1,
        held_back: Tensor | None = None,
        give_back_after: int | None = None,
        between_steps: Callable[[float], None] = lambda _: None,
        after_epoch: Callable[[int, float], None] = lambda _epoch, _loss: None,
    ) -> None:
        """Train the vectors in place; nothing happens on a graph without edges.

        The loss is that of `loss`: the mean over all pairs of walks that share a window, a weighted one if
        `window_decay` is below 1, plus the mean over negatives. Negatives are drawn uniformly from the linked
        nodes. Adam moves only the rows that a step touches, by the rule of torch.optim.SparseAdam.

        Args:
            epochs: Passes; each starts `walks_per_node` walks at every linked node, in a shuffled order.
            learning_rate: Adam's, at the first step; it falls evenly to a tenth.
            window_decay: What a pair weighs for each step of the walk further apart than neighbours, in (0, 1];
                1 in `loss`.
            negative_weight: What the negatives weigh in the loss; 1 in `loss`.
            walks_per_step: At most so many walks make a step; fewer where the training would have less than
                `ENOUGH_STEPS`, or `FEWEST_STEPS` on a small graph. All steps are of equal size, give or take one
                walk, because a last step of two walks undoes the work of many.
            parts: Trainings at once, for a device that is not full with one: the nodes are then so many graphs of
                equal size, one after another, with no edge between them and no node isolated. Each is trained as if
                it were alone, with steps of `walks_per_step` of its own walks; the loss is the mean over them.
            held_back: Mask, shape (P,), of `pairs` that walks do not take at first; every node must keep
                a link. None holds nothing back.
            give_back_after: Epochs after which walks take the pairs of `held_back` too; None for never.
            between_steps: Called before each step with the share of the work that is done, in [0, 1). May
                raise to end the training.
            after_epoch: Called with the number of finished epochs and their last one's mean loss, which
                is measured on an even sample of its steps. May raise.
        """
        nodes = self.linked.numel()
        if not nodes:
            return
        walks = nodes * self.walks_per_node
        of_part = walks // parts
        fewest = max(FEWEST_STEPS, min(ENOUGH_STEPS, epochs * (of_part // WALKS_WORTH_A_STEP)))
        steps = max(math.ceil(of_part / walks_per_step), math.ceil(fewest / epochs))
        steps = min(steps, of_part)
        bounds = [walks * k // steps for k in range(steps + 1)]
        early = self.walker if held_back is None else self._walker_without(held_back)
        largest = math.ceil(walks / steps)
        chunk = largest if self.linked.is_cuda else CHUNK
        blocks = parts * max(math.ceil(largest / parts / WALKS_PER_BLOCK), FEWEST_BLOCKS)
        shape = StepShape(largest, chunk, blocks, NEGATIVE_BLOCK)
        skip_gram = SkipGram(
            self.embedding.weight.detach(),
            walk_length=self.walk_length + 1,
            context_size=self.context_size,
            window_decay=window_decay,
            negative_weight=negative_weight,
            shape=shape,
            parts=parts,
            never_wait=self.linked.is_cuda,
        )
        every = max(1, steps // LOSS_STEPS)
        for epoch in range(epochs):
            walker = self.walker if give_back_after is not None and epoch >= give_back_after else early
            losses = []
            for k, walk in enumerate(self._epoch_walks(walker, bounds)):
                done = (epoch + k / steps) / epochs
                between_steps(done)
                rate = learning_rate * (1 - (1 - FINAL_RATE) * done)
                others = self._negatives(shape, parts)
                loss = skip_gram.step(walk, others, learning_rate=rate, with_loss=k % every == 0)
                if loss is not None:
                    losses.append(loss)
            after_epoch(epoch + 1, float(torch.stack(losses).mean()))

    def _walker_without(self, held_back: Tensor) -> RandomWalker:
        kept = ~held_back
        weight = None if self.pair_weight is None else self.pair_weight[kept]
        adjacency = build_adjacency(self.pairs[:, kept], self.num_nodes, weight).to(self.linked.device)
        return RandomWalker(adjacency, self.p, self.q)

    def _negatives(self, shape: StepShape, parts: int = 1) -> Tensor:
        """Draw nodes uniformly from the linked ones, shape (blocks, block); those of a block are of one part."""
        device, of_part = self.linked.device, self.linked.numel() // parts
        drawn = torch.randint(of_part, (shape.blocks, shape.block), generator=self.generator, device=device)
        if parts > 1:
            first = torch.arange(0, self.linked.numel(), of_part, device=device)
            drawn.view(parts, -1).add_(first.unsqueeze(1))
        return torch.index_select(self.linked, 0, drawn.view(-1)).view(drawn.shape)

    def _epoch_walks(self, walker: RandomWalker, bounds: list[int]) -> Iterator[Tensor]:
        """Yield the walks of each step; they are drawn for many steps at once, as a draw costs per call."""
        starts = torch.randperm(bounds[-1], generator=self.generator, device=self.linked.device).remainder_(
            self.linked.numel()
        )
        starts = torch.index_select(self.linked, 0, starts)
        steps = len(bounds) - 1
        together = steps_per_draw(bounds[-1], steps, self.linked.is_cuda)
        for first in range(0, steps, together):
            part = bounds[first : first + together + 1]
            drawn = walker.walk(starts[part[0] : part[-1]], self.walk_length + 1, self.generator)
            yield from drawn.tensor_split([bound - part[0] for bound in part[1:-1]])
