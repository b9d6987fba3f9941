from __future__ import annotations

import logging
import os
import subprocess
import sys
import warnings
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from alexandria.adapters.pyg.combine import combine
from alexandria.adapters.pyg.embedder import Node2VecEmbedder
from alexandria.adapters.pyg.model import FEWEST_STEPS
from alexandria.adapters.pyg.placement import (
    CPU_STEP,
    FEWEST_WALKS,
    GPU_PAYS_FROM,
    Placement,
    bytes_per_walk,
    is_out_of_memory,
    place,
    with_less_on_failure,
)
from alexandria.adapters.pyg.quality import edge_auc, non_edges, split
from alexandria.adapters.pyg.settings import Node2VecSettings
from alexandria.adapters.pyg.trainer import SkipGram
from alexandria.adapters.pyg.training import train
from alexandria.domain.graph import DependencyGraph
from alexandria.domain.imports.outcome import EdgeKind
from alexandria.domain.language import Language
from alexandria.ports.graph_embedder import EmbedderOutOfMemoryError
from support.clusters import clusters, overlap

QUICK = Node2VecSettings(epochs=3, walks_per_node=4)


@pytest.mark.parametrize("threads", [1, 2])
def test_bytes_do_not_depend_on_threads(threads: int) -> None:
    edges = clusters(20, 10)
    settings = Node2VecSettings(epochs=3, walks_per_node=4, seeds=2, threads=threads)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        vectors = train(edges, 200, 1, settings).vectors
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert (
        vectors.tobytes()
        == train(edges, 200, 1, Node2VecSettings(epochs=3, walks_per_node=4, seeds=2)).vectors.tobytes()
    )


def test_bytes_are_the_same_in_another_process_with_more_threads() -> None:
    program = (
        "import hashlib, numpy as np\n"
        "from alexandria.adapters.pyg.training import train\n"
        "ring = np.stack([np.arange(90), (np.arange(90) * 7 + 1) % 90])\n"
        "print(hashlib.sha256(train(ring, 90, 4).vectors.tobytes()).hexdigest())\n"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program],
            env={"OMP_NUM_THREADS": threads, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2")
    }
    assert len(digests) == 1


def test_another_seed_gives_other_vectors_and_much_the_same_neighbours() -> None:
    edges = clusters(30, 10)
    first, second = train(edges, 300, 0).vectors, train(edges, 300, 1).vectors
    assert not np.array_equal(first, second)
    assert overlap(first, second) > 0.6


def test_combined_seeds_agree_better_between_two_runs_than_single_ones() -> None:
    rng = np.random.default_rng(0)
    # No clusters: the hardest case for agreement.
    edges = np.stack([np.tile(np.arange(150), 3), rng.integers(0, 150, 450)])
    single = overlap(train(edges, 150, 0, QUICK).vectors, train(edges, 150, 1, QUICK).vectors)
    four = Node2VecSettings(epochs=3, walks_per_node=4, seeds=4)
    combined = overlap(train(edges, 150, 0, four).vectors, train(edges, 150, 1, four).vectors)
    assert combined > single + 0.05


def test_combination_keeps_the_mean_cosine_where_the_dimension_allows() -> None:
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn((20, 8), generator=generator) @ torch.randn((8, 32), generator=generator) for _ in range(3)]
    combined = torch.nn.functional.normalize(combine(parts), dim=1)
    mean = torch.stack([(u := torch.nn.functional.normalize(part, dim=1)) @ u.t() for part in parts]).mean(dim=0)
    torch.testing.assert_close(combined @ combined.t(), mean, atol=1e-5, rtol=0)


def test_repeats_and_self_loops_change_nothing() -> None:
    edges = clusters(6, 8)
    loops = np.stack([np.arange(48), np.arange(48)])
    noisy = np.concatenate([edges, loops, edges], axis=1)
    assert np.array_equal(train(edges, 48, 0, QUICK).vectors, train(noisy, 48, 0, QUICK).vectors)


