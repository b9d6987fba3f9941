from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from alexandria.adapters.pyg.adjacency import build_adjacency, undirected_pairs
from alexandria.adapters.pyg.model import FusedNode2Vec, steps_per_draw
from alexandria.adapters.pyg.trainer import SkipGram, StepShape, window_band
from alexandria.adapters.pyg.walker import RandomWalker

RING = torch.stack([torch.arange(30), (torch.arange(30) + 1) % 30])


def model_of(edges: torch.Tensor = RING, num_nodes: int = 30, seed: int = 0) -> FusedNode2Vec:
    return FusedNode2Vec(edges, 8, 6, 4, walks_per_node=3, num_nodes=num_nodes, seed=seed, initial_scale=0.5)


def skip_gram_of(weight: torch.Tensor, *, negative_weight: float = 1.0, chunk: int = 5) -> SkipGram:
    shape = StepShape(walks=12, chunk=chunk, blocks=3, block=4)
    return SkipGram(weight, walk_length=6, context_size=4, negative_weight=negative_weight, shape=shape)


def draws(seed: int, nodes: int = 30) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randint(nodes, (12, 6), generator=generator),
        torch.randint(nodes, (3, 4), generator=generator),
    )


def reference_loss(weight: torch.Tensor, walks: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """PyG's loss on PyG's windows for the walks; each ordered pair of a block once for the negatives."""
    windows = torch.cat([walks[:, j : j + 4] for j in range(3)])
    pairs = torch.cat(
        [
            torch.stack([block[a], block[b]]).unsqueeze(0)
            for block in others
            for a in range(4)
            for b in range(4)
            if a != b
        ]
    )
    model = model_of()
    del model.embedding.weight
    model.embedding.weight = weight  # the very tensor, so that gradients reach it
    loss: torch.Tensor = model.loss(windows, pairs)
    return loss


def test_band_pairs_what_shares_a_window() -> None:
    band = window_band(20, 10)
    assert torch.equal(band, band.t())
    windows = {(j, j + d) for j in range(11) for d in range(1, 10)}
    assert {(int(a), int(b)) for a, b in band.triu().nonzero()} == windows


@pytest.mark.parametrize("chunk", [1, 5, 12])
def test_steps_are_those_of_autograd_and_sparse_adam_on_pygs_loss(chunk: int) -> None:
    start = 0.3 * torch.randn(30, 8, generator=torch.Generator().manual_seed(1))  # PyG loses digits above σ(15)
    ours = start.clone()
    skip_gram = skip_gram_of(ours, chunk=chunk)
    theirs = torch.nn.Parameter(start.clone())
    optimiser = torch.optim.SparseAdam([theirs], lr=0.05)
    for seed in range(6):
        walks, others = draws(seed, nodes=20 if seed % 2 else 6)  # steps that touch most rows, and few
        loss = reference_loss(theirs, walks, others)
        (dense,) = torch.autograd.grad(loss, theirs)
        rows = torch.unique(torch.cat([walks.flatten(), others.flatten()]))
        theirs.grad = torch.sparse_coo_tensor(rows.unsqueeze(0), dense[rows], theirs.shape, check_invariants=False)
        optimiser.step()  # type: ignore[no-untyped-call]  # untyped in torch
        first_chunk = reference_loss(ours, walks[:chunk], others)
        measured = skip_gram.step(walks, others, learning_rate=0.05, with_loss=True)
        assert measured is not None
        assert measured.item() == pytest.approx(first_chunk.item(), rel=1e-4)  # PyG's log(1 - σ) rounds
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-4, atol=1e-5)
    assert torch.equal(ours[20:], start[20:])


def test_band_decays_with_the_distance() -> None:
    band = window_band(20, 10, 0.5)
    assert torch.equal(band > 0, window_band(20, 10) > 0)
    assert band[0, 1:10].tolist() == [0.5**k for k in range(9)]
    assert band[10, 11] == 1.0
    assert torch.equal(band, band.t())


