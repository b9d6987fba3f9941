"""The default embedder as a plain function, for runners that know nothing of Alexandria."""

from __future__ import annotations

import json
import os

import numpy as np
import numpy.typing as npt

from alexandria.adapters.pyg.settings import Node2VecSettings
from alexandria.adapters.pyg.training import train


def embed(edge_index: npt.ArrayLike, num_nodes: int, seed: int) -> npt.NDArray[np.float32]:
    """Return vectors, shape (num_nodes, 64), trained with the default settings on the CPU.

    Args:
        edge_index: Shape (2, E), int64.
        num_nodes: Number of nodes.
        seed: At least 0.
    """
    return train(np.asarray(edge_index, np.int64), num_nodes, seed, Node2VecSettings(device="cpu")).vectors


def embed_combined(edge_index: npt.ArrayLike, num_nodes: int, seed: int) -> npt.NDArray[np.float32]:
    """As `embed`, with four trainings combined."""
    return train(np.asarray(edge_index, np.int64), num_nodes, seed, Node2VecSettings(device="cpu", seeds=4)).vectors


def embed_prone(edge_index: npt.ArrayLike, num_nodes: int, seed: int) -> npt.NDArray[np.float32]:
    """As `embed`, in closed form."""
    return train(np.asarray(edge_index, np.int64), num_nodes, seed, Node2VecSettings(method="prone")).vectors


def embed_as_set(edge_index: npt.ArrayLike, num_nodes: int, seed: int) -> npt.NDArray[np.float32]:
    """As `embed`, with the settings of the JSON object in the environment variable ALEXANDRIA_BENCH_SETTINGS."""
    settings = Node2VecSettings(device="cpu", **json.loads(os.environ["ALEXANDRIA_BENCH_SETTINGS"]))
    return train(np.asarray(edge_index, np.int64), num_nodes, seed, settings).vectors
