"""Other embedders with the settings of ours, each for an interpreter of its own that has the package."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
DIMENSION, LENGTH, CONTEXT, WALKS, EPOCHS = 64, 20, 10, 10, 10


def _undirected(edge_index: Int64s) -> Int64s:
    both = np.concatenate([edge_index, edge_index[::-1]], axis=1)
    unique: Int64s = np.unique(both, axis=1)
    return unique


def _walks(edge_index: Int64s, num_nodes: int, seed: int) -> list[list[str]]:
    """First-order walks in NumPy, `WALKS` from each linked node, as words for a skip-gram."""
    rng = np.random.default_rng(seed)
    row, col = _undirected(edge_index)
    start = np.searchsorted(row, np.arange(num_nodes + 1))
    degree = np.diff(start)
    at = np.repeat(np.flatnonzero(degree), WALKS)
    path = [at]
    for _ in range(LENGTH - 1):
        at = col[start[at] + (rng.random(len(at)) * degree[at]).astype(np.int64)]
        path.append(at)
    return [[str(node) for node in walk] for walk in rng.permutation(np.stack(path, axis=1)).tolist()]


def gensim(edge_index: Int64s, num_nodes: int, seed: int) -> npt.NDArray[np.float32]:
    """Walks of our own through gensim's Word2Vec: skip-gram, one negative, one thread, as many passes."""
    from gensim.models import Word2Vec  # noqa: PLC0415 - only its own interpreter has it

    model = Word2Vec(
        _walks(edge_index, num_nodes, seed),
        vector_size=DIMENSION,
        window=CONTEXT - 1,
        sg=1,
        negative=1,
        min_count=1,
        sample=0,
        epochs=EPOCHS,
        workers=1,
        seed=seed,
    )
    return _by_number(model.wv.index_to_key, model.wv.vectors, num_nodes)


def pecanpy(edge_index: Int64s, num_nodes: int, seed: int) -> npt.NDArray[np.float32]:
    """PecanPy's SparseOTF walks and its own call of gensim, one thread."""
    from pecanpy.pecanpy import SparseOTF  # noqa: PLC0415 - as above

    graph = SparseOTF(p=1, q=1, workers=1, random_state=seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "edges.tsv"
        np.savetxt(path, edge_index.T, fmt="%d", delimiter="\t")
        graph.read_edg(str(path), weighted=False, directed=False)
    vectors = graph.embed(
        dim=DIMENSION, num_walks=WALKS, walk_length=LENGTH - 1, window_size=CONTEXT - 1, epochs=EPOCHS
    )
    return _by_number(graph.nodes, vectors, num_nodes)


def grape(
    edge_index: Int64s, num_nodes: int, seed: int, *, negatives: int = 1, epochs: int = EPOCHS
) -> npt.NDArray[np.float32]:
    """GRAPE's walks and skip-gram, one thread; what has no counterpart in ours is as GRAPE's Node2Vec ships it.

    One negative a pair, as PyG draws: less work than GRAPE is shipped with, and less learned.

    `ensmallen` is the Rust half of GRAPE and holds all of the training; the Python half, embiggen, only calls it.
    """
    os.environ["RAYON_NUM_THREADS"] = "1"
    from ensmallen import Graph, models  # noqa: PLC0415 - as above; it reads the number of threads when it is imported

    row, col = _undirected(edge_index)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "edges.tsv"
        np.savetxt(path, np.stack([row, col])[:, row < col].T, fmt="%d", delimiter="\t")
        graph = Graph.from_csv(
            directed=False,
            edge_path=str(path),
            edge_list_separator="\t",
            edge_list_header=False,
            sources_column_number=0,
            destinations_column_number=1,
            edge_list_is_complete=False,
            verbose=False,
        )
    model = models.SkipGram(
        embedding_size=DIMENSION,
        walk_length=LENGTH,
        window_size=CONTEXT - 1,
        iterations=WALKS,
        epochs=epochs,
        number_of_negative_samples=negatives,
        return_weight=1.0,
        explore_weight=1.0,
        change_edge_type_weight=1.0,
        change_node_type_weight=1.0,
        max_neighbours=None,
        normalize_by_degree=False,
        learning_rate=0.01,
        learning_rate_decay=0.9,
        central_nodes_embedding_path=None,
        contextual_nodes_embedding_path=None,
        stochastic_downsample_by_degree=False,
        normalize_learning_rate_by_degree=False,
        use_scale_free_distribution=True,
        clipping_value=6.0,
        random_state=seed,
        dtype="f32",
        verbose=False,
    )
    central, _contextual = model.fit_transform(graph)
    return _by_number(graph.get_node_names(), central, num_nodes)


def grape_shipped_negatives(edge_index: Int64s, num_nodes: int, seed: int) -> npt.NDArray[np.float32]:
    """GRAPE with the ten negatives a pair that its Node2Vec is shipped with."""
    return grape(edge_index, num_nodes, seed, negatives=10)


def grape_longer(edge_index: Int64s, num_nodes: int, seed: int) -> npt.NDArray[np.float32]:
    """GRAPE with ten times as many passes: does time bring it to the quality of the others?"""
    return grape(edge_index, num_nodes, seed, epochs=10 * EPOCHS)


def _by_number(names: list[str], vectors: npt.NDArray[np.float32], num_nodes: int) -> npt.NDArray[np.float32]:
    result = np.zeros((num_nodes, DIMENSION), np.float32)
    result[np.array([int(name) for name in names], np.int64)] = vectors
    return result