@pytest.mark.parametrize("decay", [1.0, 0.6, 0.01])
def test_gradient_with_a_decay_is_that_of_autograd_on_the_weighted_mean(decay: float) -> None:
    start = 0.3 * torch.randn(30, 8, generator=torch.Generator().manual_seed(1))
    walks, others = draws(0)
    theirs = start.clone().requires_grad_()
    first, second = window_band(6, 4).triu().nonzero().t()
    weight = decay ** (second - first - 1).to(torch.float32)
    score = (theirs[walks[:, first]] * theirs[walks[:, second]]).sum(-1)
    positive = (torch.nn.functional.softplus(-score) * weight).sum() / (len(walks) * weight.sum())
    a, b = (1 - torch.eye(4)).nonzero().t()
    negative = torch.nn.functional.softplus((theirs[others[:, a]] * theirs[others[:, b]]).sum(-1)).mean()
    loss = positive + 0.03 * negative
    (expected,) = torch.autograd.grad(loss, theirs)
    shape = StepShape(walks=12, chunk=12, blocks=3, block=4)
    skip_gram = SkipGram(
        start.clone(), walk_length=6, context_size=4, window_decay=decay, negative_weight=0.03, shape=shape
    )
    measured = skip_gram._add_walks(walks, True)
    measured_negative = skip_gram._add_others(others, True)
    assert measured is not None
    assert measured_negative is not None
    assert (measured + measured_negative).item() == pytest.approx(loss.item(), rel=1e-5)
    torch.testing.assert_close(-skip_gram._gradient, expected, rtol=1e-4, atol=1e-6)


def test_negatives_weigh_what_is_asked() -> None:
    start = 0.3 * torch.randn(30, 8, generator=torch.Generator().manual_seed(1))  # PyG loses digits above σ(15)
    walks, others = draws(0)
    whole = skip_gram_of(start.clone(), negative_weight=1.0, chunk=12).step(
        walks, others, learning_rate=0.1, with_loss=True
    )
    half = skip_gram_of(start.clone(), negative_weight=0.5, chunk=12).step(
        walks, others, learning_rate=0.1, with_loss=True
    )
    none = skip_gram_of(start.clone(), negative_weight=1e-9, chunk=12).step(
        walks, others, learning_rate=0.1, with_loss=True
    )
    assert whole is not None
    assert half is not None
    assert none is not None
    assert half.item() == pytest.approx((whole.item() + none.item()) / 2, rel=1e-5)


def test_parts_trained_at_once_move_as_each_would_alone() -> None:
    starts = [0.3 * torch.randn(30, 8, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)]
    together = torch.cat(starts)
    shape = StepShape(walks=24, chunk=24, blocks=6, block=4)
    options: dict[str, Any] = {"walk_length": 6, "context_size": 4, "window_decay": 0.5, "negative_weight": 0.3}
    both = SkipGram(together, shape=shape, parts=2, **options)
    alone = [SkipGram(start, shape=StepShape(walks=12, chunk=12, blocks=3, block=4), **options) for start in starts]
    for step in range(6):
        drawn = [draws(2 * step + part) for part in range(2)]
        walks, others = (torch.cat([of_first, of_second + 30]) for of_first, of_second in zip(*drawn, strict=True))
        mixed = walks[torch.randperm(24, generator=torch.Generator().manual_seed(step))]
        loss = both.step(mixed, others, learning_rate=0.05, with_loss=True)
        losses = [
            one.step(*one_drawn, learning_rate=0.05, with_loss=True)
            for one, one_drawn in zip(alone, drawn, strict=True)
        ]
        assert loss is not None
        assert loss.item() == pytest.approx(sum(one.item() for one in losses if one is not None) / 2, rel=1e-5)
    torch.testing.assert_close(together, torch.cat(starts), rtol=1e-4, atol=1e-6)


