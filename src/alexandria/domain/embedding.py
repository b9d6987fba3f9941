"""One vector for each file, and how it was trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from alexandria.domain.arrays import np
from alexandria.domain.errors import InvalidEmbeddingError

if TYPE_CHECKING:
    import numpy.typing as npt

    Float32s = npt.NDArray[np.float32]
    Bools = npt.NDArray[np.bool_]

DIMENSION = 64
"""Length of a vector; every store is opened with it."""

MIN_EDGE_AUC = 0.90
"""Below this the training is reported as not converged."""


@dataclass(frozen=True, slots=True)
class EmbeddingReport:
    """How an embedding was made.

    Attributes:
        method: `node2vec`, or the name of another method.
        seed: What its randomness started from.
        device: `cpu` or `cuda:0`, …
        seconds: Wall time of the training.
        loss: Mean loss of each epoch, in order; empty for methods without epochs and graphs
            without edges.
        edge_auc: Probability that an edge scores above a non-edge, in [0, 1]; None when the graph
            has no edge, or no non-edge, to measure with.
        edges_held_out: Whether `edge_auc` was measured on edges that were not trained on.
        notes: Sentences for the log: a smaller batch, a fall back to the CPU, why the GPU is not full.
    """

    method: str
    seed: int
    device: str
    seconds: float
    loss: tuple[float, ...] = ()
    edge_auc: float | None = None
    edges_held_out: bool = False
    notes: tuple[str, ...] = ()

    @property
    def final_loss(self) -> float | None:
        """Loss of the last epoch, or None when there was none."""
        return self.loss[-1] if self.loss else None

    @property
    def converged(self) -> bool | None:
        """Whether `edge_auc` reached `MIN_EDGE_AUC`; None when there was nothing to measure."""
        return None if self.edge_auc is None else self.edge_auc >= MIN_EDGE_AUC


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingSet:
    """Vectors of all files of one training; only vectors of one set can be compared.

    Attributes:
        paths: Repository-relative posix paths, sorted, unique.
        vectors: Shape (N, 64), float32, finite, read-only, on the CPU. Rows of isolated files are
            zero; no other row is.
        isolated: Shape (N,), bool, read-only: the file has no edge, so its vector says nothing.
        report: How they were made.

    Raises:
        InvalidEmbeddingError: The parts do not fit together, or a vector is not finite.
    """

    paths: tuple[str, ...]
    vectors: Float32s
    isolated: Bools
    report: EmbeddingReport

    def __post_init__(self) -> None:
        n = len(self.paths)
        if self.vectors.shape != (n, DIMENSION) or self.vectors.dtype != np.float32:
            raise InvalidEmbeddingError(
                f"vectors are {self.vectors.dtype} of shape {self.vectors.shape}, not float32 ({n}, {DIMENSION})"
            )
        if self.isolated.shape != (n,) or self.isolated.dtype != np.bool_:
            raise InvalidEmbeddingError(f"the isolated mask is {self.isolated.dtype} of shape {self.isolated.shape}")
        if any(a >= b for a, b in zip(self.paths, self.paths[1:], strict=False)):
            raise InvalidEmbeddingError("paths are not sorted and unique")
        if not np.isfinite(self.vectors).all():
            raise InvalidEmbeddingError("a vector is not finite")
        if not np.array_equal(~self.vectors.any(axis=1), self.isolated):
            raise InvalidEmbeddingError("the zero vectors are not exactly those of the isolated files")
        self.vectors.setflags(write=False)
        self.isolated.setflags(write=False)

    @property
    def num_linked(self) -> int:
        """How many files have an edge, and so a vector that can be searched."""
        return int(np.count_nonzero(~self.isolated))
