"""Indexing and searching: the use cases over memory adapters and a real directory."""

from __future__ import annotations

import asyncio
import gc
import inspect
from collections.abc import Awaitable, Callable, Generator, Iterable
from contextlib import nullcontext
from pathlib import Path

import pytest

from alexandria.adapters.git import DirectorySource
from alexandria.adapters.memory.catalog import MemoryCatalog
from alexandria.adapters.memory.vector_store import MemoryVectorStore
from alexandria.adapters.tree_sitter.parser import TreeSitterParser
from alexandria.application.index import (
    CodeGraph,
    IncompleteUploadError,
    IndexProgress,
    NoSourceFilesError,
    ProgressListener,
    ignore_progress,
    read_code_graph,
)
from alexandria.application.search import (
    IsolatedFileError,
    LostVectorsError,
    NoSuchRepositoryError,
    UnknownFileError,
    close_paths,
    similar_files,
)
from alexandria.domain.errors import InvalidRepoUrlError
from alexandria.domain.graph import DependencyGraph
from alexandria.domain.imports import SourceFacts
from alexandria.domain.job import Phase
from alexandria.domain.language import Language
from alexandria.domain.repo_url import LocalRepo, RepoUrl
from alexandria.domain.selection import Selection
from alexandria.domain.snapshot import Snapshot
from alexandria.ports.catalog import Direction, StaleGenerationError
from alexandria.ports.repo_source import NotARepositoryError, RepoNotFoundError
from alexandria.ports.vector_store import VectorBatch, VectorStoreUnavailableError
from support.memory_library import BrokenEmbedder, MemoryWorld, RandomEmbedder, WaitingEmbedder
from support.trees import SHOP, commit_all, write_tree


@pytest.fixture
def world() -> MemoryWorld:
    return MemoryWorld()


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "shop", SHOP)


async def code_graph_of(
    directory: Path, progress: ProgressListener = ignore_progress, selection: Selection | None = None
) -> CodeGraph:
    return await read_code_graph(
        LocalRepo(directory),
        source=DirectorySource(),
        parser=TreeSitterParser(processes=1),
        selection=selection or Selection(),
        progress=progress,
    )


async def test_index_stores_a_vector_a_file_and_makes_the_graph_searchable(world: MemoryWorld, shop: Path) -> None:
    snapshot = await world.library.index(shop)
    assert snapshot.repo == LocalRepo(shop).key
    assert snapshot.files == 8
    assert snapshot.linked == 6
    assert snapshot.imports.unresolved == 1
    assert snapshot.indexed_at == world.clock.now()
    assert await world.vectors.count(snapshot.repo, snapshot.generation) == 8
    answer = await world.library.similar("shop", "shop/cart.py", k=3)
    assert len(answer) == 3
    assert list(answer) == list(answer.hits)
    assert "tools/alone.py" not in {hit.path for hit in answer.hits}
    assert answer.snapshot == snapshot


async def test_neighbors_are_the_imports_and_the_importers(world: MemoryWorld, shop: Path) -> None:
    await world.library.index(shop)
    answer = await world.library.neighbors("shop", "shop/cart.py")
    assert [file.path for file in answer.imports] == ["shop/money.py", "shop/stock.py"]
    assert [file.path for file in answer.importers] == ["shop/orders.py", "shop/web.py", "tests/test_cart.py"]
    only = await world.library.neighbors("shop", "shop/web.py", directions=[Direction.IMPORTS], depth=2)
    assert {file.path: file.depth for file in only.imports} == {
        "shop/cart.py": 1,
        "shop/orders.py": 1,
        "shop/money.py": 2,
        "shop/stock.py": 2,
    }
    assert only.importers == ()


async def test_commit_and_uncommitted_changes_are_named(world: MemoryWorld, shop: Path) -> None:
    commit = commit_all(shop)
    assert not (first := await world.library.index(shop)).dirty
    assert first.commit == commit
    write_tree(shop, {"shop/new.py": "import shop.cart\n"})
    assert (await world.library.index(shop)).dirty


async def test_a_second_run_replaces_the_first_and_leaves_nothing_of_it(world: MemoryWorld, shop: Path) -> None:
    first = await world.library.index(shop)
    (shop / "shop/web.py").unlink()
    second = await world.library.index(shop)
    assert second.generation > first.generation
    assert await world.vectors.count(first.repo, first.generation) == 0
    assert await world.vectors.count(first.repo, second.generation) == 7
    with pytest.raises(UnknownFileError):
        await world.library.similar("shop", "shop/web.py")