@pytest.mark.parametrize("method", ["node2vec", "prone"])
def test_direction_of_imports_matters_to_the_in_degree_alone(method: Literal["node2vec", "prone"]) -> None:
    edges = clusters(6, 8)
    undirected = replace(QUICK, method=method, in_degree_exponent=0.0)
    plain = train(edges, 48, 0, undirected).vectors
    assert np.array_equal(plain, train(edges[::-1], 48, 0, undirected).vectors)
    forward, backward = (
        train(directed, 48, 0, replace(QUICK, method=method)).vectors for directed in (edges, edges[::-1])
    )
    assert np.array_equal(forward, backward) == (method == "prone")


def test_files_that_share_a_popular_import_alone_are_further_apart_than_those_that_share_a_rare_one() -> None:
    # Ten pairs of files; each pair shares a module of its own, and all twenty import one more.
    pairs = np.arange(20)
    edges = np.stack([np.tile(pairs, 2), np.concatenate([20 + pairs // 2, np.full(20, 30)])])

    def gap(exponent: float) -> float:
        settings = Node2VecSettings(epochs=10, walks_per_node=10, in_degree_exponent=exponent)
        unit = train(edges, 31, 0, settings).vectors[:20]
        unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
        cosine = unit @ unit.T
        partner = cosine[pairs, pairs ^ 1]
        others = (cosine.sum(axis=1) - 1 - partner) / 18
        return float((partner - others).mean())

    assert gap(1.0) > gap(0.0) + 0.03


def test_equal_weights_weigh_nothing_and_unequal_ones_do() -> None:
    star = np.array([[0, 0, 1, 2, 3], [1, 2, 3, 3, 4]])
    plain = train(star, 5, 0, QUICK)
    heavy = train(star, 5, 0, QUICK, weight=np.array([1.0, 50.0, 1.0, 1.0, 1.0]))

    def cosine(vectors: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> float:
        a, b = vectors[0], vectors[2]
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    assert cosine(heavy.vectors) > cosine(plain.vectors) + 0.02


def test_files_linked_by_kinds_left_out_alone_are_isolated() -> None:
    languages = dict.fromkeys("abcd", Language.GO)
    edges = [("a", "b", EdgeKind.IMPORT), ("c", "d", EdgeKind.IMPLICIT)]
    graph = DependencyGraph.from_edges(languages, edges)
    settings = Node2VecSettings(edge_kinds=frozenset({EdgeKind.IMPORT}), epochs=2)
    assert Node2VecEmbedder(settings).embed(graph, seed=0).isolated.tolist() == [False, False, True, True]
    assert not Node2VecEmbedder(Node2VecSettings(epochs=2)).embed(graph, seed=0).isolated.any()


def test_weights_of_kinds_reach_the_walks() -> None:
    languages = dict.fromkeys("abcd", Language.GO)
    edges = [("a", "b", EdgeKind.IMPORT), ("b", "c", EdgeKind.IMPLICIT), ("c", "d", EdgeKind.IMPORT)]
    graph = DependencyGraph.from_edges(languages, edges)
    plain = Node2VecEmbedder().embed(graph, seed=0)
    one = Node2VecEmbedder(Node2VecSettings(edge_weights=((EdgeKind.IMPLICIT, 1.0),))).embed(graph, seed=0)
    light = Node2VecEmbedder(Node2VecSettings(edge_weights=((EdgeKind.IMPLICIT, 0.01),))).embed(graph, seed=0)
    assert np.array_equal(plain.vectors, one.vectors)
    assert not np.array_equal(plain.vectors, light.vectors)


def test_other_dimension_than_that_of_the_stores_is_for_the_core_only() -> None:
    with pytest.raises(ValueError, match="64"):
        Node2VecEmbedder(Node2VecSettings(dimension=32))
    settings = Node2VecSettings(dimension=32, epochs=1)
    assert train(clusters(3, 5), 15, 0, settings).vectors.shape == (15, 32)


def test_pairs_are_held_back_where_there_are_enough_of_them() -> None:
    assert train(clusters(60, 12, degree=6), 720, 0, QUICK).edges_held_out
    assert not train(clusters(6, 10), 60, 0, QUICK).edges_held_out
    off = Node2VecSettings(epochs=3, walks_per_node=4, held_out=False)
    assert not train(clusters(60, 12, degree=6), 720, 0, off).edges_held_out


def test_loss_falls_and_is_logged_every_five_epochs_and_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="alexandria.adapters.pyg.training"):
        result = train(clusters(6, 10), 60, 0, Node2VecSettings(epochs=12, walks_per_node=3))
    assert len(result.loss) == 12
    assert result.loss[-1] < result.loss[0]
    assert [int(record.message.split()[1]) for record in caplog.records] == [5, 10, 12]


@pytest.mark.parametrize("nodes", [40_000, 80_000, pytest.param(1_000_000, marks=pytest.mark.long)])
def test_memory_is_in_proportion_to_the_nodes(nodes: int) -> None:
    program = (
        "import resource, sys, numpy as np\n"
        "from alexandria.adapters.pyg.settings import Node2VecSettings\n"
        "from alexandria.adapters.pyg.training import train\n"
        "settings = Node2VecSettings(epochs=1, walks_per_node=1, walk_length=3, context_size=2)\n"
        "train(np.array([[0], [1]]), 2, 0, settings)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "n = int(sys.argv[1])\n"
        "edges = np.stack([np.arange(n), np.arange(n) // 7 * 3])\n"  # uneven in-degrees, so that edges have weights
        "assert np.isfinite(train(edges, n, 0, settings).vectors).all()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(nodes)], capture_output=True, text=True, check=True
    )
    # Vectors, their copies, gradient and moments are 6 × 256 bytes a node; the graph and the walks are less.
    assert int(done.stdout) < nodes * 4


class Card:
    """A device whose allocator fails above a number of walks a step."""

    def __init__(self, most_walks: int, cpu_most: int = 10**9) -> None:
        self.most = {"cuda:0": most_walks, "cpu": cpu_most}
        self.asked: list[tuple[str, int]] = []

    def train_on(self, placement: Placement) -> Placement:
        self.asked.append((placement.device, placement.walks_per_step))
        if placement.walks_per_step > self.most[placement.device]:
            raise torch.OutOfMemoryError("CUDA out of memory") if placement.device != "cpu" else MemoryError
        return placement


def test_out_of_memory_halves_the_step_until_it_fits() -> None:
    card = Card(most_walks=1500)
    with pytest.warns(RuntimeWarning, match="out of memory on cuda:0"):
        done = with_less_on_failure(card.train_on, Placement("cuda:0", 8000))
    assert card.asked == [("cuda:0", 8000), ("cuda:0", 4000), ("cuda:0", 2000), ("cuda:0", 1000)]
    assert len(done.notes) == 3
    assert "1000 walks" in done.notes[-1]


def test_out_of_memory_of_several_seeds_at_once_tries_fewer_of_them_first() -> None:
    asked: list[tuple[int, int]] = []

    def train_on(placement: Placement) -> Placement:
        asked.append((placement.seeds_at_once, placement.walks_per_step))
        if placement.seeds_at_once * placement.walks_per_step > 1500:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return placement

    with pytest.warns(RuntimeWarning, match="out of memory on cuda:0"):
        with_less_on_failure(train_on, Placement("cuda:0", 2000, 5))
    assert asked == [(5, 2000), (2, 2000), (1, 2000), (1, 1000)]


def test_out_of_memory_with_the_smallest_step_goes_to_the_cpu() -> None:
    card = Card(most_walks=0)
    with pytest.warns(RuntimeWarning, match="out of memory on cuda:0"):
        done = with_less_on_failure(card.train_on, Placement("cuda:0", 2 * FEWEST_WALKS))
    assert (done.device, done.walks_per_step) == ("cpu", CPU_STEP)
    assert "CPU" in done.notes[-1]


def test_out_of_memory_everywhere_is_said_so() -> None:
    card = Card(most_walks=0, cpu_most=0)
    with pytest.warns(RuntimeWarning), pytest.raises(EmbedderOutOfMemoryError):
        with_less_on_failure(card.train_on, Placement("cuda:0", 512))
    assert card.asked[-1] == ("cpu", FEWEST_WALKS)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
    ids=str,
)
def test_want_of_memory_is_known_in_all_its_words(error: Exception) -> None:
    assert is_out_of_memory(error)


def test_memory_of_a_failed_attempt_is_free_before_the_next() -> None:
    alive: list[bool] = []
    held: list[weakref.ref[torch.Tensor]] = []

    def train_on(placement: Placement) -> None:
        alive.extend(reference() is not None for reference in held)
        if placement.device == "cpu":
            return
        buffer = torch.zeros(1000)
        held.append(weakref.ref(buffer))
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.warns(RuntimeWarning):
        with_less_on_failure(train_on, Placement("cuda:0", 1000))
    assert alive
    assert not any(alive)


def test_progress_never_falls_when_memory_runs_out_midway(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    step = SkipGram.step

    def failing_once(self: SkipGram, *arguments: Any, **options: Any) -> Any:
        steps.append(1)
        if len(steps) == 90:
            raise torch.OutOfMemoryError("simulated")
        return step(self, *arguments, **options)

    monkeypatch.setattr(SkipGram, "step", failing_once)
    seen: list[float] = []
    with pytest.warns(RuntimeWarning, match="out of memory on cpu"):
        train(clusters(6, 8), 48, 0, Node2VecSettings(), progress=lambda at: seen.append(at.fraction))
    assert len(steps) == 90 + FEWEST_STEPS
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_other_errors_are_not_taken_for_a_want_of_memory() -> None:
    def broken(_: Placement) -> None:
        raise RuntimeError("index out of range")

    with warnings.catch_warnings(), pytest.raises(RuntimeError, match="index out of range"):
        with_less_on_failure(broken, Placement("cuda:0", 512))


def test_small_graphs_stay_on_the_cpu_unless_the_gpu_is_asked_for() -> None:
    def free() -> int:
        return 8 * 2**30

    small, large = GPU_PAYS_FROM - 1, GPU_PAYS_FROM
    auto, cuda, cpu = (Node2VecSettings(device=device) for device in ("auto", "cuda", "cpu"))
    assert place(auto, small, 5 * small, free).device == "cpu"
    assert place(auto, large, 5 * large, free).device == "cuda:0"
    assert place(cuda, small, 5 * small, free).device == "cuda:0"
    assert place(cpu, large, 5 * large, free).device == "cpu"
    assert place(replace(auto, seeds=2), small, 5 * small, free).device == "cuda:0"
    missing = place(cuda, large, 5 * large, lambda: None)
    assert missing.device == "cpu"
    assert "asked for" in missing.notes[0]


def test_step_on_a_gpu_is_bound_by_memory_and_by_quality() -> None:
    settings = Node2VecSettings(device="cuda")
    roomy = place(settings, 1_000_000, 5_000_000, lambda: 140 * 2**30)
    assert roomy.walks_per_step == 1_000_000 * settings.walks_per_node // 100
    assert "stays empty" in roomy.notes[0]
    tight = place(settings, 1_000_000, 5_000_000, lambda: 4 * 2**30)
    assert tight.walks_per_step < roomy.walks_per_step
    assert tight.planned_bytes <= 0.7 * 4 * 2**30 + bytes_per_walk(settings)
    assert "as much as a plan may take" in tight.notes[0]
    asked = place(Node2VecSettings(device="cuda", walks_per_step=500), 50_000, 250_000, lambda: 140 * 2**30)
    assert asked.walks_per_step == 500
    assert "the settings ask" in asked.notes[0]


def test_seeds_are_trained_at_once_as_far_as_a_card_has_room() -> None:
    settings = Node2VecSettings(device="cuda", seeds=8)
    roomy = place(settings, 50_000, 250_000, lambda: 80 * 2**30)
    assert (roomy.walks_per_step, roomy.seeds_at_once) == (5_000, 8)
    tight = place(settings, 50_000, 250_000, lambda: 2 * 2**30)
    assert tight.walks_per_step == 5_000
    assert 1 < tight.seeds_at_once < 8
    assert tight.planned_bytes <= 0.7 * 2 * 2**30
    assert "as much as a plan may take" in tight.notes[0]
    assert place(settings, 50_000, 250_000, lambda: 200 * 2**20).device == "cpu"


def test_graph_that_cannot_fit_the_card_is_not_tried_there() -> None:
    placement = place(Node2VecSettings(device="cuda"), 1_000_000, 5_000_000, lambda: 2**30)
    assert placement.device == "cpu"
    assert "do not fit" in placement.notes[0]


def test_the_gpu_is_not_asked_where_the_graph_stays_on_the_cpu_anyway() -> None:
    def started() -> int:
        raise AssertionError("the driver was started for nothing")

    place(Node2VecSettings(device="cpu"), 10**6, 10**7, started)
    place(Node2VecSettings(device="auto"), GPU_PAYS_FROM - 1, 10**6, started)


def test_auc_is_that_of_all_comparisons() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(12, 3)).astype(np.float32).round(1)
    edges, others = rng.integers(0, 12, (2, 15)), rng.integers(0, 12, (2, 9))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    score = unit @ unit.T
    wins = [float(score[a, b] > score[c, d]) for a, b in edges.T for c, d in others.T]
    assert edge_auc(vectors, edges, others) == pytest.approx(np.mean(wins), abs=0.02)
    assert edge_auc(vectors, edges, edges) == pytest.approx(0.5)
    assert edge_auc(vectors, edges, others[:, :0]) is None


def test_no_node_loses_its_last_link_to_the_measure() -> None:
    edges = clusters(60, 12, degree=6)
    low, high = edges.min(axis=0), edges.max(axis=0)
    keys = np.unique((low * 720 + high)[low != high])
    pairs = np.stack([keys // 720, keys % 720])
    parts = split(pairs, 720, np.random.default_rng(0))
    assert parts.held_out
    assert 100 <= parts.measured.shape[1] <= 400
    assert np.array_equal(np.unique(pairs[:, parts.kept]), np.unique(pairs))
    others = non_edges(pairs, 720, np.random.default_rng(0), count=500)
    assert others.shape[1] > 400
    assert not np.isin(others[0] * 720 + others[1], keys).any()
    assert (others[0] < others[1]).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"dimension": 0},
        {"context_size": 1},
        {"walk_length": 5, "context_size": 6},
        {"p": 0.0},
        {"q": float("inf")},
        {"learning_rate": -1.0},
        {"window_decay": 0.0},
        {"window_decay": 1.1},
        {"in_degree_exponent": -0.5},
        {"walks_per_step": 0},
        {"seeds": 0},
        {"threads": 0},
        {"edge_weights": ((EdgeKind.IMPORT, 0.0),)},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"must be|shorter"):
        Node2VecSettings(**wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_training_loads_one_file_of_pyg_and_whoever_wants_the_rest_has_it_still(tmp_path: Path) -> None:
    program = """
import sys
import numpy as np
import torch
from alexandria.adapters.pyg.model import FusedNode2Vec
from alexandria.adapters.pyg.settings import Node2VecSettings
from alexandria.adapters.pyg.training import train

edges = np.stack([np.arange(99), np.arange(1, 100)])
train(edges, 100, 1, Node2VecSettings(epochs=3))
unasked = ("torch_geometric", "torch._dynamo", "torch._inductor", "sympy")
print([name for name in sys.modules if name.startswith(unasked)])
import torch_geometric
import torch_geometric.nn.models.node2vec as file
from torch_geometric.isinstance import is_torch_instance
print(issubclass(FusedNode2Vec, torch_geometric.nn.Node2Vec), file.Node2Vec is torch_geometric.nn.Node2Vec)
print(is_torch_instance(torch.nn.Linear(1, 1), torch.nn.Module), torch_geometric.datasets.KarateClub.__name__)
edges = torch.from_numpy(edges)
print(file.maybe_num_nodes(edges), file.sort_edge_index(edges.flip(1)).equal(edges), bool(file.WITH_PYG_LIB))
try:
    torch_geometric.nn.Node2Vec(edges, 64, 20, 10)
except ImportError as error:
    print("pyg-lib" in str(error))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    one_file = "['torch_geometric.nn.models.node2vec']"
    assert done.stdout.splitlines() == [one_file, "True True", "True KarateClub", "100 True False", "True"], done.stderr
