from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexandria.domain.graph import ImportCounts
from alexandria.domain.language import Language
from alexandria.ports.catalog_row import CatalogRow
from alexandria.ports.packed import PackedLanguages, PackedPaths
from contract.stores import graph_of

TEXTS = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=8)
many = settings(max_examples=200)


@many
@given(st.lists(TEXTS))
def test_paths_come_back_in_their_order(paths: list[str]) -> None:
    packed = PackedPaths.pack(paths)
    assert len(packed) == len(paths)
    assert list(packed) == [packed[i] for i in range(len(paths))] == paths
    assert packed[:] == tuple(paths)
    assert PackedPaths(packed.blob)[::-1] == tuple(reversed(paths))


def test_paths_are_indexed_as_a_tuple_is() -> None:
    packed = PackedPaths.pack(["a", "b", "c"])
    assert (packed[-1], packed[-3], packed[1:]) == ("c", "a", ("b", "c"))
    for index in (3, -4):
        with pytest.raises(IndexError):
            packed[index]


@pytest.mark.parametrize("path", ["a\0b", "\0", "\ud800"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"NUL|surrogates"):
        PackedPaths.pack(["a", path])


@many
@given(st.lists(st.lists(st.sampled_from(Language)), min_size=1, max_size=4))
def test_languages_come_back_also_from_parts_with_other_codes(parts: list[list[Language]]) -> None:
    packed = [PackedLanguages.from_bytes(PackedLanguages.pack(part).to_bytes()) for part in parts]
    whole = PackedLanguages.concatenate(packed)
    expected = [language for part in parts for language in part]
    assert [whole[i] for i in range(len(whole.codes))] == expected
    wanted = {Language.GO, Language.JAVA}
    assert whole.among(wanted).tolist() == [language in wanted for language in expected]


def test_no_language_is_among_none_wanted() -> None:
    packed = PackedLanguages.pack([Language.GO, Language.PYTHON])
    assert not packed.among(()).any()


def test_ten_thousand_files_take_little_more_than_their_paths() -> None:
    rng = np.random.default_rng(0)
    paths = [f"src/package{i // 50}/module{i:05}.py" for i in range(10_000)]
    edges = {(paths[a], paths[b]) for a, b in rng.integers(0, 10_000, (50_000, 2)).tolist() if a != b}
    row = CatalogRow.from_graph(graph_of(edges, files=paths))
    rest = len(row.languages) + len(row.out_degrees) + len(row.targets) + len(row.kinds)
    assert len(row.paths) == sum(len(path) + 1 for path in paths)
    assert rest <= 5 * len(edges) + 5 * len(paths) + 20
    assert row.graph(ImportCounts()).num_edges == len(edges)
