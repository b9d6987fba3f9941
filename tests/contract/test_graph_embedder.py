from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from alexandria.domain.embedding import EmbeddingSet
from alexandria.domain.graph import DependencyGraph
from alexandria.domain.imports.outcome import EdgeKind
from alexandria.domain.language import Language
from alexandria.ports.graph_embedder import EmbeddingCancelledError, GraphEmbedder, TrainingProgress


def open_node2vec(_: pytest.FixtureRequest) -> GraphEmbedder:
    from alexandria.adapters.pyg.embedder import Node2VecEmbedder  # noqa: PLC0415 - torch takes seconds to import

    return Node2VecEmbedder()


def open_combined(_: pytest.FixtureRequest) -> GraphEmbedder:
    from alexandria.adapters.pyg.embedder import Node2VecEmbedder  # noqa: PLC0415 - as above
    from alexandria.adapters.pyg.settings import Node2VecSettings  # noqa: PLC0415

    return Node2VecEmbedder(Node2VecSettings(seeds=2, threads=2, walks_per_node=4))


def open_prone(_: pytest.FixtureRequest) -> GraphEmbedder:
    from alexandria.adapters.pyg.embedder import Node2VecEmbedder  # noqa: PLC0415 - as above
    from alexandria.adapters.pyg.settings import Node2VecSettings  # noqa: PLC0415

    return Node2VecEmbedder(Node2VecSettings(method="prone"))


def open_process(request: pytest.FixtureRequest) -> GraphEmbedder:
    from alexandria.adapters.pyg.process import ProcessEmbedder  # noqa: PLC0415 - beside the others
    from alexandria.adapters.pyg.settings import Node2VecSettings  # noqa: PLC0415
    from alexandria.adapters.pyg.spawn import TrainingProcess  # noqa: PLC0415

    embedder = ProcessEmbedder(Node2VecSettings(), TrainingProcess())
    request.addfinalizer(embedder.close)
    return embedder


EMBEDDERS = [
    pytest.param(open_node2vec, id="node2vec"),
    pytest.param(open_combined, id="two_seeds_combined"),
    pytest.param(open_prone, id="prone"),
    pytest.param(open_process, id="in_another_process"),
]


@pytest.fixture(scope="module", params=EMBEDDERS)
def embedder(request: pytest.FixtureRequest) -> GraphEmbedder:
    opened: Callable[[pytest.FixtureRequest], GraphEmbedder] = request.param
    return opened(request)


def graph_of(num_files: int, edges: list[tuple[int, int]]) -> DependencyGraph:
    names = [f"f{i:07d}.py" for i in range(num_files)]
    return DependencyGraph.from_edges(
        dict.fromkeys(names, Language.PYTHON), [(names[a], names[b], EdgeKind.IMPORT) for a, b in edges]
    )


def clusters(count: int, size: int, seed: int = 3) -> list[tuple[int, int]]:
    """Dense groups in a chain: a graph that any embedder should tell from noise."""
    rng = np.random.default_rng(seed)
    inside = [
        (g * size + a, g * size + b)
        for g in range(count)
        for a in range(size)
        for b in rng.integers(0, size, 4).tolist()
    ]
    return inside + [(g * size, (g + 1) * size) for g in range(count - 1)]


GRAPHS = {
    "no_file": graph_of(0, []),
    "one_file": graph_of(1, []),
    "no_edge": graph_of(7, []),
    "one_edge": graph_of(2, [(0, 1)]),
    "one_edge_among_isolated_files": graph_of(50, [(3, 40)]),
    "mutual_import": graph_of(2, [(0, 1), (1, 0)]),
    "two_components": graph_of(12, [(i, i + 1) for i in range(5)] + [(i, i + 1) for i in range(6, 11)]),
    "hub_with_most_edges": graph_of(101, [(i, 0) for i in range(1, 91)] + [(i, i + 1) for i in range(90, 100)]),
    "cycle_of_1000": graph_of(1000, [(i, (i + 1) % 1000) for i in range(1000)]),
    "every_file_imports_every_other": graph_of(12, [(a, b) for a in range(12) for b in range(12) if a != b]),
}