async def test_progress_tells_every_phase_in_order_and_never_falls_back(world: MemoryWorld, shop: Path) -> None:
    steps: list[IndexProgress] = []
    await world.library.index(shop, progress=steps.append)
    phases = [step.phase for step in steps]
    assert sorted(set(phases), key=phases.index) == list(Phase)
    for phase in Phase:
        fractions = [step.fraction for step in steps if step.phase is phase]
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1.0


@pytest.mark.parametrize("fails", [False, True])
async def test_the_collector_rests_while_a_repository_is_read_and_works_again_after(shop: Path, fails: bool) -> None:
    at_work: list[bool] = []

    def listen(step: IndexProgress) -> None:
        if step.phase is Phase.PARSING:
            at_work.append(gc.isenabled())
            if fails:
                raise KeyError("the listener broke")

    with pytest.raises(KeyError) if fails else nullcontext():
        await code_graph_of(shop, listen)
    assert at_work
    assert not any(at_work)
    assert gc.isenabled()


class RememberedParser(TreeSitterParser):
    """Keeps the parsing that it began last."""

    def parse(
        self, files: Iterable[tuple[str, bytes | None]], *, cancelled: Callable[[], bool] = lambda: False
    ) -> Generator[SourceFacts]:
        self.parsing = super().parse(files, cancelled=cancelled)
        return self.parsing


async def test_a_reading_that_fails_has_ended_its_parsers_while_the_error_is_still_held(shop: Path) -> None:
    parser = RememberedParser(processes=1)

    def listen(step: IndexProgress) -> None:
        if step.phase is Phase.PARSING:
            raise KeyError("the listener broke")

    with pytest.raises(KeyError) as held:  # and with it every frame that it passed through
        await read_code_graph(
            LocalRepo(shop), source=DirectorySource(), parser=parser, selection=Selection(), progress=listen
        )
    assert inspect.getgeneratorstate(parser.parsing) == inspect.GEN_CLOSED
    assert held.value.args == ("the listener broke",)


async def test_globs_that_match_nothing_are_told(shop: Path) -> None:
    code = await code_graph_of(shop, selection=Selection(include=("nowhere/",), exclude=("tests/", "*.jaav")))
    assert code.unmatched_globs == ("nowhere/", "*.jaav")


async def test_a_graph_that_is_shown_is_one_short_line(shop: Path) -> None:
    code = await code_graph_of(shop)
    assert len(repr(code)) < 500
    assert "shop/cart.py" not in repr(code)


class ForgetfulStore(MemoryVectorStore):
    """Answers "ok" and keeps nothing: what the count before the activation is there for."""

    async def upload(self, batch: VectorBatch, *, progress: Callable[[float], None] = lambda _: None) -> None:
        progress(1.0)


async def test_a_store_that_kept_less_is_caught_and_nothing_becomes_visible(shop: Path) -> None:
    world = MemoryWorld(vectors=ForgetfulStore())
    with pytest.raises(IncompleteUploadError, match="8 vectors were uploaded and the store holds 0"):
        await world.library.index(shop)
    assert await world.library.repos() == []


async def test_a_failed_run_leaves_the_old_index_whole(world: MemoryWorld, shop: Path) -> None:
    before = await world.library.index(shop)
    hits = (await world.library.similar("shop", "shop/cart.py")).hits
    world.embedder = BrokenEmbedder()
    with pytest.raises(ZeroDivisionError):
        await world.library.index(shop)
    assert await world.library.repo("shop") == before
    assert (await world.library.similar("shop", "shop/cart.py")).hits == hits


async def test_cancelling_stops_the_computing_thread_before_it_returns(shop: Path) -> None:
    world = MemoryWorld(embedder=(embedder := WaitingEmbedder()))
    running = asyncio.create_task(world.library.index(shop))
    await embedder.begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert embedder.stopped
    assert await world.library.repos() == []


async def test_of_two_runs_at_once_the_older_is_refused_and_the_newer_is_visible(shop: Path) -> None:
    world = MemoryWorld(embedder=(waiting := WaitingEmbedder()))
    older = asyncio.create_task(world.library.index(shop))
    await waiting.begun.wait()
    world.embedder = RandomEmbedder()
    newer = await world.library.index(shop)
    waiting.let_go.set()
    with pytest.raises(StaleGenerationError, match="newer run"):
        await older
    assert await world.library.repo("shop") == newer
    assert await world.vectors.count(newer.repo, newer.generation) == 8