def test_negatives_of_a_block_are_of_one_part() -> None:
    copies = torch.cat([RING, RING + 30, RING + 60], dim=1)
    model = model_of(copies, num_nodes=90)
    blocks = model._negatives(StepShape(walks=12, chunk=12, blocks=6, block=40), parts=3)
    assert (blocks // 30).tolist() == [[block // 2] * 40 for block in range(6)]
    assert len(set(blocks.flatten().tolist())) > 80


@pytest.mark.parametrize("parts", [1, 3])
def test_parts_learn_what_one_training_learns(parts: int) -> None:
    cliques = torch.combinations(torch.arange(5)).t()
    graph = torch.cat(
        [cliques + 5 * k for k in range(6)] + [torch.tensor([[4 + 5 * k], [5 + 5 * k]]) for k in range(5)], 1
    )
    copies = torch.cat([graph + 30 * part for part in range(parts)], dim=1)
    model = model_of(copies, num_nodes=30 * parts)
    model.fit(20, parts=parts)
    for vectors in model.embedding.weight.detach().view(parts, 30, 8):
        unit = torch.nn.functional.normalize(vectors, dim=1)
        cosine = unit @ unit.t()
        group = torch.arange(30) // 5
        inside = group.unsqueeze(0) == group.unsqueeze(1)
        assert cosine[inside].mean() > cosine[~inside].mean() + 0.5


@pytest.mark.parametrize(
    ("walks", "steps", "cpu", "gpu"), [(10**5, 80, 13, 100), (10**7, 100, 1, 10), (10**9, 100, 1, 1)]
)
def test_walks_are_drawn_for_many_steps_at_once_on_a_card(walks: int, steps: int, cpu: int, gpu: int) -> None:
    assert (steps_per_draw(walks, steps, on_gpu=False), steps_per_draw(walks, steps, on_gpu=True)) == (cpu, gpu)


def test_a_model_is_freed_without_the_collector() -> None:
    # What is left to the collector may hold a card's memory for long.
    gc.collect()
    gc.disable()
    try:
        model = model_of()
        model.fit(1)
        freed = weakref.ref(model)
        del model
        assert freed() is None
    finally:
        gc.enable()


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]  # untyped in torch
    """Names of all operators that are run, and how many of them do more than look at a tensor another way."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # untyped in torch
        self.seen: set[str] = set()
        self.kernels = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.add(func.name().partition(".")[0])
        self.kernels += not func.is_view
        return func(*args, **(kwargs or {}))


WAITS = {"aten::nonzero", "aten::_local_scalar_dense", "aten::masked_select", "aten::unique_dim", "aten::_unique2"}
"""What brings a size or a number from the device to the host."""


@pytest.mark.parametrize(("never_wait", "waits"), [(True, set()), (False, {"aten::nonzero"})])
def test_step_for_a_device_never_makes_the_host_wait(never_wait: bool, waits: set[str]) -> None:
    start = torch.randn(200, 8, generator=torch.Generator().manual_seed(1))
    shape = StepShape(walks=12, chunk=12, blocks=3, block=4)
    skip_gram = SkipGram(start, walk_length=6, context_size=4, negative_weight=1.0, shape=shape, never_wait=never_wait)
    walks, others = draws(0)
    with Recorder() as recorder:
        skip_gram.step(walks, others, learning_rate=0.1, with_loss=True)
    assert "aten::bmm" in recorder.seen
    assert recorder.seen & WAITS == waits


def test_walks_and_negatives_of_an_epoch_never_make_the_host_wait() -> None:
    model = model_of(num_nodes=33)
    with Recorder() as recorder:
        model.walker.walk(model.linked, 6, model.generator)
        model._negatives(StepShape(walks=12, chunk=12, blocks=3, block=4))
    assert recorder.seen > {"aten::rand", "aten::randint"}
    assert not recorder.seen & WAITS


META = torch.device("meta")
"""A device without memory: to read a number or a size from it, or to mix it with another device, is an error."""


def test_step_for_a_device_reads_nothing_back_and_uses_nothing_of_the_host() -> None:
    weight = torch.empty(30, 8, device=META)
    walks, others = (drawn.to(META) for drawn in draws(0))
    shape = StepShape(walks=12, chunk=12, blocks=3, block=4)

    def step(never_wait: bool, walked: torch.Tensor) -> torch.Tensor | None:
        skip_gram = SkipGram(
            weight, walk_length=6, context_size=4, negative_weight=1.0, shape=shape, never_wait=never_wait
        )
        return skip_gram.step(walked, others, learning_rate=0.1, with_loss=True)

    loss = step(True, walks)
    assert loss is not None
    assert loss.device == META
    with pytest.raises(NotImplementedError, match="nonzero"):  # so the device would notice
        step(False, walks)
    with pytest.raises(RuntimeError, match="same device"):
        step(True, draws(0)[0])


def test_step_for_a_device_is_few_kernels() -> None:
    # docs/embedding.md reckons from it what a CUDA graph could save.
    shape = StepShape(walks=12, chunk=12, blocks=3, block=4)
    weight = torch.empty(30, 8, device=META)
    skip_gram = SkipGram(weight, walk_length=6, context_size=4, negative_weight=1.0, shape=shape, never_wait=True)
    walks, others = (drawn.to(META) for drawn in draws(0))
    with Recorder() as recorder:
        skip_gram.step(walks, others, learning_rate=0.1)
    assert recorder.kernels == 28


@pytest.mark.parametrize("weighted", [False, True])
def test_walks_on_a_device_read_nothing_back_and_use_nothing_of_the_host(weighted: bool) -> None:
    weight = torch.rand(30, dtype=torch.float64) if weighted else None
    pairs, pair_weight = undirected_pairs(RING, 30, weight)
    walker = RandomWalker(build_adjacency(pairs, 30, pair_weight))
    for name, value in vars(walker).items():  # what it has built on the CPU, as its own __init__ may read
        if isinstance(value, torch.Tensor):
            setattr(walker, name, value.to(META))
    walker._graph = walker._graph.to(META)
    without_one: Any = None  # there is no generator for this device
    walks = walker.walk(torch.zeros(5, dtype=torch.int64, device=META), 6, without_one)
    assert walks.shape == (5, 6)
    assert walks.device == META


def test_both_ways_to_update_agree() -> None:
    start = torch.randn(200, 8, generator=torch.Generator().manual_seed(1))
    shape = StepShape(walks=12, chunk=12, blocks=3, block=4)
    results = []
    for never_wait in (False, True):
        weight = start.clone()
        skip_gram = SkipGram(
            weight, walk_length=6, context_size=4, negative_weight=1.0, shape=shape, never_wait=never_wait
        )
        for seed in range(8):
            skip_gram.step(*draws(seed, nodes=60), learning_rate=0.05)
        results.append(weight)
    torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-6)
    assert torch.equal(results[1][60:], start[60:])


def test_pygs_own_methods_work() -> None:
    model = model_of(num_nodes=32)
    positive, negative = next(iter(model.loader(batch_size=8, shuffle=False)))
    assert positive.shape == (8 * 3 * 3, 4)
    assert negative.shape == (8 * 3 * 3, 4)
    loss = model.loss(positive, negative)
    loss.backward()
    assert model.embedding.weight.grad is not None
    assert model().shape == (32, 8)
    assert torch.equal(model(torch.tensor([3, 1])), model.embedding.weight[[3, 1]])
    assert repr(model) == "FusedNode2Vec(32, 8)"


def test_training_by_pygs_loop_and_by_fit_reach_the_same_loss() -> None:
    by_fit, by_loop = model_of(), model_of()
    fitted: list[float] = []
    by_fit.fit(30, learning_rate=0.02, after_epoch=lambda _, loss: fitted.append(loss))
    optimiser = torch.optim.Adam(by_loop.parameters(), lr=0.02)
    for _ in range(200):
        for positive, negative in by_loop.loader(batch_size=30, shuffle=True):
            optimiser.zero_grad()
            loss = by_loop.loss(positive, negative)
            loss.backward()
            optimiser.step()
    positive, negative = by_fit.sample(list(range(30)) * 20)
    ours, theirs = (model.loss(positive, negative).item() for model in (by_fit, by_loop))
    assert ours == pytest.approx(theirs, rel=0.05)
    assert fitted[-1] < fitted[0]


@pytest.mark.parametrize(
    ("nodes", "walks_per_step", "epochs", "steps"),
    [(3, 1250, 2, 2 * 30), (90, 1250, 10, 100), (150, 1250, 10, 150), (300, 1250, 10, 200), (300, 100, 10, 300)],
)
def test_small_graphs_have_fewer_steps_not_smaller_ones(
    nodes: int, walks_per_step: int, epochs: int, steps: int
) -> None:
    ring = torch.stack([torch.arange(nodes), (torch.arange(nodes) + 1) % nodes])
    model = FusedNode2Vec(ring, 4, 3, 2, walks_per_node=10, num_nodes=nodes)
    taken: list[float] = []
    model.fit(epochs, walks_per_step=walks_per_step, between_steps=taken.append)
    assert len(taken) == steps
    assert taken == sorted(taken)


def test_isolated_nodes_stay_zero_and_out_of_training() -> None:
    model = model_of(num_nodes=40)
    assert model.linked.tolist() == list(range(30))
    model.fit(2)
    assert not model.embedding.weight[30:].any()
    assert model.embedding.weight[:30].any(dim=1).all()


def test_held_back_pairs_are_walked_only_after_they_are_given_back() -> None:
    edges = torch.tensor([[0, 1, 2, 3, 0], [1, 2, 3, 4, 4]])  # a ring of five
    model = model_of(edges, 5)
    held_back = torch.zeros(5, dtype=torch.bool)
    held_back[1] = True  # the pair (0, 4): what is left is a path
    walked: list[set[tuple[int, int]]] = []
    early, late = model._walker_without(held_back), model.walker
    for walker in (early, late):
        walks = walker.walk(torch.arange(5).repeat(40), 6, model.generator)
        walked.append(set(zip(walks[:, :-1].flatten().tolist(), walks[:, 1:].flatten().tolist(), strict=True)))
    assert (0, 4) not in walked[0]
    assert (4, 0) not in walked[0]
    assert (0, 4) in walked[1]


def test_start_is_drawn_anew_by_reset() -> None:
    model = model_of()
    before = model.embedding.weight.detach().clone()
    model.reset_parameters()
    assert model.embedding.weight.requires_grad
    assert not torch.equal(before, model.embedding.weight)
    assert model.embedding.weight.std().item() == pytest.approx(0.5, rel=0.2)


def test_walk_shorter_than_the_window_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        FusedNode2Vec(RING, 8, walk_length=3, context_size=4, num_nodes=30)
