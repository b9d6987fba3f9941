"""The promises of the RepoSource port, kept by every adapter and every way in."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexandria.adapters.git import DirectorySource, GitSource, SourceLimits
from alexandria.domain.errors import InvalidRepoUrlError
from alexandria.domain.repo_url import LocalRepo, Origin, RepoUrl
from alexandria.ports.repo_source import (
    EmptyRepositoryError,
    RepoLimitError,
    RepoNotFoundError,
    RepoSource,
    RepoSourceError,
    SourceTree,
)
from support.git_server import GitServer, commit_all, git, make_repository, processes_with, write_files

REPO = RepoUrl.parse("github.com/owner/name")


@dataclass
class Shelf:
    """One repository that can be written, and the way in that is tested.

    Attributes:
        folder: Write files here, then call `publish`.
        origin: What is opened.
        missing: An origin of the same kind that does not exist.
        make_source: Makes the source; it puts temporary directories into `scratch`.
        after_commit: Makes the commits of `folder` visible at `origin`.
        has_commits: `folder` is a git work tree.
        reads_commits: Files are read from a commit, not as they lie.
    """

    folder: Path
    scratch: Path
    origin: Origin
    missing: Origin
    make_source: Callable[[SourceLimits], RepoSource[Any]]
    after_commit: Callable[[], object] = field(default=lambda: None)
    has_commits: bool = True
    reads_commits: bool = True

    def publish(self, files: Mapping[str, bytes] | None = None) -> str:
        """Write `files` and commit everything in the folder; return the hash, empty without git."""
        write_files(self.folder, files or {})
        commit = commit_all(self.folder) if self.has_commits else ""
        self.after_commit()
        return commit

    def open(
        self,
        *,
        ref: str = "",
        progress: Callable[[float], None] = lambda _: None,
        origin: Origin | None = None,
        **limits: Any,
    ) -> AbstractAsyncContextManager[SourceTree]:
        """Open the repository under `limits`."""
        source = self.make_source(SourceLimits(**limits))
        return source.open(origin or self.origin, ref=ref, progress=progress)


def open_folder(base: Path) -> Iterator[Shelf]:
    folder, scratch = base / "folder", base / "scratch"
    folder.mkdir()
    yield Shelf(
        folder=folder,
        scratch=scratch,
        origin=LocalRepo(folder),
        missing=LocalRepo(base / "missing"),
        make_source=lambda limits: DirectorySource(limits=limits, scratch=scratch),
        has_commits=False,
        reads_commits=False,
    )


def open_work_tree(base: Path) -> Iterator[Shelf]:
    folder, scratch = make_repository(base / "folder"), base / "scratch"
    yield Shelf(
        folder=folder,
        scratch=scratch,
        origin=LocalRepo(folder),
        missing=LocalRepo(base / "missing"),
        make_source=lambda limits: DirectorySource(limits=limits, scratch=scratch),
        reads_commits=False,
    )


def open_bare(base: Path) -> Iterator[Shelf]:
    folder, scratch, bare = make_repository(base / "folder"), base / "scratch", base / "bare.git"
    git(base, "init", "--quiet", "--bare", "--initial-branch=main", str(bare))
    yield Shelf(
        folder=folder,
        scratch=scratch,
        origin=LocalRepo(bare),
        missing=LocalRepo(base / "missing.git"),
        make_source=lambda limits: DirectorySource(limits=limits, scratch=scratch),
        after_commit=lambda: git(folder, "push", "--quiet", "--mirror", str(bare)),
    )


def open_clone_of_folder(base: Path) -> Iterator[Shelf]:
    scratch, mirror = base / "scratch", base / "mirror"
    yield Shelf(
        folder=make_repository(mirror / REPO.key),
        scratch=scratch,
        origin=REPO,
        missing=RepoUrl.parse("github.com/owner/missing"),
        make_source=lambda limits: GitSource(limits=limits, scratch=scratch, mirror=str(mirror)),
    )


def open_clone_over_http(base: Path) -> Iterator[Shelf]:
    scratch, mirror = base / "scratch", base / "mirror"
    folder = make_repository(mirror / REPO.key)
    git(folder, "config", "uploadpack.allowFilter", "true")
    with GitServer(mirror).running() as server:
        yield Shelf(
            folder=folder,
            scratch=scratch,
            origin=REPO,
            missing=RepoUrl.parse("github.com/owner/missing"),
            make_source=lambda limits: GitSource(limits=limits, scratch=scratch, mirror=server.url),
        )


def open_clone_over_http_without_filter(base: Path) -> Iterator[Shelf]:
    for shelf in open_clone_over_http(base):
        git(shelf.folder, "config", "uploadpack.allowFilter", "false")
        yield shelf


ADAPTERS = [
    pytest.param(open_folder, id="folder"),
    pytest.param(open_work_tree, id="work-tree"),
    pytest.param(open_bare, id="bare"),
    pytest.param(open_clone_of_folder, id="clone-of-folder"),
    pytest.param(open_clone_over_http, id="clone-over-http"),
    pytest.param(open_clone_over_http_without_filter, id="clone-over-http-without-filter"),
]


@pytest.fixture(params=ADAPTERS)
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shelf]:
    for opened in request.param(tmp_path):
        yield opened
        assert list(opened.scratch.glob("*")) == []  # whatever the test did
        assert processes_with(str(opened.scratch)) == []


async def contents(opened: AbstractAsyncContextManager[SourceTree]) -> dict[str, bytes | None]:
    async with opened as tree:
        return dict(tree.read(tree.files))


async def fail_inside(opened: AbstractAsyncContextManager[SourceTree]) -> None:
    async with opened as tree:
        assert next(tree.read(["a.py"])) == ("a.py", b"a")
        raise ZeroDivisionError


async def test_every_regular_file_is_there_with_its_size_and_bytes(shelf: Shelf) -> None:
    files = {
        "a.py": b"import os\n",
        "empty.py": b"",
        "nul.py": b"a\0b",
        "latin-1.py": b"# caf\xe9\n",
        "crlf.py": b"x = 1\r\ny = 2\r\n",
        "no newline.py": b"x",
        "missing": b" missing\n",
        "deep/er/still/b.go": b"package b\n",
        "ünïcödé/日本.ts": b"export {}\n",
        "-option.py": b"x\n",
        ".hidden/x.py": b"hidden\n",
        "back\\slash.py": b"y\n",
    }
    shelf.publish(files)
    async with shelf.open() as tree:
        assert dict(tree.files) == {path: len(content) for path, content in files.items()}
        assert dict(tree.read(tree.files)) == files
        assert dict(tree.skipped) == {}


async def test_content_comes_in_the_order_asked_and_as_often_as_asked(shelf: Shelf) -> None:
    shelf.publish({"a.py": b"a", "b.py": b"b", "c.py": b"c"})
    async with shelf.open() as tree:
        assert [path for path, _ in tree.read(["c.py", "a.py", "c.py"])] == ["c.py", "a.py", "c.py"]
        assert list(tree.read(["b.py"])) == [("b.py", b"b")]
        assert list(tree.read([])) == []


async def test_reading_draws_paths_lazily(shelf: Shelf) -> None:
    shelf.publish({"a.py": b"a", "b.py": b"b"})
    drawn = []

    def paths() -> Iterator[str]:
        for path in ("a.py", "b.py"):
            drawn.append(path)
            yield path

    async with shelf.open() as tree:
        reading = tree.read(paths())
        assert drawn == []
        assert next(reading) == ("a.py", b"a")
        assert drawn == ["a.py"]


async def test_two_readings_may_take_turns(shelf: Shelf) -> None:
    files = {f"{folder}/{name}.py": f"{folder}{name}".encode() for folder in ("a", "a/b", "c") for name in "xyz"}
    shelf.publish(files)
    async with shelf.open() as tree:
        there, back = tree.read(sorted(files)), tree.read(sorted(files, reverse=True))
        pairs = list(zip(there, back, strict=True))
    assert [pair[0] for pair in pairs] == sorted(files.items())
    assert [pair[1] for pair in pairs] == sorted(files.items(), reverse=True)


async def test_a_path_that_is_not_in_files_raises_key_error(shelf: Shelf) -> None:
    shelf.publish({"a.py": b"a"})
    async with shelf.open() as tree:
        for path in ("b.py", "../a.py", "/etc/passwd", "", ".", "sub/../a.py"):
            with pytest.raises(KeyError):
                list(tree.read([path]))
        assert list(tree.read(["a.py"])) == [("a.py", b"a")]


async def test_a_tree_that_was_closed_cannot_be_read(shelf: Shelf) -> None:
    shelf.publish({"a.py": b"a"})
    async with shelf.open() as tree:
        assert list(tree.read(["a.py"])) == [("a.py", b"a")]
    with pytest.raises(RepoSourceError, match="closed"):
        list(tree.read(["a.py"]))


async def test_symbolic_links_are_left_out_and_counted(shelf: Shelf) -> None:
    outside = shelf.folder.parent / "outside"
    write_files(outside, {"secret.py": b"secret"})
    (shelf.folder / "inside.py").symlink_to("a.py")
    (shelf.folder / "file.py").symlink_to(outside / "secret.py")
    (shelf.folder / "directory").symlink_to(outside)
    (shelf.folder / "up").symlink_to("..")
    (shelf.folder / "dangling").symlink_to("nowhere")
    shelf.publish({"a.py": b"a"})
    async with shelf.open() as tree:
        assert set(tree.files) == {"a.py"}
        assert dict(tree.skipped) == {"symlink": 5}


async def test_a_file_over_the_limit_is_listed_and_has_no_content(shelf: Shelf) -> None:
    shelf.publish({"at.py": b"x" * 1000, "over.py": b"y" * 1001, "far.py": os.urandom(5000)})
    async with shelf.open(file_bytes=1000) as tree:
        assert tree.files["at.py"] == 1000
        assert tree.files["over.py"] == 1001
        assert tree.files["far.py"] >= 1001
        assert dict(tree.read(tree.files)) == {"at.py": b"x" * 1000, "over.py": None, "far.py": None}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
async def test_names_that_cannot_be_printed_are_left_out_and_counted(shelf: Shelf) -> None:
    bad = ["new\nline.py", "escape\x1b[31m.py", "tab\t.py", "del\x7f.py", "line\u2028.py", "turned\u202eyp.py"]
    write_files(shelf.folder, dict.fromkeys(bad, b"x"))
    (shelf.folder / os.fsdecode(b"latin-\xe9.py")).write_bytes(b"x")
    shelf.publish({"a.py": b"a", "n" * 40: b"long"})
    async with shelf.open(path_length=39) as tree:
        assert set(tree.files) == {"a.py"}
        assert dict(tree.skipped) == {"control_character": len(bad), "name_not_utf8": 1, "path_too_long": 1}


async def test_a_commit_is_named_by_its_full_hash(shelf: Shelf) -> None:
    commit = shelf.publish({"a.py": b"a"})
    async with shelf.open() as tree:
        assert tree.commit == commit
        assert tree.dirty is False


async def test_a_branch_a_tag_and_a_hash_can_be_opened(shelf: Shelf) -> None:
    if not shelf.has_commits:
        pytest.skip("a directory without git has no refs")
    first = shelf.publish({"a.py": b"1"})
    git(shelf.folder, "tag", "v1")
    git(shelf.folder, "tag", "--annotate", "--message=one", "v1-annotated")
    git(shelf.folder, "branch", "feature/x")
    second = shelf.publish({"a.py": b"2"})
    for ref in ("v1", "v1-annotated", "feature/x", first):
        async with shelf.open(ref=ref) as tree:
            assert (tree.commit, dict(tree.read(["a.py"]))) == (first, {"a.py": b"1"})
    async with shelf.open(ref="main") as tree:
        assert (tree.commit, dict(tree.read(["a.py"]))) == (second, {"a.py": b"2"})


async def test_an_unknown_ref_is_not_found(shelf: Shelf) -> None:
    shelf.publish({"a.py": b"a"})
    for ref in ("nowhere", "0" * 40):
        with pytest.raises(RepoNotFoundError, match=ref):
            await contents(shelf.open(ref=ref))


async def test_a_ref_that_names_no_commit_is_not_found(shelf: Shelf) -> None:
    if not shelf.has_commits:
        pytest.skip("a directory without git has no refs")
    shelf.publish({"a.py": b"a"})
    git(shelf.folder, "tag", "blob", git(shelf.folder, "rev-parse", "HEAD:a.py"))
    shelf.after_commit()
    with pytest.raises(RepoNotFoundError, match="blob"):
        await contents(shelf.open(ref="blob"))


@pytest.mark.parametrize("ref", ["--upload-pack=touch x", "-b", "a..b", "HEAD^", "a:b", "a b", "x.lock", "a\nb"])
async def test_a_ref_with_the_shape_of_something_else_is_refused(shelf: Shelf, ref: str) -> None:
    shelf.publish({"a.py": b"a"})
    with pytest.raises(InvalidRepoUrlError):
        await contents(shelf.open(ref=ref))


async def test_what_does_not_exist_is_not_found(shelf: Shelf) -> None:
    shelf.publish({"a.py": b"a"})
    with pytest.raises(RepoNotFoundError):
        await contents(shelf.open(origin=shelf.missing))


async def test_a_repository_without_a_commit_and_without_files_is_empty(shelf: Shelf) -> None:
    with pytest.raises(EmptyRepositoryError):
        await contents(shelf.open())


async def test_a_repository_of_nothing_but_links_is_empty_and_says_why(shelf: Shelf) -> None:
    (shelf.folder / "link").symlink_to("..")
    shelf.publish()
    with pytest.raises(EmptyRepositoryError, match="1 symlink"):
        await contents(shelf.open())


async def test_submodules_are_left_out_and_counted(shelf: Shelf) -> None:
    if not shelf.has_commits:
        pytest.skip("a directory without git has no submodules")
    commit = shelf.publish({"a.py": b"a"})
    (shelf.folder / "sub").mkdir()
    git(shelf.folder, "update-index", "--add", "--cacheinfo", f"160000,{commit},sub")
    git(shelf.folder, "commit", "--quiet", "--message=submodule")
    shelf.after_commit()
    async with shelf.open() as tree:
        assert (set(tree.files), dict(tree.skipped)) == ({"a.py"}, {"submodule": 1})


async def test_more_entries_than_the_limit_are_refused(shelf: Shelf) -> None:
    shelf.publish({f"{n}.py": b"x" for n in range(11)})
    with pytest.raises(RepoLimitError) as caught:
        await contents(shelf.open(files=10))
    assert caught.value.limit == "files"
    async with shelf.open(files=11) as tree:
        assert len(tree.files) == 11


async def test_progress_never_falls_and_ends_at_one(shelf: Shelf) -> None:
    shelf.publish({f"{n}.py": b"%d" % n for n in range(50)})
    seen: list[float] = []
    async with shelf.open(progress=seen.append):
        assert seen == sorted(seen)
        assert all(0 <= share <= 1 for share in seen)
        assert seen[-1] == 1.0


async def test_an_error_inside_the_context_passes_through(shelf: Shelf) -> None:
    shelf.publish({"a.py": b"a"})
    with pytest.raises(ZeroDivisionError):
        await fail_inside(shelf.open())


async def test_cancelling_at_any_step_leaves_nothing(shelf: Shelf) -> None:
    shelf.publish({"a.py": b"a"})
    for steps in range(0, 60, 3):
        opening = asyncio.ensure_future(contents(shelf.open()))
        for _ in range(steps):
            await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait([opening])
        assert list(shelf.scratch.glob("*")) == []
        assert processes_with(str(shelf.scratch)) == []


async def test_a_thread_may_read_while_the_loop_goes_on(shelf: Shelf) -> None:
    files = {f"{n}.py": b"%d" % n for n in range(100)}
    shelf.publish(files)
    async with shelf.open() as tree:
        assert await asyncio.to_thread(lambda: dict(tree.read(tree.files))) == files


paths = st.lists(
    st.text(
        st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="/"), min_size=1, max_size=12
    ),
    min_size=1,
    max_size=4,
).map("/".join)


async def run_job(shelf: Shelf, outcome: str, steps: int) -> None:
    """Clone as a job does, `steps` turns of the loop later than others, and end as `outcome` says."""
    for _ in range(steps):
        await asyncio.sleep(0)
    if outcome == "unknown ref":
        with pytest.raises(RepoNotFoundError):
            await contents(shelf.open(ref="nowhere"))
    elif outcome == "missing":
        with pytest.raises(RepoNotFoundError):
            await contents(shelf.open(origin=shelf.missing))
    elif outcome == "too many files":
        with pytest.raises(RepoLimitError):
            await contents(shelf.open(files=1))
    elif outcome == "failed":
        with pytest.raises(ZeroDivisionError):
            await fail_inside(shelf.open())
    elif outcome == "cancelled":
        job = asyncio.ensure_future(contents(shelf.open()))
        for _ in range(steps):
            await asyncio.sleep(0)
        job.cancel()
        await asyncio.wait([job])
        assert job.cancelled() or job.result() == PUBLISHED  # on a busy machine it may have come first
    else:
        assert await contents(shelf.open()) == PUBLISHED


PUBLISHED = {"a.py": b"a", "deep/b.py": b"b"}
outcomes = st.sampled_from(["finished", "failed", "unknown ref", "missing", "too many files", "cancelled"])
few_steps = st.integers(0, 30)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    for shelf in open_clone_of_folder(tmp_path_factory.mktemp("published")):
        shelf.publish(PUBLISHED)
        yield shelf


@settings(max_examples=100)
@given(starts=st.lists(few_steps, min_size=2, max_size=3))
def test_property_13_concurrent_clones_use_different_directories(published: Shelf, starts: list[int]) -> None:
    async def start(steps: int, stack: AsyncExitStack) -> SourceTree:
        for _ in range(steps):
            await asyncio.sleep(0)
        return await stack.enter_async_context(published.open())

    async def run() -> None:
        async with AsyncExitStack() as stack:
            trees = await asyncio.gather(*(start(steps, stack) for steps in starts))
            assert len(list(published.scratch.iterdir())) == len(starts)
            for tree in trees:
                assert dict(tree.read(tree.files)) == PUBLISHED
        assert list(published.scratch.iterdir()) == []

    asyncio.run(run())


@settings(max_examples=100)
@given(jobs=st.lists(st.tuples(outcomes, few_steps), min_size=1, max_size=2))
def test_property_14_directories_are_gone_after_a_job_finished_or_failed(
    published: Shelf, jobs: list[tuple[str, int]]
) -> None:
    async def run() -> None:
        await asyncio.gather(*(run_job(published, outcome, steps) for outcome, steps in jobs))

    asyncio.run(run())
    assert list(published.scratch.glob("*")) == []
    assert processes_with(str(published.scratch)) == []


@settings(max_examples=100)
@given(files=st.dictionaries(paths, st.binary(max_size=200), min_size=1, max_size=6))
def test_any_files_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    base = tmp_path_factory.mktemp("any")
    written: dict[str, bytes] = {}
    for path, content in files.items():
        names = path.split("/")
        above = {"/".join(names[:depth]) for depth in range(1, len(names))}
        clash = any(other.startswith(f"{path}/") for other in written) or above & written.keys() or path in written
        if clash or any(name.lower() in {".", "..", ".git"} for name in names):
            continue
        written[path] = content
        write_files(base / "x", {path: content})
    if not written:
        return
    make_repository(base / "x")
    commit_all(base / "x")

    async def run() -> None:
        local = DirectorySource(scratch=base / "scratch")
        for ref in ("", "main"):
            assert await contents(local.open(LocalRepo(base / "x"), ref=ref)) == written

    asyncio.run(run())
