from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alexandria.domain.graph import DependencyGraph, ImportCounts, UnresolvedImport
from alexandria.domain.imports.outcome import EdgeKind
from alexandria.domain.language import Language
from alexandria.ports.catalog import (
    MAX_DEPTH,
    Catalog,
    Direction,
    FileNotIndexedError,
    IndexedFile,
    ReachedFile,
    RepositoryNotFoundError,
    StaleGenerationError,
)
from contract.stores import (
    CATALOGS,
    PATHS,
    degrees_by_hand,
    fresh_repo,
    graph_of,
    graphs,
    reached_by_hand,
    snapshot_of,
    store_directory,
)

# The catalog is shared by the examples of a property; each of them has a repository of its own.
with_examples = settings(
    max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

# app → core → base, app → base, test → app; alone stands by itself
CHAIN = graph_of(
    [("app.py", "core.py"), ("core.py", "base.py"), ("app.py", "base.py"), ("test.py", "app.py")], files=["alone.py"]
)
RING = graph_of([("a", "b"), ("b", "c"), ("c", "d"), ("d", "e"), ("e", "f"), ("f", "g"), ("g", "a")])


@pytest.fixture(params=CATALOGS)
async def catalog(request: pytest.FixtureRequest) -> AsyncIterator[Catalog]:
    with store_directory() as directory:
        async with CATALOGS[request.param](directory) as opened:
            yield opened


async def activate(catalog: Catalog, graph: DependencyGraph, repo: str = "r", generation: int = 1) -> None:
    await catalog.activate(snapshot_of(repo, graph, generation=generation), graph)


async def current(catalog: Catalog, repo: str = "r") -> int | None:
    try:
        return (await catalog.snapshot(repo)).generation
    except RepositoryNotFoundError:
        return None


def same_graph(one: DependencyGraph, other: DependencyGraph) -> bool:
    return (
        (one.files, one.languages, one.counts, one.unresolved)
        == (other.files, other.languages, other.counts, other.unresolved)
        and np.array_equal(one.edges, other.edges)
        and np.array_equal(one.kinds, other.kinds)
    )


# begin


async def test_begin_changes_nothing_that_a_search_sees(catalog: Catalog) -> None:
    await activate(catalog, CHAIN, generation=3)
    await catalog.begin("r", 8)
    assert await current(catalog) == 3
    assert len(await catalog.files("r")) == 5
    await catalog.begin("new", 9)
    with pytest.raises(RepositoryNotFoundError):
        await catalog.snapshot("new")
    assert [s.repo for s in await catalog.snapshots()] == ["r"]


async def test_begin_may_be_repeated(catalog: Catalog) -> None:
    await catalog.begin("r", 5)
    await catalog.begin("r", 5)
    await activate(catalog, CHAIN, generation=5)
    await catalog.begin("r", 5)
    assert await current(catalog) == 5


async def test_after_begin_no_smaller_generation_is_activated(catalog: Catalog) -> None:
    await activate(catalog, CHAIN, generation=3)
    await catalog.begin("r", 7)
    with pytest.raises(StaleGenerationError) as caught:
        await activate(catalog, RING, generation=6)
    assert (caught.value.repo, caught.value.generation, caught.value.fence) == ("r", 6, 7)
    assert await current(catalog) == 3
    await activate(catalog, RING, generation=7)
    assert await current(catalog) == 7


async def test_begin_below_what_was_announced_or_is_current_is_refused(catalog: Catalog) -> None:
    await catalog.begin("announced", 7)
    await activate(catalog, CHAIN, "current", 7)
    for repo in ("announced", "current"):
        with pytest.raises(StaleGenerationError):
            await catalog.begin(repo, 6)


async def test_repositories_have_fences_of_their_own(catalog: Catalog) -> None:
    await catalog.begin("r", 100)
    await activate(catalog, CHAIN, "other", 1)
    assert await current(catalog, "other") == 1


# activate


async def test_activate_makes_the_generation_current_with_all_its_files_and_edges(catalog: Catalog) -> None:
    snapshot = snapshot_of("r", CHAIN, generation=4)
    await catalog.activate(snapshot, CHAIN)
    assert await catalog.snapshot("r") == snapshot
    assert same_graph(await catalog.graph("r"), CHAIN)


async def test_activate_without_begin_is_allowed(catalog: Catalog) -> None:
    await activate(catalog, CHAIN, generation=4)
    assert await current(catalog) == 4


async def test_what_was_current_before_is_gone_after(catalog: Catalog) -> None:
    await activate(catalog, CHAIN, generation=1)
    await activate(catalog, RING, generation=2)
    assert [f.path for f in await catalog.files("r")] == list("abcdefg")
    with pytest.raises(FileNotIndexedError):
        await catalog.neighbors("r", "app.py")


async def test_repeating_the_call_with_the_current_generation_changes_nothing(catalog: Catalog) -> None:
    snapshot = snapshot_of("r", CHAIN, generation=4)
    await catalog.activate(snapshot, CHAIN)
    await catalog.activate(replace(snapshot, indexed_at=snapshot.indexed_at + timedelta(days=1)), CHAIN)
    assert await catalog.snapshot("r") == snapshot


async def test_an_older_generation_than_the_current_one_is_refused(catalog: Catalog) -> None:
    await activate(catalog, CHAIN, generation=4)
    with pytest.raises(StaleGenerationError):
        await activate(catalog, RING, generation=3)
    assert same_graph(await catalog.graph("r"), CHAIN)


@pytest.mark.parametrize("wrong", [{"files": 6}, {"edges": 3}, {"imports": ImportCounts(inside=1)}])
async def test_snapshot_and_graph_must_belong_together(catalog: Catalog, wrong: dict[str, object]) -> None:
    snapshot = replace(snapshot_of("r", CHAIN), **wrong)  # type: ignore[arg-type]  # fields vary by case
    with pytest.raises(ValueError, match="snapshot"):
        await catalog.activate(snapshot, CHAIN)
    assert await current(catalog) is None


@pytest.mark.parametrize("path", ["a\0b.py", "a\udcff.py"])
async def test_a_path_that_is_no_text_without_nul_is_refused(catalog: Catalog, path: str) -> None:
    await activate(catalog, CHAIN)
    with pytest.raises(ValueError, match=r"NUL|surrogates"):
        await activate(catalog, graph_of(files=[path]), generation=2)
    assert await current(catalog) == 1


async def test_readers_see_one_generation_whole_while_others_are_activated(catalog: Catalog) -> None:
    graphs_by_size = {size: graph_of([(f"{i}", f"{i + 1}") for i in range(size)]) for size in range(1, 30)}
    await activate(catalog, graphs_by_size[1])
    stop = asyncio.Event()

    async def read() -> int:
        reads = 0
        while not stop.is_set():
            graph = await catalog.graph("r")
            assert same_graph(graph, graphs_by_size[graph.num_edges])
            reads += 1
            await asyncio.sleep(0)
        return reads

    readers = [asyncio.create_task(read()) for _ in range(3)]
    for size in range(2, 30):
        await activate(catalog, graphs_by_size[size], generation=size)
        await asyncio.sleep(0)
    stop.set()
    assert all(await asyncio.gather(*readers))


async def test_of_runs_at_the_same_time_the_newest_wins(catalog: Catalog) -> None:
    attempts = [activate(catalog, CHAIN, generation=g) for g in (3, 9, 1, 7, 2, 8)]
    results = await asyncio.gather(*attempts, return_exceptions=True)
    assert all(result is None or isinstance(result, StaleGenerationError) for result in results)
    assert await current(catalog) == 9


# snapshot, snapshots


async def test_a_repository_that_is_not_indexed_is_not_found(catalog: Catalog) -> None:
    calls = [
        catalog.snapshot("nobody"),
        catalog.files("nobody"),
        catalog.neighbors("nobody", "a.py"),
        catalog.graph("nobody"),
    ]
    for call in calls:
        with pytest.raises(RepositoryNotFoundError) as caught:
            await call
        assert caught.value.repo == "nobody"


async def test_a_snapshot_without_numbers_of_a_training_comes_back_so(catalog: Catalog) -> None:
    snapshot = replace(snapshot_of("r", CHAIN), final_loss=None, edge_auc=None, commit="", ref="", dirty=False)
    await catalog.activate(snapshot, CHAIN)
    assert await catalog.snapshot("r") == snapshot


async def test_snapshots_come_by_key(catalog: Catalog) -> None:
    for repo in ("b", "a", "Z", "ä"):
        await activate(catalog, CHAIN, repo)
    assert [s.repo for s in await catalog.snapshots()] == ["Z", "a", "b", "ä"]


async def test_an_empty_catalog_has_no_snapshots(catalog: Catalog) -> None:
    assert list(await catalog.snapshots()) == []


@with_examples
@given(graph=graphs(), generation=st.integers(1, 2**53))
async def test_snapshot_and_graph_come_back_as_they_were_given(
    catalog: Catalog, graph: DependencyGraph, generation: int
) -> None:
    snapshot = snapshot_of(fresh_repo(), graph, generation=generation)
    await catalog.activate(snapshot, graph)
    assert await catalog.snapshot(snapshot.repo) == snapshot
    assert same_graph(await catalog.graph(snapshot.repo), graph)


# files


async def test_files_come_in_the_order_of_their_paths_with_their_degrees(catalog: Catalog) -> None:
    await activate(catalog, CHAIN)
    python = Language.PYTHON
    assert list(await catalog.files("r")) == [
        IndexedFile("alone.py", python, imports=0, importers=0),
        IndexedFile("app.py", python, imports=2, importers=1),
        IndexedFile("base.py", python, imports=0, importers=2),
        IndexedFile("core.py", python, imports=1, importers=1),
        IndexedFile("test.py", python, imports=1, importers=0),
    ]
    assert [f.path for f in await catalog.files("r") if f.isolated] == ["alone.py"]


async def test_a_file_names_its_language(catalog: Catalog) -> None:
    await activate(catalog, graph_of(files=["a.go", "b.py"], languages={"a.go": Language.GO}))
    assert [f.language for f in await catalog.files("r")] == [Language.GO, Language.PYTHON]


async def test_files_of_a_repository_without_files_are_none(catalog: Catalog) -> None:
    await activate(catalog, graph_of())
    assert list(await catalog.files("r")) == []


@pytest.mark.parametrize("limit", [0, -5])
async def test_a_limit_below_one_is_refused(catalog: Catalog, limit: int) -> None:
    await activate(catalog, CHAIN)
    with pytest.raises(ValueError, match="limit is"):
        await catalog.files("r", limit=limit)


@with_examples
@given(
    graph=graphs(),
    path_prefix=st.just("") | PATHS.map(lambda path: path[:2]),
    after=st.just("") | PATHS,
    limit=st.integers(1, 12),
)
async def test_files_agree_with_a_plain_list(
    catalog: Catalog, graph: DependencyGraph, path_prefix: str, after: str, limit: int
) -> None:
    snapshot = snapshot_of(fresh_repo(), graph)
    await catalog.activate(snapshot, graph)
    degrees = degrees_by_hand(graph)
    expected = [
        IndexedFile(path, language, *degrees[path])
        for path, language in zip(graph.files, graph.languages, strict=True)
        if path.startswith(path_prefix) and path > after
    ]
    found = await catalog.files(snapshot.repo, path_prefix=path_prefix, after=after, limit=limit)
    assert list(found) == expected[:limit]


@with_examples
@given(graph=graphs(), limit=st.integers(1, 4))
async def test_pages_join_to_all_files(catalog: Catalog, graph: DependencyGraph, limit: int) -> None:
    snapshot = snapshot_of(fresh_repo(), graph)
    await catalog.activate(snapshot, graph)
    paths: list[str] = []
    while page := await catalog.files(snapshot.repo, after=paths[-1] if paths else "", limit=limit):
        paths.extend(file.path for file in page)
    assert paths == list(graph.files)


# neighbors


async def test_imports_are_what_the_file_needs(catalog: Catalog) -> None:
    await activate(catalog, CHAIN)
    found = await catalog.neighbors("r", "test.py", directions=[Direction.IMPORTS])
    assert (found.path, found.importers) == ("test.py", ())
    assert list(found.imports) == [ReachedFile("app.py", Language.PYTHON, 1)]


async def test_importers_are_what_hangs_on_the_file(catalog: Catalog) -> None:
    await activate(catalog, CHAIN)
    found = await catalog.neighbors("r", "base.py", directions=[Direction.IMPORTERS])
    assert (found.path, found.imports) == ("base.py", ())
    assert [(f.path, f.depth) for f in found.importers] == [("app.py", 1), ("core.py", 1)]


async def test_neighbors_come_by_depth_and_then_by_path_each_once_with_its_shortest_depth(catalog: Catalog) -> None:
    await activate(catalog, CHAIN)
    found = (await catalog.neighbors("r", "test.py", depth=3)).imports
    assert [(f.path, f.depth) for f in found] == [("app.py", 1), ("base.py", 2), ("core.py", 2)]


async def test_the_file_itself_is_not_its_neighbor_even_in_a_ring(catalog: Catalog) -> None:
    await activate(catalog, graph_of([("a", "b"), ("b", "c"), ("c", "a")]))
    found = (await catalog.neighbors("r", "a", depth=5)).imports
    assert [(f.path, f.depth) for f in found] == [("b", 1), ("c", 2)]


async def test_no_file_beyond_the_depth_is_reached(catalog: Catalog) -> None:
    await activate(catalog, RING)
    found = (await catalog.neighbors("r", "a", depth=5)).imports
    assert [f.path for f in found] == list("bcdef")


async def test_a_file_without_edges_has_no_neighbors(catalog: Catalog) -> None:
    await activate(catalog, CHAIN)
    found = await catalog.neighbors("r", "alone.py", depth=5)
    assert (found.imports, found.importers) == ([], [])


@pytest.mark.parametrize("depth", [-1, 0, 6])
async def test_a_depth_that_is_not_one_to_five_is_refused(catalog: Catalog, depth: int) -> None:
    await activate(catalog, CHAIN)
    with pytest.raises(ValueError, match="depth is"):
        await catalog.neighbors("r", "app.py", depth=depth)


@pytest.mark.parametrize("path", ["", "app", "app.py/", "APP.PY", "zzz", "a\0", "\udcff"])
async def test_a_path_that_is_not_among_the_files_is_not_indexed(catalog: Catalog, path: str) -> None:
    await activate(catalog, CHAIN)
    with pytest.raises(FileNotIndexedError) as caught:
        await catalog.neighbors("r", path)
    assert (caught.value.repo, caught.value.path) == ("r", path)


@with_examples
@given(graph=graphs().filter(lambda g: g.num_files > 0), data=st.data())
async def test_neighbors_agree_with_a_walk_by_hand(
    catalog: Catalog, graph: DependencyGraph, data: st.DataObject
) -> None:
    snapshot = snapshot_of(fresh_repo(), graph)
    await catalog.activate(snapshot, graph)
    path = data.draw(st.sampled_from(graph.files))
    depth = data.draw(st.integers(1, MAX_DEPTH))
    language_of = dict(zip(graph.files, graph.languages, strict=True))
    neighbors = await catalog.neighbors(snapshot.repo, path, depth=depth)
    assert neighbors.snapshot == snapshot
    for found, backwards in ((neighbors.imports, False), (neighbors.importers, True)):
        expected = reached_by_hand(graph, path, depth, backwards=backwards)
        assert [(f.depth, f.path) for f in found] == sorted((d, p) for p, d in expected.items())
        assert all(f.language == language_of[f.path] for f in found)


# graph


async def test_unresolved_imports_are_not_kept_and_their_count_is(catalog: Catalog) -> None:
    counts = ImportCounts(inside=3, external=4, unresolved=1, dynamic=5, unsupported=6)
    languages = {"a.py": Language.PYTHON}
    graph = DependencyGraph.from_edges(languages, [], counts, [UnresolvedImport("a.py", 3, "x", "no such file")])
    await activate(catalog, graph)
    kept = await catalog.graph("r")
    assert kept.unresolved == ()
    assert kept.counts == counts


async def test_kinds_of_edges_are_kept(catalog: Catalog) -> None:
    languages = {f"{kind}.py": Language.PYTHON for kind in EdgeKind} | {"x.py": Language.PYTHON}
    graph = DependencyGraph.from_edges(languages, [("x.py", f"{kind}.py", kind) for kind in EdgeKind])
    await activate(catalog, graph)
    assert (await catalog.graph("r")).kinds.tolist() == list(EdgeKind)


async def test_a_graph_without_files_is_kept(catalog: Catalog) -> None:
    await activate(catalog, graph_of())
    assert (await catalog.graph("r")).num_files == 0


async def test_a_graph_that_was_read_cannot_change_the_catalog(catalog: Catalog) -> None:
    await activate(catalog, CHAIN)
    first = await catalog.graph("r")
    with pytest.raises(ValueError, match="read-only"):
        first.edges[0, 0] = 4


# delete, check


async def test_delete_forgets_the_repository_and_no_other(catalog: Catalog) -> None:
    await activate(catalog, CHAIN, "r")
    await activate(catalog, CHAIN, "other")
    await catalog.delete("r")
    assert await current(catalog, "r") is None
    assert [s.repo for s in await catalog.snapshots()] == ["other"]


async def test_delete_of_what_is_not_there_is_no_error(catalog: Catalog) -> None:
    assert await catalog.delete("r") == 0
    assert await catalog.delete("r") == 0
    assert await current(catalog) is None


async def test_delete_answers_the_smallest_generation_that_is_not_refused_however_often(catalog: Catalog) -> None:
    await activate(catalog, CHAIN, generation=5)
    await activate(catalog, CHAIN, "other", generation=50)
    assert [await catalog.delete("r") for _ in range(3)] == [6, 6, 6]
    await catalog.begin("r", 9)
    assert await catalog.delete("r") == 10
    await activate(catalog, CHAIN, generation=10)


@pytest.mark.parametrize("generation", [4, 5, 7])
async def test_what_was_announced_or_current_before_a_delete_is_refused_after(
    catalog: Catalog, generation: int
) -> None:
    await activate(catalog, CHAIN, generation=5)
    await catalog.begin("r", 7)
    await catalog.delete("r")
    with pytest.raises(StaleGenerationError):
        await activate(catalog, CHAIN, generation=generation)
    with pytest.raises(StaleGenerationError):
        await catalog.begin("r", generation)
    assert await current(catalog) is None


async def test_a_run_that_begins_after_a_delete_is_activated_however_often_it_was_deleted(catalog: Catalog) -> None:
    await activate(catalog, CHAIN, generation=5)
    for _ in range(3):
        await catalog.delete("r")
    await catalog.begin("r", 6)
    await activate(catalog, RING, generation=6)
    assert await current(catalog) == 6


async def test_check_of_a_catalog_that_answers_says_nothing(catalog: Catalog) -> None:
    await catalog.check()
    assert list(await catalog.snapshots()) == []
