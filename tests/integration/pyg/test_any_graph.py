"""Properties of the embedder on graphs that nobody chose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alexandria.adapters.pyg.adjacency import build_adjacency, damped_by_in_degree, undirected_pairs
from alexandria.adapters.pyg.embedder import Node2VecEmbedder
from alexandria.adapters.pyg.settings import Node2VecSettings
from alexandria.adapters.pyg.trainer import SkipGram, StepShape
from alexandria.adapters.pyg.training import train
from alexandria.adapters.pyg.walker import alias_table
from alexandria.domain.graph import DependencyGraph
from alexandria.domain.imports.outcome import EdgeKind
from alexandria.domain.language import Language

Edges = list[tuple[int, int]]

MANY = settings(max_examples=100)


@pytest.fixture(scope="module", autouse=True)
def short_trainings() -> Iterator[None]:
    """Ten steps, not a hundred: what holds for any graph holds after any number of them."""
    patch = pytest.MonkeyPatch()
    patch.setattr("alexandria.adapters.pyg.model.FEWEST_STEPS", 10)
    yield
    patch.undo()


@dataclass(frozen=True)
class Shape:
    """A directed multigraph with self-loops."""

    nodes: int
    edges: Edges

    @property
    def index(self) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
        return np.array(self.edges, dtype=np.int64).reshape(-1, 2).T

    @property
    def linked(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        result = np.zeros(self.nodes, dtype=np.bool_)
        for a, b in self.edges:
            if a != b:
                result[[a, b]] = True
        return result


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    """0 to 60 nodes: any edges, repeated ones, perhaps a hub, perhaps two halves, perhaps isolated nodes."""
    nodes = draw(st.integers(0, 60))
    if not nodes:
        return Shape(0, [])
    used = draw(st.integers(1, nodes))  # those from here on stay isolated
    ends = st.integers(0, used - 1)
    edges = draw(st.lists(st.tuples(ends, ends), max_size=150))
    if draw(st.booleans()):
        hub = draw(ends)
        edges += [(node, hub) for node in range(used)]
    if draw(st.booleans()):  # no edge between the lower and the upper half
        edges = [(a, b) for a, b in edges if (2 * a < used) == (2 * b < used)]
    edges += edges[: draw(st.integers(0, len(edges)))]
    return Shape(nodes, draw(st.permutations(edges)))


def graph_of(shape: Shape, kinds: Sequence[EdgeKind]) -> DependencyGraph:
    names = [f"f{i:02d}.py" for i in range(shape.nodes)]
    edges = [(names[a], names[b], kinds[i % len(kinds)]) for i, (a, b) in enumerate(shape.edges) if a != b]
    return DependencyGraph.from_edges(dict.fromkeys(names, Language.PYTHON), edges)


tuned = st.builds(
    Node2VecSettings,
    method=st.sampled_from(["node2vec", "node2vec", "node2vec", "prone"]),
    epochs=st.integers(1, 2),
    walks_per_node=st.integers(1, 3),
    p=st.sampled_from([1.0, 0.3, 4.0]),
    q=st.sampled_from([1.0, 0.3, 4.0]),
    window_decay=st.sampled_from([1.0, 0.5]),
    in_degree_exponent=st.sampled_from([0.0, 0.5, 2.0]),
    edge_weights=st.sampled_from([(), ((EdgeKind.IMPLICIT, 0.25),)]),
    seeds=st.integers(1, 2),
    threads=st.integers(1, 2),
)


@MANY
@given(shape=shapes(), how=tuned, seed=st.integers(0, 2**31))
def test_property_06_n_nodes_give_n_vectors_of_64(shape: Shape, how: Node2VecSettings, seed: int) -> None:
    result = Node2VecEmbedder(how).embed(graph_of(shape, [EdgeKind.IMPORT, EdgeKind.IMPLICIT]), seed=seed)
    assert result.vectors.shape == (shape.nodes, 64)
    assert np.isfinite(result.vectors).all()
    assert np.array_equal(result.vectors.any(axis=1), shape.linked)
    assert np.array_equal(result.isolated, ~shape.linked)
    assert result.report.edge_auc is None or 0 <= result.report.edge_auc <= 1


@MANY
@given(shape=shapes(), how=tuned)
def test_property_07_vectors_are_float32_on_the_cpu(shape: Shape, how: Node2VecSettings) -> None:
    result = Node2VecEmbedder(how).embed(graph_of(shape, [EdgeKind.IMPORT]), seed=0)
    assert type(result.vectors) is np.ndarray
    assert result.vectors.dtype == np.float32
    assert torch.from_numpy(result.vectors.copy()).device.type == "cpu"
    assert result.report.device == "cpu"


@MANY
@given(shape=shapes(), how=tuned, seed=st.integers(0, 2**31), threads=st.integers(2, 3))
def test_same_seed_gives_the_same_bytes_whatever_the_threads(
    shape: Shape, how: Node2VecSettings, seed: int, threads: int
) -> None:
    first = train(shape.index, shape.nodes, seed, how)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        second = train(shape.index, shape.nodes, seed, how)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert first.vectors.tobytes() == second.vectors.tobytes()
    assert first.loss == second.loss
    assert first.edge_auc == second.edge_auc


@MANY
@given(shape=shapes(), how=tuned, order=st.randoms(use_true_random=False))
def test_order_and_number_of_equal_edges_change_nothing(shape: Shape, how: Node2VecSettings, order: Random) -> None:
    edges = sorted(set(shape.edges))
    order.shuffle(edges)
    once = train(Shape(shape.nodes, edges).index, shape.nodes, 1, how)
    assert train(shape.index, shape.nodes, 1, how).vectors.tobytes() == once.vectors.tobytes()


@MANY
@given(shape=shapes(), gaps=st.integers(0, 3), how=tuned)
def test_new_numbers_in_the_same_order_move_the_rows_and_nothing_else(
    shape: Shape, gaps: int, how: Node2VecSettings
) -> None:
    """Isolated files come and go between two commits; the vectors of the others stay as they are."""
    spread = [(a * (gaps + 1) + gaps, b * (gaps + 1) + gaps) for a, b in shape.edges]
    larger = Shape(shape.nodes * (gaps + 1), spread)
    moved = train(larger.index, larger.nodes, 1, how).vectors
    kept = train(shape.index, shape.nodes, 1, how).vectors
    places = np.arange(shape.nodes) * (gaps + 1) + gaps
    assert np.array_equal(moved[places], kept)
    assert not np.delete(moved, places, axis=0).any()


@MANY
@given(shape=shapes(), order=st.randoms(use_true_random=False), exponent=st.sampled_from([0.0, 0.5, 1.0]))
def test_new_names_change_no_chance_of_any_step(shape: Shape, order: Random, exponent: float) -> None:
    """Under any new numbering, each walk is as likely as it was: all that the numbers may change is the draw."""
    new = list(range(shape.nodes))
    order.shuffle(new)
    renamed = Shape(shape.nodes, [(new[a], new[b]) for a, b in shape.edges])
    chances = step_chances(shape, exponent)
    assert {(new[a], new[b]): chance for (a, b), chance in chances.items()} == pytest.approx(
        step_chances(renamed, exponent), abs=1e-8
    )


def step_chances(shape: Shape, exponent: float) -> dict[tuple[int, int], float]:
    """The chance of each first-order step, read off the table that walks are drawn from."""
    edges = torch.from_numpy(shape.index.copy())
    pairs, weight = undirected_pairs(edges, shape.nodes, damped_by_in_degree(edges, shape.nodes, exponent, None))
    graph = build_adjacency(pairs, shape.nodes, weight)
    rows = torch.repeat_interleave(torch.arange(shape.nodes), graph.degree)
    chance = 1 / graph.degree[rows].to(torch.float64)
    if graph.weight is not None:
        own, alias = alias_table(graph, graph.weight)
        chance = own.clone().index_add_(0, alias, 1 - own) * chance
    return dict(zip(zip(rows.tolist(), graph.col.tolist(), strict=True), chance.tolist(), strict=True))


@MANY
@given(
    walks=st.lists(st.lists(st.integers(0, 19), min_size=6, max_size=6), min_size=1, max_size=12),
    others=st.lists(st.integers(0, 19), min_size=12, max_size=12),
    order=st.randoms(use_true_random=False),
    never_wait=st.booleans(),
)
def test_new_names_move_the_rows_of_a_step_and_nothing_else(
    walks: list[list[int]], others: list[int], order: Random, never_wait: bool
) -> None:
    new = torch.tensor(shuffled(20, order))
    start = torch.randn(20, 8, generator=torch.Generator().manual_seed(0))
    results = []
    for names in (torch.arange(20), new):
        weight = torch.empty_like(start)
        weight[names] = start
        skip_gram = SkipGram(
            weight,
            walk_length=6,
            context_size=4,
            window_decay=0.5,
            negative_weight=0.1,
            shape=StepShape(walks=12, chunk=5, blocks=3, block=4),
            never_wait=never_wait,
        )
        for _ in range(2):
            skip_gram.step(names[torch.tensor(walks)], names[torch.tensor(others).view(3, 4)], learning_rate=0.1)
        results.append(weight[names])
    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-6)


def shuffled(count: int, order: Random) -> list[int]:
    result = list(range(count))
    order.shuffle(result)
    return result
