from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexandria.domain.directions import nearest_rows, unit_rows
from alexandria.domain.reach import depths_from
from alexandria.domain.sorted_paths import index_of, prefix_range

many = settings(max_examples=200)
PATHS = st.lists(st.text("ab/Aä𝄞", max_size=4), unique=True).map(sorted)
FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=32)


@many
@given(st.lists(st.lists(FLOATS, min_size=3, max_size=3), min_size=1, max_size=5))
def test_unit_rows_have_norm_one_whatever_their_size_and_zeros_stay(rows: list[list[float]]) -> None:
    given_rows = np.array(rows, np.float32)
    units = unit_rows(given_rows)
    norms = np.linalg.norm(units.astype(np.float64), axis=1)
    assert units.dtype == np.float32
    assert np.array_equal(norms == 0, ~given_rows.any(axis=1))
    assert np.all((norms == 0) | (abs(norms - 1) < 1e-6))


def test_unit_rows_does_not_change_what_it_is_given() -> None:
    rows = np.array([[3.0, 4.0]], np.float32)
    np.testing.assert_allclose(unit_rows(rows), [[0.6, 0.8]], rtol=1e-6)
    assert rows.tolist() == [[3.0, 4.0]]


@pytest.mark.parametrize("sign", [-1, 1])
def test_rows_that_rounding_takes_beyond_one_are_equal_and_in_order(sign: int) -> None:
    sizes = np.array([1.0, 1.0000002, 1.0000001, 1.0000002], np.float32)
    units = (sign * np.outer(sizes, [1, 0])).astype(np.float32)
    rows, similarities = nearest_rows(units, np.array([1, 0], np.float32), k=4, eligible=np.ones(4, np.bool_))
    assert rows.tolist() == [0, 1, 2, 3]
    assert similarities.tolist() == [sign] * 4


def test_nobody_eligible_is_nobody_near() -> None:
    units = np.eye(3, dtype=np.float32)
    rows, similarities = nearest_rows(units, units[0], k=2, eligible=np.zeros(3, np.bool_))
    assert rows.size == similarities.size == 0


@pytest.mark.parametrize("count", [5, 4096, 10_000])
def test_the_nearest_rows_are_those_of_a_full_sort(count: int) -> None:
    rng = np.random.default_rng(count)
    units = unit_rows(rng.standard_normal((count, 64)))
    units[rng.integers(0, count, count // 5)] = units[0]  # many that are equal
    eligible = rng.random(count) < 0.7
    exact = (units.astype(np.float64) * units[1].astype(np.float64)).sum(axis=1)
    expected = sorted(np.flatnonzero(eligible).tolist(), key=lambda i: (-exact[i], i))
    for k in (1, 3, count):
        rows, similarities = nearest_rows(units, units[1], k=k, eligible=eligible)
        assert rows.tolist() == expected[:k]
        assert similarities.tolist() == np.clip(exact[rows], -1, 1).tolist()


@many
@given(paths=PATHS, prefix=st.text("ab/Aä𝄞", max_size=3))
def test_the_range_of_a_prefix_holds_exactly_what_starts_with_it(paths: list[str], prefix: str) -> None:
    start, stop = prefix_range(paths, prefix)
    assert paths[start:stop] == [path for path in paths if path.startswith(prefix)]


@many
@given(paths=PATHS, path=st.text("ab/Aä𝄞", max_size=4))
def test_index_of_finds_what_is_there(paths: list[str], path: str) -> None:
    assert index_of(paths, path) == (paths.index(path) if path in paths else None)


def test_depths_are_those_of_the_shortest_way_and_minus_one_beyond() -> None:
    tails, heads = np.array([0, 1, 0, 2, 3, 5]), np.array([1, 2, 2, 3, 0, 0])
    assert depths_from(0, tails, heads, num_files=6, limit=2).tolist() == [0, 1, 1, 2, -1, -1]
    assert depths_from(4, tails, heads, num_files=6, limit=5).tolist() == [-1, -1, -1, -1, 0, -1]


def test_a_graph_without_edges_reaches_nothing() -> None:
    none = np.empty(0, np.int64)
    assert depths_from(0, none, none, num_files=1, limit=5).tolist() == [0]
