"""The dependency graph: what always holds of it, and how it is made from outcomes."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexandria.domain.errors import InvalidGraphError
from alexandria.domain.graph import DependencyGraph, ImportCounts, UnresolvedImport
from alexandria.domain.imports import EdgeKind, FileOutcome, Outcome, Resolved
from alexandria.domain.language import Language, language_of

PATHS = st.sampled_from([f"{folder}{name}.py" for folder in ("", "a/", "a/b/", "z/") for name in "abcde"])
EDGES = st.lists(st.tuples(PATHS, PATHS, st.sampled_from(EdgeKind)), max_size=60)


def graph_of(edges: list[tuple[str, str, EdgeKind]], extra: Collection[str] = ()) -> DependencyGraph:
    files = {path for a, b, _ in edges for path in (a, b)} | set(extra)
    return DependencyGraph.from_edges(dict.fromkeys(files, Language.PYTHON), edges)


@settings(max_examples=300)
@given(EDGES, st.sets(PATHS))
def test_graph_holds_exactly_the_pairs_given_with_their_strongest_kind(
    edges: list[tuple[str, str, EdgeKind]], extra: set[str]
) -> None:
    graph = graph_of(edges, extra)
    expected: dict[tuple[str, str], EdgeKind] = {}
    for a, b, kind in edges:
        if a != b:
            expected[a, b] = min(kind, expected.get((a, b), kind))
    found = {
        (graph.files[a], graph.files[b]): EdgeKind(kind)
        for a, b, kind in zip(*graph.edges.tolist(), graph.kinds.tolist(), strict=True)
    }
    assert found == expected
    assert graph.num_edges == len(expected)
    assert list(graph.files) == sorted({p for a, b, _ in edges for p in (a, b)} | extra)


@settings(max_examples=200)
@given(EDGES, st.sets(PATHS), st.randoms(use_true_random=False))
def test_graph_does_not_depend_on_the_order_of_its_edges(
    edges: list[tuple[str, str, EdgeKind]], extra: set[str], random: object
) -> None:
    shuffled = list(edges)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # Hypothesis gives a random.Random
    one, other = graph_of(edges, extra), graph_of(shuffled, extra)
    assert one.files == other.files
    assert np.array_equal(one.edges, other.edges)
    assert np.array_equal(one.kinds, other.kinds)


@settings(max_examples=200)
@given(EDGES, st.sets(PATHS))
def test_isolated_files_are_exactly_those_that_no_edge_names(
    edges: list[tuple[str, str, EdgeKind]], extra: set[str]
) -> None:
    graph = graph_of(edges, extra)
    linked = {path for a, b, _ in edges if a != b for path in (a, b)}
    assert {f for f, alone in zip(graph.files, graph.isolated().tolist(), strict=True) if alone} == (
        set(graph.files) - linked
    )


def test_arrays_cannot_be_written_to() -> None:
    graph = graph_of([("a.py", "b.py", EdgeKind.IMPORT)])
    with pytest.raises(ValueError, match="read-only"):
        graph.edges[0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        graph.kinds[0] = 1


def test_edge_to_a_file_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidGraphError, match=r"gone\.py"):
        DependencyGraph.from_edges({"a.py": Language.PYTHON}, [("a.py", "gone.py", EdgeKind.IMPORT)])


@pytest.mark.parametrize(
    ("files", "edges", "kinds", "why"),
    [
        (("b.py", "a.py"), np.empty((2, 0), np.int64), np.empty(0, np.int8), "sorted"),
        (("a.py", "a.py"), np.empty((2, 0), np.int64), np.empty(0, np.int8), "sorted"),
        (("a.py", "b.py"), np.array([[0], [2]]), np.zeros(1, np.int8), "not there"),
        (("a.py", "b.py"), np.array([[-1], [0]]), np.zeros(1, np.int8), "not there"),
        (("a.py", "b.py"), np.array([[1], [1]]), np.zeros(1, np.int8), "itself"),
        (("a.py", "b.py"), np.array([[0, 0], [1, 1]]), np.zeros(2, np.int8), "unique"),
        (("a.py", "b.py"), np.array([[1, 0], [0, 1]]), np.zeros(2, np.int8), "sorted"),
        (("a.py", "b.py"), np.array([[0], [1]]), np.full(1, 9, np.int8), "kind"),
        (("a.py", "b.py"), np.array([[0], [1]]), np.zeros(2, np.int8), r"\(E,\)"),
        (("a.py", "b.py"), np.array([[0], [1]], np.int32), np.zeros(1, np.int8), "int64"),
        (("a.py", "b.py"), np.array([0, 1]), np.zeros(1, np.int8), "int64"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    files: tuple[str, ...], edges: np.ndarray, kinds: np.ndarray, why: str
) -> None:
    with pytest.raises(InvalidGraphError, match=why):
        DependencyGraph(files, (Language.PYTHON,) * len(files), edges, kinds)


def test_a_language_for_each_file_is_demanded() -> None:
    with pytest.raises(InvalidGraphError, match="languages"):
        DependencyGraph(("a.py",), (), np.empty((2, 0), np.int64), np.empty(0, np.int8))


def test_outcomes_become_edges_counts_and_the_list_of_what_was_not_found() -> None:
    languages = {"a.py": Language.PYTHON, "b.py": Language.PYTHON, "c.py": Language.PYTHON}
    outcomes = [
        FileOutcome(
            "b.py",
            (
                Outcome(1, "a", Resolved.INSIDE, EdgeKind.TYPE_ONLY, ("a.py",)),
                Outcome(2, "a", Resolved.INSIDE, EdgeKind.IMPORT, ("a.py", "b.py", "data.json")),
                Outcome(9, "gone", Resolved.UNRESOLVED, reason="no such module"),
                Outcome(4, "os", Resolved.EXTERNAL),
                Outcome(5, "name()", Resolved.DYNAMIC),
                Outcome(6, "./x.css", Resolved.UNSUPPORTED),
                Outcome(0, "Same", Resolved.INSIDE, EdgeKind.IMPLICIT, ("c.py",)),
            ),
        ),
        FileOutcome("a.py", (Outcome(3, "gone2", Resolved.UNRESOLVED, reason="no such module"),)),
    ]
    graph = DependencyGraph.from_outcomes(languages, outcomes)
    pairs = {
        (graph.files[a], graph.files[b]): k for a, b, k in zip(*graph.edges.tolist(), graph.kinds.tolist(), strict=True)
    }
    assert pairs == {("b.py", "a.py"): EdgeKind.IMPORT, ("b.py", "c.py"): EdgeKind.IMPLICIT}
    assert graph.counts == ImportCounts(inside=2, external=1, unresolved=2, dynamic=1, unsupported=1)
    assert graph.counts.unresolved_share == 0.5
    assert graph.unresolved == (
        UnresolvedImport("a.py", 3, "gone2", "no such module"),
        UnresolvedImport("b.py", 9, "gone", "no such module"),
    )


def test_share_of_unresolved_imports_is_zero_when_nothing_is_meant_inside() -> None:
    assert ImportCounts(external=5).unresolved_share == 0.0


@pytest.mark.parametrize(
    ("path", "language"),
    [
        ("a/b.py", Language.PYTHON),
        ("a.pyi", Language.PYTHON),
        ("x/a.d.ts", Language.TYPESCRIPT),
        ("[id].tsx", Language.TYPESCRIPT),
        ("a.test.mjs", Language.JAVASCRIPT),
        ("A.java", Language.JAVA),
        ("a_test.go", Language.GO),
        (".py", None),
        ("dir.py/README", None),
        ("a.PY", None),
        ("Makefile", None),
        ("a.pyc", None),
    ],
)
def test_extension_says_the_language(path: str, language: Language | None) -> None:
    assert language_of(path) is language
