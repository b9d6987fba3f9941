from __future__ import annotations

import numpy as np
import pytest

from alexandria.domain.embedding import DIMENSION, MIN_EDGE_AUC, EmbeddingReport, EmbeddingSet
from alexandria.domain.errors import InvalidEmbeddingError

REPORT = EmbeddingReport(method="node2vec", seed=0, device="cpu", seconds=0.1)


def vectors_of(*rows: float) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.repeat(np.array(rows, np.float32)[:, None], DIMENSION, axis=1)


def test_set_counts_linked_files_and_freezes_its_arrays() -> None:
    found = EmbeddingSet(("a", "b", "c"), vectors_of(1, 0, 2), np.array([False, True, False]), REPORT)
    assert found.num_linked == 2
    with pytest.raises(ValueError, match="read-only"):
        found.vectors[0, 0] = 3
    with pytest.raises(ValueError, match="read-only"):
        found.isolated[0] = True


@pytest.mark.parametrize(
    ("paths", "vectors", "isolated", "reason"),
    [
        (("a",), vectors_of(1, 2), np.array([False]), "shape"),
        (("a",), vectors_of(1)[:, :32], np.array([False]), "shape"),
        (("a",), vectors_of(1).astype(np.float64), np.array([False]), "float64"),
        (("a",), vectors_of(1), np.array([0]), "isolated"),
        (("a",), vectors_of(1), np.array([False, False]), "isolated"),
        (("b", "a"), vectors_of(1, 1), np.array([False, False]), "sorted"),
        (("a", "a"), vectors_of(1, 1), np.array([False, False]), "unique"),
        (("a",), vectors_of(float("nan")), np.array([False]), "finite"),
        (("a",), vectors_of(float("inf")), np.array([False]), "finite"),
        (("a",), vectors_of(0), np.array([False]), "zero"),
        (("a",), vectors_of(1), np.array([True]), "zero"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    paths: tuple[str, ...],
    vectors: np.ndarray[tuple[int, int], np.dtype[np.float32]],
    isolated: np.ndarray[tuple[int], np.dtype[np.bool_]],
    reason: str,
) -> None:
    with pytest.raises(InvalidEmbeddingError, match=reason):
        EmbeddingSet(paths, vectors, isolated, REPORT)


def test_set_without_files_is_one() -> None:
    assert EmbeddingSet((), np.zeros((0, DIMENSION), np.float32), np.zeros(0, np.bool_), REPORT).num_linked == 0


@pytest.mark.parametrize(
    ("auc", "converged"), [(None, None), (MIN_EDGE_AUC, True), (1.0, True), (0.8999, False), (0.0, False)]
)
def test_verdict_is_drawn_at_the_least_auc(auc: float | None, converged: bool | None) -> None:
    report = EmbeddingReport(method="node2vec", seed=0, device="cpu", seconds=0.1, edge_auc=auc)
    assert report.converged is converged


def test_final_loss_is_that_of_the_last_epoch() -> None:
    assert REPORT.final_loss is None
    assert EmbeddingReport(method="m", seed=0, device="cpu", seconds=1, loss=(3.0, 2.0)).final_loss == 2.0