@pytest.mark.parametrize("graph", [pytest.param(graph, id=name) for name, graph in GRAPHS.items()])
def test_gives_one_finite_vector_for_each_file_and_zero_only_to_isolated_ones(
    embedder: GraphEmbedder, graph: DependencyGraph
) -> None:
    result = embedder.embed(graph, seed=0)
    assert result.paths == graph.files
    assert result.vectors.shape == (graph.num_files, 64)
    assert result.vectors.dtype == np.float32
    assert np.isfinite(result.vectors).all()
    assert np.array_equal(result.isolated, graph.isolated())
    assert np.array_equal(result.vectors.any(axis=1), ~result.isolated)


def test_graph_without_edges_has_no_auc_and_no_verdict(embedder: GraphEmbedder) -> None:
    report = embedder.embed(GRAPHS["no_edge"], seed=0).report
    assert report.edge_auc is None
    assert report.converged is None
    assert report.loss == ()


def test_graph_without_non_edges_has_no_auc(embedder: GraphEmbedder) -> None:
    assert embedder.embed(GRAPHS["every_file_imports_every_other"], seed=0).report.edge_auc is None


def test_clusters_are_learned_and_the_report_says_so(embedder: GraphEmbedder) -> None:
    result = embedder.embed(graph_of(400, clusters(40, 10)), seed=0)
    assert result.report.edge_auc is not None
    assert result.report.edge_auc > 0.9
    assert result.report.converged
    assert share_of_own_cluster(result, 10) > 0.8


def share_of_own_cluster(result: EmbeddingSet, size: int) -> float:
    unit = result.vectors / np.linalg.norm(result.vectors, axis=1, keepdims=True)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -2)
    nearest = np.argsort(-cosine, axis=1)[:, :5]
    return float((nearest // size == np.arange(len(unit))[:, None] // size).mean())


def test_edges_are_taken_in_both_directions(embedder: GraphEmbedder) -> None:
    # Rings around a file that only imports, or is only imported: a walk along the arrows alone would end there.
    edges = [(10 * g, 10 * g + i) for g in range(12) for i in range(1, 10)]
    edges += [(10 * g + i, 10 * g + i % 9 + 1) for g in range(12) for i in range(1, 10)]
    for directed in (edges, [(b, a) for a, b in edges]):
        result = embedder.embed(graph_of(120, directed), seed=2)
        assert result.report.edge_auc is not None
        assert result.report.edge_auc > 0.95
        assert share_of_own_cluster(result, 10) > 0.9


def test_same_graph_and_seed_give_the_same_bytes(embedder: GraphEmbedder) -> None:
    graph = graph_of(120, clusters(12, 10))
    first, second = (embedder.embed(graph, seed=11) for _ in range(2))
    assert first.vectors.tobytes() == second.vectors.tobytes()
    assert first.report.loss == second.report.loss
    assert first.report.edge_auc == second.report.edge_auc


def test_progress_never_falls_and_ends_at_one(embedder: GraphEmbedder) -> None:
    seen: list[TrainingProgress] = []
    result = embedder.embed(graph_of(120, clusters(12, 10)), seed=0, progress=seen.append)
    fractions = [at.fraction for at in seen]
    assert fractions == sorted(fractions)
    assert fractions[0] >= 0
    assert fractions[-1] == 1.0
    assert {at.epoch for at in seen} >= set(range(1, len(result.report.loss) + 1))
    assert seen[-1].loss == result.report.final_loss


def test_cancelled_training_raises_and_stops_asking(embedder: GraphEmbedder) -> None:
    asked: list[int] = []

    def cancelled() -> bool:
        asked.append(len(asked))
        return len(asked) >= 2

    with pytest.raises(EmbeddingCancelledError):
        embedder.embed(graph_of(400, clusters(40, 10)), seed=0, cancelled=cancelled)
    assert len(asked) == 2
