from __future__ import annotations

import networkx as nx  # type: ignore[import-untyped]  # has no stubs of its own
import numpy as np
import pytest
import torch

from alexandria.adapters.pyg.adjacency import Adjacency, build_adjacency, damped_by_in_degree, undirected_pairs
from alexandria.adapters.pyg.walker import RandomWalker, alias_table

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


def test_alias_table_gives_each_entry_its_share() -> None:
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        nodes = 2 + seed
        edges = torch.randint(nodes, (2, 6 * nodes), generator=generator)
        if seed % 3:  # from nearly even to one edge that outweighs all others
            weight = torch.rand(edges.shape[1], generator=generator, dtype=torch.float64).pow(seed % 9) + 1e-6
        else:  # many equal ones, so that sums of what is lacking and of what is there meet exactly
            weight = torch.randint(1, 4, (edges.shape[1],), generator=generator).to(torch.float64)
        pairs, pair_weight = undirected_pairs(edges, nodes, weight)
        graph = build_adjacency(pairs, nodes, pair_weight)
        assert graph.weight is not None
        own, alias = alias_table(graph, graph.weight)
        rows = torch.repeat_interleave(torch.arange(nodes), graph.degree)
        assert torch.equal(rows[alias], rows)
        chance = own.clone().index_add_(0, alias, 1 - own) / graph.degree[rows]
        total = torch.zeros(nodes, dtype=torch.float64).index_add_(0, rows, graph.weight)
        torch.testing.assert_close(chance, graph.weight / total[rows], rtol=0, atol=1e-8)


def test_damping_divides_by_the_in_degree_of_what_is_imported() -> None:
    edges = torch.tensor([[0, 1, 2, 2, 3, 0], [3, 3, 3, 3, 0, 0]])  # 3 is imported by three files, one of them twice
    damped = damped_by_in_degree(edges, 4, 0.5, None)
    assert damped is not None
    assert damped.tolist() == pytest.approx([3**-0.5] * 4 + [1.0, 1.0])
    weighted = damped_by_in_degree(edges, 4, 1.0, torch.tensor([1.0, 2.0, 3.0, 3.0, 4.0, 5.0]))
    assert weighted is not None
    assert weighted.tolist() == pytest.approx([1 / 3, 2 / 3, 1.0, 1.0, 4.0, 5.0])
    assert damped_by_in_degree(edges, 4, 0.0, None) is None
    ring = torch.stack([torch.arange(5), (torch.arange(5) + 1) % 5])
    assert damped_by_in_degree(ring, 5, 0.5, None) is None
