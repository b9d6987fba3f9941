"""On a real CUDA card; skipped where there is none. What can be shown without one is in the other files here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from alexandria.adapters.pyg.adjacency import build_adjacency, undirected_pairs
from alexandria.adapters.pyg.model import FusedNode2Vec
from alexandria.adapters.pyg.placement import FEWEST_WALKS
from alexandria.adapters.pyg.settings import Node2VecSettings
from alexandria.adapters.pyg.trainer import SkipGram
from alexandria.adapters.pyg.training import train
from alexandria.adapters.pyg.walker import RandomWalker
from alexandria.ports.graph_embedder import EmbeddingCancelledError, TrainingProgress
from support.clusters import clusters, overlap

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA card"),
    pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype"),
]

CARD = Node2VecSettings(device="cuda")
SIZE = 20


@contextmanager
def no_waiting() -> Iterator[None]:
    """Make it an error that the host waits for the card."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@contextmanager
def card_of(mebibytes: int) -> Iterator[None]:
    """Let the allocator hand out so much, and then fail as it does on a full card."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(mebibytes * 2**20 / total, 0)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, 0)


def test_a_card_learns_what_a_cpu_learns() -> None:
    edges, files = clusters(100, SIZE), 2000
    on_card = train(edges, files, 0, CARD)
    on_cpu, other_seed = (train(edges, files, seed, Node2VecSettings(device="cpu")) for seed in (0, 1))
    assert on_card.device == "cuda:0"
    assert on_card.vectors.dtype == np.float32
    assert np.isfinite(on_card.vectors).all()
    assert on_card.edge_auc == pytest.approx(on_cpu.edge_auc, abs=0.02)
    assert on_card.loss[-1] == pytest.approx(on_cpu.loss[-1], rel=0.05)
    # The card draws other walks from the same seed, so it is as far from the CPU as another seed is.
    assert overlap(on_card.vectors, on_cpu.vectors) > overlap(other_seed.vectors, on_cpu.vectors) - 0.05


def test_the_same_seed_on_the_same_card_gives_much_the_same_angles() -> None:
    edges, files = clusters(50, SIZE), 1000
    first, second, other = (train(edges, files, seed, CARD).vectors for seed in (0, 0, 1))
    assert overlap(first, second) > overlap(first, other) + 0.05


@pytest.mark.parametrize(
    ("edges", "files"),
    [
        pytest.param(np.zeros((2, 0)), 0, id="no_file"),
        pytest.param(np.zeros((2, 0)), 7, id="no_edge"),
        pytest.param([[0], [1]], 2, id="one_edge"),
        pytest.param([[3], [40]], 50, id="one_edge_among_isolated_files"),
        pytest.param([[0, 1, 0, 0], [1, 0, 1, 0]], 2, id="repeats_and_a_loop"),
        pytest.param([range(1, 91), [0] * 90], 101, id="hub"),
        pytest.param([range(1000), [*range(1, 1000), 0]], 1000, id="cycle_of_1000"),
    ],
)
@pytest.mark.parametrize("changed", [{}, {"p": 0.25, "q": 4.0}, {"seeds": 3}], ids=["plain", "p_and_q", "three_seeds"])
def test_every_graph_gives_finite_vectors_and_isolated_files_zero(edges: Any, files: int, changed: Any) -> None:
    edge_index = np.array([list(ends) for ends in edges], dtype=np.int64).reshape(2, -1)
    vectors = train(edge_index, files, 0, Node2VecSettings(device="cuda", epochs=2, **changed)).vectors
    assert vectors.shape == (files, 64)
    assert np.isfinite(vectors).all()
    linked = np.zeros(files, bool)
    linked[edge_index[:, edge_index[0] != edge_index[1]]] = True
    assert np.array_equal(vectors.any(axis=1), linked)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_host_waits_for_the_card_in_no_step(monkeypatch: pytest.MonkeyPatch, weighted: bool) -> None:
    waited_for: list[str] = []

    def guarded(owner: type, name: str) -> None:
        method: Callable[..., Any] = getattr(owner, name)

        def call(*arguments: Any, **options: Any) -> Any:
            waited_for.append(name)
            with no_waiting():
                return method(*arguments, **options)

        monkeypatch.setattr(owner, name, call)

    guarded(SkipGram, "step")
    guarded(RandomWalker, "walk")
    guarded(FusedNode2Vec, "_negatives")
    train(clusters(50, SIZE), 1000, 0, Node2VecSettings(device="cuda", seeds=2, in_degree_exponent=0.5 * weighted))
    assert {"step", "walk", "_negatives"} == set(waited_for)
    with pytest.raises(RuntimeError, match="synchroniz"), no_waiting():  # so the card would have noticed
        torch.ones(3, device="cuda").nonzero()


@pytest.mark.parametrize(("p", "q"), [(1.0, 1.0), (4.0, 0.5), (0.25, 2.0)])
def test_walks_on_a_card_have_the_chances_of_those_on_the_cpu(p: float, q: float) -> None:
    # 0-1-2 is a triangle, 3 hangs on 1, 4 closes a square 1-3-4-2, 5 is a leaf of 4; the chances on the CPU are
    # checked against the paper's in test_walker.py.
    edges = torch.tensor([[0, 1, 0, 1, 3, 4, 4], [1, 2, 2, 3, 4, 2, 5]])
    weight = torch.tensor([1.0, 2.0, 0.5, 3.0, 1.0, 4.0, 0.25], dtype=torch.float64)
    pairs, pair_weight = undirected_pairs(edges, 6, weight)
    triples = {}
    for device in ("cpu", "cuda"):
        walker = RandomWalker(build_adjacency(pairs, 6, pair_weight).to(torch.device(device)), p, q)
        starts = torch.arange(6, device=device).repeat(40_000)
        walks = walker.walk(starts, 4, torch.Generator(device).manual_seed(5))
        assert walks.device.type == device
        key = (walks[:, 1] * 6 + walks[:, 2]) * 6 + walks[:, 3]
        triples[device] = torch.bincount(key.cpu(), minlength=216).numpy() / len(starts)
    slack = 6 * np.sqrt(triples["cpu"] / 240_000) + 1e-4
    assert (np.abs(triples["cpu"] - triples["cuda"]) < slack).all()


@pytest.mark.parametrize(
    ("count", "degree", "seeds"), [(50, 4, 1), (500, 4, 1), (500, 4, 3), (500, 40, 1), (10_000, 4, 1)]
)
def test_the_log_says_planned_and_peak_memory_and_why_it_is_not_more(
    caplog: pytest.LogCaptureFixture, count: int, degree: int, seeds: int
) -> None:
    settings = Node2VecSettings(device="cuda", epochs=10, seeds=seeds)
    with caplog.at_level(logging.INFO, logger="alexandria.adapters.pyg.training"):
        result = train(clusters(count, SIZE, degree=degree), SIZE * count, 0, settings)
    planned, peak = result.notes
    assert "of the free memory of the card; steps above" in planned
    assert 0.4 < float(peak.split()[1]) / float(planned.split()[1]) <= 1.1
    assert {planned, peak} <= {record.message for record in caplog.records}


def test_a_full_card_is_met_with_half_the_step_and_the_result_is_of_the_card() -> None:
    settings = Node2VecSettings(device="cuda", epochs=10, walks_per_step=16_000)
    with card_of(400), pytest.warns(RuntimeWarning, match="out of memory on cuda:0"):
        result = train(clusters(2000, SIZE), 40_000, 0, settings)
    assert result.device == "cuda:0"
    halved = [note for note in result.notes if "trained again with" in note]
    assert halved[0].endswith("8000 walks a step")
    assert np.isfinite(result.vectors).all()


def test_a_card_that_holds_not_even_the_vectors_leaves_the_training_to_the_cpu() -> None:
    settings = Node2VecSettings(device="cuda", epochs=1, walks_per_step=2 * FEWEST_WALKS)
    with card_of(30), pytest.warns(RuntimeWarning, match="out of memory on cuda:0"):
        result = train(clusters(250, SIZE), 5000, 0, settings)
    assert result.device == "cpu"
    assert result.notes[-1].endswith("with the smallest step; trained on the CPU")
    assert np.isfinite(result.vectors).all()


def test_a_training_gives_the_card_back() -> None:
    train(clusters(50, SIZE), 1000, 0, CARD)  # what cuBLAS takes for itself stays
    before = torch.cuda.memory_allocated(0)
    train(clusters(50, SIZE), 1000, 1, CARD)
    assert torch.cuda.memory_allocated(0) == before


def test_several_seeds_at_once_are_as_good_as_one_and_agree_better(caplog: pytest.LogCaptureFixture) -> None:
    edges, files = clusters(100, SIZE), 2000
    one, again = (train(edges, files, seed, CARD) for seed in (0, 1))
    with caplog.at_level(logging.INFO, logger="alexandria.adapters.pyg.training"):
        four, other_four = (train(edges, files, seed, replace(CARD, seeds=4)) for seed in (0, 1))
    assert four.edge_auc == pytest.approx(one.edge_auc, abs=0.02)
    assert four.loss[-1] == pytest.approx(one.loss[-1], rel=0.05)
    assert overlap(four.vectors, other_four.vectors) > overlap(one.vectors, again.vectors) + 0.02
    assert [record.message for record in caplog.records if "epoch 10 of 10" in record.message]


def test_a_training_on_a_card_ends_between_steps_and_reports_progress() -> None:
    seen: list[TrainingProgress] = []
    with pytest.raises(EmbeddingCancelledError):
        train(clusters(50, SIZE), 1000, 0, CARD, progress=seen.append, cancelled=lambda: len(seen) >= 3)
    assert [at.epoch for at in seen] == [1, 2, 3]