async def refused_run(world: MemoryWorld, shop: Path, meanwhile: Callable[[], Awaitable[object]]) -> int:
    """Run until the training waits, do `meanwhile`, then run on into the refusal; return the generation."""
    world.embedder = waiting = WaitingEmbedder()
    run = asyncio.create_task(world.library.index(shop))
    await waiting.begun.wait()
    world.embedder = RandomEmbedder()
    await meanwhile()
    waiting.let_go.set()
    with pytest.raises(StaleGenerationError) as caught:
        await run
    return caught.value.generation


async def test_a_refused_run_leaves_no_vectors_behind(world: MemoryWorld, shop: Path) -> None:
    refused = await refused_run(world, shop, lambda: world.library.index(shop))
    newer = await world.library.repo("shop")
    assert newer.generation > refused
    assert await world.vectors.count(newer.repo, refused) == 0
    assert await world.vectors.count(newer.repo, newer.generation) == 8


async def test_a_run_of_a_repository_that_was_deleted_meanwhile_leaves_no_vectors_behind(
    world: MemoryWorld, shop: Path
) -> None:
    before = await world.library.index(shop)
    refused = await refused_run(world, shop, lambda: world.library.remove("shop"))
    assert await world.library.repos() == []
    assert [await world.vectors.count(before.repo, g) for g in (before.generation, refused)] == [0, 0]


class AnswerIsLost(MemoryCatalog):
    """Activates, and loses the answer until a newer run has announced itself; then the retry is refused."""

    async def activate(self, snapshot: Snapshot, graph: DependencyGraph) -> None:
        await super().activate(snapshot, graph)
        await self.begin(snapshot.repo, snapshot.generation + 1)
        await super().activate(snapshot, graph)


async def test_a_refused_run_that_is_current_all_the_same_keeps_its_vectors(shop: Path) -> None:
    world = MemoryWorld(catalog=AnswerIsLost())
    with pytest.raises(StaleGenerationError):
        await world.library.index(shop)
    assert len(await world.library.similar("shop", "shop/cart.py")) == 5


class NothingIsDiscarded(MemoryVectorStore):
    """Takes vectors and cannot be reached when they are to go."""

    async def discard(self, repo: str, generation: int) -> None:
        raise VectorStoreUnavailableError("the wire is cut")


