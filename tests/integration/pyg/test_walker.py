from __future__ import annotations

import networkx as nx  # type: ignore[import-untyped]  # has no stubs of its own
import numpy as np
import pytest
import torch

from alexandria.adapters.pyg.adjacency import Adjacency, build_adjacency, undirected_pairs
from alexandria.adapters.pyg.walker import RandomWalker

# 0-1-2 is a triangle, 3 hangs on 1, 4 closes a square 1-3-4-2, 5 is a leaf of 4.
EDGES = [(0, 1), (1, 2), (0, 2), (1, 3), (3, 4), (4, 2), (4, 5)]
WEIGHTS = [1.0, 2.0, 0.5, 3.0, 1.0, 4.0, 0.25]


def adjacency_of(weighted: bool, num_nodes: int = 6) -> Adjacency:
    weight = torch.tensor(WEIGHTS, dtype=torch.float64) if weighted else None
    pairs, pair_weight = undirected_pairs(torch.tensor(EDGES).t(), num_nodes, weight)
    return build_adjacency(pairs, num_nodes, pair_weight)


def exact_chances(p: float, q: float, weighted: bool) -> dict[tuple[int, int], dict[int, float]]:
    """Second-order transition probabilities, straight from the paper's definition."""
    graph = nx.Graph()
    graph.add_weighted_edges_from([(a, b, w if weighted else 1.0) for (a, b), w in zip(EDGES, WEIGHTS, strict=True)])
    chances = {}
    for a, b in graph.edges:
        for prev, cur in ((a, b), (b, a)):
            raw = {}
            for x in graph[cur]:
                alpha = 1 / p if x == prev else 1.0 if graph.has_edge(prev, x) else 1 / q
                raw[x] = alpha * graph[cur][x]["weight"]
            total = sum(raw.values())
            chances[prev, cur] = {x: value / total for x, value in raw.items()}
    return chances


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("p", "q"), [(1, 1), (4, 1), (0.25, 1), (1, 0.5), (1, 4), (0.1, 5), (8, 0.2), (20, 10)])
def test_each_step_has_the_probabilities_of_the_paper(p: float, q: float, weighted: bool) -> None:
    walker = RandomWalker(adjacency_of(weighted), p, q)
    starts = torch.arange(6).repeat(8_000)
    walks = walker.walk(starts, 4, torch.Generator().manual_seed(5)).numpy()
    # Steps two and three of each walk; the first has no previous node.
    triples = np.concatenate([walks[:, 0:3], walks[:, 1:4]])
    for (prev, cur), chances in exact_chances(p, q, weighted).items():
        nexts = triples[(triples[:, 0] == prev) & (triples[:, 1] == cur), 2]
        for x, chance in chances.items():
            # Five standard deviations: one failure in 2 million for each of the few hundred comparisons.
            slack = 5 * np.sqrt(chance * (1 - chance) / len(nexts)) + 1 / len(nexts)
            assert np.mean(nexts == x) == pytest.approx(chance, abs=slack)
        assert set(np.unique(nexts)) <= set(chances)


@pytest.mark.parametrize("weighted", [False, True])
def test_first_step_follows_the_weights(weighted: bool) -> None:
    walks = RandomWalker(adjacency_of(weighted)).walk(torch.full((40_000,), 1), 2, torch.Generator().manual_seed(1))
    share = np.bincount(walks[:, 1].numpy(), minlength=4) / 40_000
    expected = np.array([1, 0, 2, 3]) / 6 if weighted else np.array([1, 0, 1, 1]) / 3
    assert share == pytest.approx(expected, abs=0.015)


@pytest.mark.parametrize(("p", "q"), [(1, 1), (4, 0.5)])
def test_walks_follow_edges_and_the_seed_alone(p: float, q: float) -> None:
    adjacency = adjacency_of(weighted=False)
    walker = RandomWalker(adjacency, p, q)
    starts = torch.arange(6).repeat(50)
    first = walker.walk(starts, 20, torch.Generator().manual_seed(3))
    torch.manual_seed(99)  # the global generator has no say
    assert torch.equal(first, walker.walk(starts, 20, torch.Generator().manual_seed(3)))
    assert not torch.equal(first, walker.walk(starts, 20, torch.Generator().manual_seed(4)))
    assert torch.equal(first[:, 0], starts)
    linked = set((adjacency.keys()).tolist())
    assert {
        a * 6 + b for a, b in zip(first[:, :-1].flatten().tolist(), first[:, 1:].flatten().tolist(), strict=True)
    } <= (linked)


def test_isolated_start_repeats() -> None:
    walks = RandomWalker(adjacency_of(weighted=False, num_nodes=9)).walk(
        torch.tensor([7, 0, 8]), 5, torch.Generator().manual_seed(0)
    )
    assert walks[0].tolist() == [7] * 5
    assert walks[2].tolist() == [8] * 5
    assert set(walks[1].tolist()) <= set(range(6))


def test_graph_without_edges_repeats_every_start() -> None:
    pairs, _ = undirected_pairs(torch.empty((2, 0), dtype=torch.int64), 3, None)
    walks = RandomWalker(build_adjacency(pairs, 3)).walk(torch.arange(3), 4, torch.Generator().manual_seed(0))
    assert walks.tolist() == [[i] * 4 for i in range(3)]


def test_parallel_and_opposite_edges_are_one_pair_of_the_largest_weight() -> None:
    edges = torch.tensor([[0, 1, 0, 2, 2], [1, 0, 1, 2, 0]])
    pairs, weight = undirected_pairs(edges, 3, torch.tensor([1.0, 5.0, 2.0, 9.0, 0.5]))
    assert pairs.tolist() == [[0, 0], [1, 2]]
    assert weight is not None
    assert weight.tolist() == [5.0, 0.5]