async def test_what_cannot_be_discarded_is_logged_and_swept_by_the_next(
    shop: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = MemoryWorld(vectors=NothingIsDiscarded())
    refused = await refused_run(world, shop, lambda: world.library.index(shop))
    assert "the wire is cut" in caplog.text
    repo = (await world.library.repo("shop")).repo
    assert await world.vectors.count(repo, refused) == 8
    await world.library.index(shop)
    assert await world.vectors.count(repo, refused) == 0


@pytest.mark.parametrize(
    ("files", "why"),
    [({"README.md": "no code"}, "holds no source file"), ({"node_modules/a/index.js": ""}, "left out by rule")],
)
async def test_a_repository_without_source_files_is_an_error_that_says_so(
    world: MemoryWorld, tmp_path: Path, files: dict[str, str], why: str
) -> None:
    with pytest.raises(NoSourceFilesError, match=why):
        await world.library.index(write_tree(tmp_path, files))


async def test_a_repository_without_any_edge_is_indexed_with_every_file_isolated(
    world: MemoryWorld, tmp_path: Path
) -> None:
    snapshot = await world.library.index(write_tree(tmp_path / "r", {"a.py": "import os\n", "b.py": ""}))
    assert (snapshot.files, snapshot.linked, snapshot.edges) == (2, 0, 0)
    with pytest.raises(IsolatedFileError, match=r"a\.py is isolated"):
        await world.library.similar("r", "a.py")


async def test_include_and_exclude_change_which_files_count(world: MemoryWorld, shop: Path) -> None:
    without_tests = await world.library.index(shop, exclude=["tests/**"])
    assert without_tests.files == 7
    write_tree(shop, {"node_modules/left/index.js": "require('./b')", "node_modules/left/b.js": ""})
    assert (await world.library.index(shop)).files == 8
    assert (await world.library.index(shop, include=["node_modules/left/**"])).files == 10


async def test_unknown_file_is_answered_with_close_names(world: MemoryWorld, shop: Path) -> None:
    await world.library.index(shop)
    with pytest.raises(UnknownFileError) as caught:
        await world.library.similar("shop", "cart.py")
    assert caught.value.suggestions == ("shop/cart.py",)
    with pytest.raises(UnknownFileError, match="not a source file"):
        await world.library.similar("shop", "README.md")
    with pytest.raises(UnknownFileError, match=r"Did you mean shop/stock\.py"):
        await world.library.neighbors("shop", "shop/stok.py")


async def test_vectors_that_the_store_lost_are_said_to_be_lost(world: MemoryWorld, shop: Path) -> None:
    snapshot = await world.library.index(shop)
    await world.vectors.sweep(snapshot.repo, below=snapshot.generation + 1)
    with pytest.raises(LostVectorsError, match=r"lost the vectors of .*: index it again"):
        await world.library.similar("shop", "shop/cart.py")
    with pytest.raises(LostVectorsError):
        await world.library.export("shop")
    with pytest.raises(UnknownFileError):
        await world.library.similar("shop", "cart.py")
    await world.library.index(shop)
    assert (await world.library.similar("shop", "shop/cart.py")).hits


def reads_of(world: MemoryWorld, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list to which each read of the catalog adds its name from now on."""
    reads: list[str] = []

    def counted(name: str) -> None:
        read = getattr(world.catalog, name)

        async def look(*names: str) -> object:
            reads.append(name)
            return await read(*names)

        monkeypatch.setattr(world.catalog, name, look)

    counted("snapshot")
    counted("snapshots")
    return reads


async def test_a_search_asks_once_what_is_current_where_it_has_searched_before(
    world: MemoryWorld, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = await world.library.index(shop)
    first = [await world.library.similar(name, "shop/cart.py") for name in ("", snapshot.repo)]
    reads = reads_of(world, monkeypatch)
    second = [await world.library.similar(name, "shop/cart.py") for name in ("", snapshot.repo)]
    assert second == first
    assert reads == ["snapshots", "snapshot"]


async def test_a_search_is_made_again_where_the_repository_was_indexed_since_the_last(
    world: MemoryWorld, shop: Path
) -> None:
    await world.library.index(shop)
    await world.library.similar("shop", "shop/cart.py", k=100)
    write_tree(shop, {"shop/added.py": "import shop.cart\n", "shop/lonely.py": "import shop.cart\n"})
    now = await world.library.index(shop)
    answer = await world.library.similar("shop", "shop/cart.py", k=100)
    assert answer.snapshot == now
    assert {"shop/added.py", "shop/lonely.py"} <= {hit.path for hit in answer.hits}


async def test_what_a_file_was_in_an_older_generation_is_not_said_of_it(world: MemoryWorld, shop: Path) -> None:
    """A file that was isolated, and one that was not there, when the repository was searched before."""
    write_tree(shop, {"shop/alone.py": ""})
    await world.library.index(shop)
    await world.library.similar("shop", "shop/cart.py")
    write_tree(shop, {"shop/alone.py": "import shop.cart\n", "shop/added.py": "import shop.cart\n"})
    await world.library.index(shop)
    assert (await world.library.similar("shop", "shop/alone.py")).hits
    write_tree(shop, {"shop/alone.py": ""})
    await world.library.index(shop)
    assert (await world.library.similar("shop", "shop/added.py")).hits
    with pytest.raises(IsolatedFileError):
        await world.library.similar("shop", "shop/alone.py")


async def test_a_name_that_fits_another_repository_by_now_is_not_answered_from_memory(
    world: MemoryWorld, tmp_path: Path
) -> None:
    one = await world.library.index(write_tree(tmp_path / "one/shop", SHOP))
    assert (await world.library.similar("", "shop/cart.py")).snapshot == one
    two = await world.library.index(write_tree(tmp_path / "two/shop", SHOP))
    for name in ("", "shop"):
        with pytest.raises(NoSuchRepositoryError):
            await world.library.similar(name, "shop/cart.py")
    await world.library.remove(one.repo)
    for name in ("", "shop"):
        assert (await world.library.similar(name, "shop/cart.py")).snapshot == two
    await world.library.remove(two.repo)
    with pytest.raises(NoSuchRepositoryError, match="nothing is indexed"):
        await world.library.similar("shop", "shop/cart.py")


async def test_the_names_that_a_search_remembers_are_bounded(world: MemoryWorld, shop: Path) -> None:
    snapshot = await world.library.index(shop)
    remembered: dict[str, Snapshot] = {}
    for slashes in range(1_001):
        name = "/" * slashes + "shop"
        await similar_files(name, "shop/cart.py", vectors=world.vectors, catalog=world.catalog, remembered=remembered)
        assert remembered[name] == snapshot
    assert len(remembered) == 1


async def test_search_keeps_to_language_and_prefix(world: MemoryWorld, shop: Path) -> None:
    await world.library.index(shop)
    answer = await world.library.similar("shop", "shop/cart.py", path_prefix="tests/")
    assert [hit.path for hit in answer.hits] == ["tests/test_cart.py"]
    assert (await world.library.similar("shop", "shop/cart.py", languages=[Language.GO])).hits == []


async def test_a_repository_is_named_by_its_key_or_the_end_of_it(world: MemoryWorld, tmp_path: Path) -> None:
    with pytest.raises(NoSuchRepositoryError, match="nothing is indexed"):
        await world.library.repo()
    one = await world.library.index(write_tree(tmp_path / "one/shop", SHOP))
    assert await world.library.repo() == one
    two = await world.library.index(write_tree(tmp_path / "two/shop", SHOP))
    assert await world.library.repo("one/shop") == one
    assert await world.library.repo(two.repo) == two
    with pytest.raises(NoSuchRepositoryError, match="several"):
        await world.library.repo()
    with pytest.raises(NoSuchRepositoryError, match="does not name one"):
        await world.library.repo("shop")
    with pytest.raises(NoSuchRepositoryError, match="does not name one"):
        await world.library.repo("hop")


async def test_export_gives_every_vector_of_the_current_generation(world: MemoryWorld, shop: Path) -> None:
    snapshot = await world.library.index(shop)
    answer = await world.library.export("shop")
    assert answer.snapshot == snapshot
    assert len(answer.vectors.paths) == 8
    assert answer.vectors.isolated.tolist() == [
        path in {"shop/__init__.py", "tools/alone.py"} for path in answer.vectors.paths
    ]


async def test_a_removed_repository_is_gone_from_both_stores(world: MemoryWorld, shop: Path) -> None:
    snapshot = await world.library.index(shop)
    await world.library.remove("shop")
    assert await world.library.repos() == []
    assert await world.vectors.count(snapshot.repo, snapshot.generation) == 0


async def test_explained_file_says_what_became_of_each_import(world: MemoryWorld, shop: Path) -> None:
    code = await world.library.read_graph(shop, explain="shop/orders.py")
    assert code.explained is not None
    became = {outcome.specifier: (outcome.line, str(outcome.resolved)) for outcome in code.explained.outcomes}
    assert became["shop.gone"] == (2, "unresolved")
    assert await world.library.repos() == []


@pytest.mark.parametrize("text", ["nothere", "./nothere", "/nothere/at/all", "~/nothere-at-all", "a/b"])
async def test_a_folder_that_is_not_there_is_said_to_be_missing(world: MemoryWorld, text: str) -> None:
    with pytest.raises(RepoNotFoundError):
        await world.library.index(text)


async def test_a_file_in_place_of_a_folder_is_refused(world: MemoryWorld, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("")
    with pytest.raises(NotARepositoryError):
        await world.library.index(tmp_path / "a.py")


@pytest.mark.parametrize("text", ["http://github.com/a/b", "evil.example.org/a/b", "ftp://x", "git@github.com"])
async def test_an_address_that_is_not_accepted_is_refused(world: MemoryWorld, text: str) -> None:
    with pytest.raises(InvalidRepoUrlError):
        await world.library.index(text)


def test_origin_is_a_folder_if_one_is_there_else_an_address(world: MemoryWorld, tmp_path: Path) -> None:
    assert world.library.origin(str(tmp_path)) == LocalRepo(tmp_path.resolve())
    assert world.library.origin(".") == LocalRepo(Path.cwd())
    assert world.library.origin("github.com/a/b") == RepoUrl("github.com/a/b")
    assert world.library.origin("git@github.com:a/b.git") == RepoUrl("github.com/a/b")
    assert world.library.origin(Path("github.com/a/b")) == LocalRepo(Path("github.com/a/b").resolve())


def test_close_paths_prefer_the_same_name() -> None:
    known = ["a/app.py", "b/app.py", "b/cli.py", "apple.py"]
    assert set(close_paths("app.py", known)) == {"a/app.py", "b/app.py"}
    assert close_paths("b/cly.py", known) == ["b/cli.py"]
    assert close_paths("zzz", known) == []
