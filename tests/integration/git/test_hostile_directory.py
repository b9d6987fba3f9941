"""Directories that try to run something, to lead outside, or to never end."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from alexandria.adapters.git import DirectorySource, SourceLimits
from alexandria.domain.repo_url import LocalRepo
from alexandria.ports.repo_source import (
    EmptyRepositoryError,
    NotARepositoryError,
    RepoLimitError,
    RepoNotFoundError,
    RepoReaderMissingError,
    RepoSourceError,
)
from support.git_server import commit_all, git, make_repository, processes_with, write_files


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "scratch"
    yield folder
    assert list(folder.glob("*")) == []
    assert processes_with(str(folder)) == []


async def read_all(
    path: Path, scratch: Path, ref: str = "", limits: SourceLimits | None = None
) -> dict[str, bytes | None]:
    async with DirectorySource(scratch=scratch, limits=limits).open(LocalRepo(path), ref=ref) as tree:
        return dict(tree.read(tree.files))


@contextmanager
def unprivileged() -> Iterator[None]:
    """Act as `nobody` where the tests run as root, whom permissions do not bind."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def open_to_all(base: Path, scratch: Path) -> None:
    """Let any user reach `base`, which the test runner keeps private, and write into `scratch`."""
    scratch.mkdir()
    scratch.chmod(0o777)
    for above in [base, *base.parents[:-2]]:
        above.chmod(above.stat().st_mode | 0o055)


HOSTILE_CONFIG = """
[core]
	repositoryformatversion = 0
	bare = false
	fsmonitor = touch {canary}
	hooksPath = {hooks}
	sshCommand = touch {canary}
	gitProxy = touch {canary}
	pager = touch {canary}
	editor = touch {canary}
	askPass = touch {canary}
	alternateRefsCommand = touch {canary}
	worktree = /etc
	attributesFile = {attributes}
	excludesFile = {attributes}
[include]
	path = {pipe}
[filter "evil"]
	clean = touch {canary}; cat
	smudge = touch {canary}; cat
	process = touch {canary}
	required = true
[diff "evil"]
	textconv = touch {canary}; cat
	command = touch {canary}
[diff]
	external = touch {canary}
[merge "evil"]
	driver = touch {canary}
[gpg]
	program = touch {canary}
[credential]
	helper = "!touch {canary}"
[alias]
	status = "!touch {canary}"
	ls-files = "!touch {canary}"
	ls-tree = "!touch {canary}"
	rev-parse = "!touch {canary}"
[uploadpack]
	packObjectsHook = touch {canary}
[extensions]
	partialClone = origin
	worktreeConfig = true
[remote "origin"]
	promisor = true
	url = ext::touch {canary}
	uploadpack = touch {canary}
	vcs = ext
[protocol]
	allow = always
[protocol "ext"]
	allow = always
[status]
	submoduleSummary = true
[submodule]
	recurse = true
[submodule "sub"]
	url = ext::touch {canary}
	update = "!touch {canary}"
"""

GITMODULES = '[submodule "sub"]\n\tpath = sub\n\turl = ext::touch {canary}\n\tupdate = !touch {canary}\n'
HOOKS = [
    "post-index-change",
    "fsmonitor-watchman",
    "post-checkout",
    "pre-commit",
    "reference-transaction",
    "pre-auto-gc",
]


def make_hostile(base: Path) -> tuple[Path, Path]:
    """Make a repository that names a command in every place we know of; return it and what they would make."""
    canary, hooks, pipe = base / "canary", base / "hooks", base / "pipe"
    attributes = base / "attributes"
    attributes.write_text("* filter=evil diff=evil merge=evil\n")
    os.mkfifo(pipe)  # a program that reads the included file waits for ever
    folder = make_repository(
        base / "hostile",
        {
            "a.py": b"import b\n",
            "b.py": b"x = 1\n",
            "gone.py": b"gone\n",
            ".gitattributes": b"* filter=evil diff=evil merge=evil ident\n",
            ".gitmodules": GITMODULES.format(canary=canary).encode(),
        },
    )
    inner = make_repository(folder / "sub", {"inner.py": b"inner\n"})
    git(folder, "update-index", "--add", "--cacheinfo", f"160000,{git(inner, 'rev-parse', 'HEAD')},sub")
    git(folder, "commit", "--quiet", "--message=submodule")
    for place in (hooks, folder / ".git" / "hooks", inner / ".git" / "hooks"):
        for hook in HOOKS:
            write_files(place, {hook: f"#!/bin/sh\ntouch {canary}\n".encode()})
            (place / hook).chmod(0o755)
    config = HOSTILE_CONFIG.format(canary=canary, hooks=hooks, pipe=pipe, attributes=attributes)
    for place in (folder, inner):
        (place / ".git" / "config").write_text(config)
        (place / ".git" / "config.worktree").write_text(config)
        (place / ".git" / "info").mkdir(exist_ok=True)
        (place / ".git" / "info" / "attributes").write_text("* filter=evil diff=evil\n")
    # Same size, other time and content: whoever compares the files with the index must look inside.
    (folder / "a.py").write_bytes(b"import c\n")
    (inner / "inner.py").write_bytes(b"innen\n")
    (folder / "gone.py").unlink()
    return folder, canary


async def test_a_hostile_configuration_runs_nothing_when_the_directory_is_read(tmp_path: Path, scratch: Path) -> None:
    folder, canary = make_hostile(tmp_path)
    async with DirectorySource(scratch=scratch).open(LocalRepo(folder)) as tree:
        assert set(tree.files) == {"a.py", "b.py", ".gitattributes", ".gitmodules"}
        assert dict(tree.skipped) == {"submodule": 1}
        assert tree.dirty
        assert dict(tree.read(["a.py"])) == {"a.py": b"import c\n"}
    assert not canary.exists()


@pytest.mark.parametrize("ref", ["main", "HEAD"])
async def test_a_hostile_configuration_runs_nothing_when_a_commit_is_read(
    tmp_path: Path, scratch: Path, ref: str
) -> None:
    folder, canary = make_hostile(tmp_path)
    assert (await read_all(folder, scratch, ref))["a.py"] == b"import b\n"
    assert (await read_all(folder / ".git", scratch, ref))["a.py"] == b"import b\n"
    assert not canary.exists()


async def test_missing_objects_are_not_fetched_from_where_the_configuration_says(tmp_path: Path, scratch: Path) -> None:
    folder, canary = make_hostile(tmp_path)
    blob = git(tmp_path, "hash-object", "--stdin", stdin=b"x = 1\n")
    (folder / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    files = await read_all(folder, scratch, "main")
    assert files["b.py"] is None
    assert files["a.py"] == b"import b\n"
    assert not canary.exists()


def test_the_traps_work_where_git_is_run_plainly(tmp_path: Path) -> None:
    """Otherwise the tests above would show nothing."""
    folder, canary = make_hostile(tmp_path)
    for config in folder.rglob("config*"):
        if config.is_file():
            text = config.read_text().replace(f"\tpath = {tmp_path / 'pipe'}\n", "")
            config.write_text(text.replace("\tworktree = /etc\n", ""))
    subprocess.run(["git", "status"], cwd=folder, capture_output=True, check=False, timeout=60)
    assert canary.exists()


async def test_ignore_rules_hold_and_deleted_files_are_left_out(tmp_path: Path, scratch: Path) -> None:
    folder = make_repository(
        tmp_path / "x",
        {".gitignore": b"*.log\nbuild/\n", "a.py": b"a", "gone.py": b"g", "sub/.gitignore": b"/local.py\n"},
    )
    (folder / "gone.py").unlink()
    write_files(folder, {"b.log": b"l", "build/c.py": b"c", "new.py": b"n", "sub/local.py": b"l", "sub/other.py": b"o"})
    write_files(folder / ".git" / "info", {"exclude": b"/excluded.py\n"})
    write_files(folder, {"excluded.py": b"e"})
    async with DirectorySource(scratch=scratch).open(LocalRepo(folder)) as tree:
        assert set(tree.files) == {".gitignore", "a.py", "new.py", "sub/.gitignore", "sub/other.py"}
        assert tree.dirty
    async with DirectorySource(scratch=scratch).open(LocalRepo(folder / "sub")) as tree:
        assert set(tree.files) == {".gitignore", "other.py"}
        assert tree.commit == git(folder, "rev-parse", "HEAD")
        assert tree.dirty
    assert set(await read_all(folder / "sub", scratch, "main")) == {".gitignore"}


async def test_only_changes_inside_the_directory_make_it_dirty(tmp_path: Path, scratch: Path) -> None:
    folder = make_repository(tmp_path / "x", {"a.py": b"a", "sub/b.py": b"b"})
    (folder / "a.py").write_bytes(b"changed")
    async with DirectorySource(scratch=scratch).open(LocalRepo(folder / "sub")) as tree:
        assert not tree.dirty
    async with DirectorySource(scratch=scratch).open(LocalRepo(folder)) as tree:
        assert tree.dirty


async def test_a_directory_that_is_ignored_is_read_as_if_alone(tmp_path: Path, scratch: Path) -> None:
    folder = make_repository(tmp_path / "x", {".gitignore": b"vendor/\n", "a.py": b"a"})
    write_files(folder / "vendor" / "pkg", {"b.py": b"b"})
    async with DirectorySource(scratch=scratch).open(LocalRepo(folder / "vendor" / "pkg")) as tree:
        assert (set(tree.files), tree.commit) == ({"b.py"}, "")


async def test_a_commit_without_the_directory_is_not_found(tmp_path: Path, scratch: Path) -> None:
    folder = make_repository(tmp_path / "x", {"a.py": b"a"})
    write_files(folder, {"new/b.py": b"b"})
    with pytest.raises(RepoNotFoundError, match="no directory new"):
        await read_all(folder / "new", scratch, "main")


async def test_a_work_tree_without_a_commit_is_read_as_it_lies(tmp_path: Path, scratch: Path) -> None:
    folder = make_repository(tmp_path / "x")
    with pytest.raises(EmptyRepositoryError):
        await read_all(folder, scratch)
    write_files(folder, {"a.py": b"a"})
    async with DirectorySource(scratch=scratch).open(LocalRepo(folder)) as tree:
        assert (set(tree.files), tree.commit, tree.dirty) == ({"a.py"}, "", True)
    with pytest.raises(RepoNotFoundError):
        await read_all(folder, scratch, "main")


async def test_repositories_inside_are_left_out_and_counted(tmp_path: Path, scratch: Path) -> None:
    outer = make_repository(tmp_path / "x", {"a.py": b"a"})
    make_repository(outer / "nested", {"b.py": b"b"})
    plain = tmp_path / "plain"
    write_files(plain, {"a.py": b"a"})
    make_repository(plain / "nested", {"b.py": b"b"})
    for folder in (outer, plain):
        async with DirectorySource(scratch=scratch).open(LocalRepo(folder)) as tree:
            assert (set(tree.files), dict(tree.skipped)) == ({"a.py"}, {"nested_repository": 1})


async def test_a_linked_work_tree_and_a_submodule_have_their_own_commit(tmp_path: Path, scratch: Path) -> None:
    folder = make_repository(tmp_path / "x", {"a.py": b"1"})
    git(folder, "worktree", "add", "--quiet", "-b", "other", str(tmp_path / "linked"))
    write_files(tmp_path / "linked", {"b.py": b"2"})
    commit = commit_all(tmp_path / "linked")
    async with DirectorySource(scratch=scratch).open(LocalRepo(tmp_path / "linked")) as tree:
        assert (set(tree.files), tree.commit, tree.dirty) == ({"a.py", "b.py"}, commit, False)
    assert set(await read_all(tmp_path / "linked", scratch, "main")) == {"a.py"}


async def test_other_forms_of_index_and_objects_are_read(tmp_path: Path, scratch: Path) -> None:
    split = make_repository(tmp_path / "split", {"a.py": b"a", "b.py": b"b"})
    git(split, "update-index", "--split-index")
    git(split, "pack-refs", "--all")
    git(split, "gc", "--quiet")
    sha256 = tmp_path / "sha256"
    sha256.mkdir()
    git(sha256, "init", "--quiet", "--initial-branch=main", "--object-format=sha256", ".")
    write_files(sha256, {"a.py": b"a", "b.py": b"b"})
    commit_all(sha256)
    sparse = make_repository(tmp_path / "sparse", {"a.py": b"a", "b.py": b"b", "left/out.py": b"o", "in/c.py": b"c"})
    git(sparse, "sparse-checkout", "set", "--cone", "--sparse-index", "in")
    for folder, expected in (
        (split, {"a.py", "b.py"}),
        (sha256, {"a.py", "b.py"}),
        (sparse, {"a.py", "b.py", "in/c.py"}),
    ):
        async with DirectorySource(scratch=scratch).open(LocalRepo(folder)) as tree:
            assert set(tree.files) == expected
            assert tree.commit == git(folder, "rev-parse", "HEAD")
            assert not tree.dirty
        assert expected <= set(await read_all(folder, scratch, "main"))


async def test_another_users_repository_is_read(tmp_path: Path, scratch: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory to another user")
    folder = make_repository(tmp_path / "x", {"a.py": b"a"})
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, 65534, 65534)
    assert await read_all(folder, scratch) == {"a.py": b"a"}
    assert await read_all(folder, scratch, "main") == {"a.py": b"a"}


async def test_paths_that_are_no_directory(tmp_path: Path, scratch: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    os.mkfifo(tmp_path / "fifo")
    for name in ("file", "fifo"):
        with pytest.raises(NotARepositoryError, match="is not a directory"):
            await read_all(tmp_path / name, scratch)
    for name in ("missing", "file/below", "n" * 300):
        with pytest.raises(RepoNotFoundError):
            await read_all(tmp_path / name, scratch)


async def test_a_name_with_a_line_break_stays_one_line_in_the_error(tmp_path: Path, scratch: Path) -> None:
    folder = tmp_path / "a\nb\x1b[31m"
    folder.mkdir()
    with pytest.raises(EmptyRepositoryError) as caught:
        await read_all(folder, scratch)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("kind", ["folder", "work tree"])
async def test_pipes_sockets_and_devices_do_not_hang_and_are_no_files(tmp_path: Path, scratch: Path, kind: str) -> None:
    folder = tmp_path / "x"
    write_files(folder, {"a.py": b"a", "becomes.py": b"b"})
    if kind == "work tree":
        make_repository(folder)
        commit_all(folder)
    os.mkfifo(folder / "pipe.py")
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        os.chdir(folder)  # the address of a socket is short
        listening.bind("socket.py")
        os.chdir(here)
        async with DirectorySource(scratch=scratch).open(LocalRepo(folder)) as tree:
            assert set(tree.files) == {"a.py", "becomes.py"}
            (folder / "becomes.py").unlink()
            os.mkfifo(folder / "becomes.py")
            assert dict(tree.read(tree.files)) == {"a.py": b"a", "becomes.py": None}


@pytest.mark.parametrize("kind", ["folder", "work tree"])
async def test_links_swapped_in_while_reading_lead_nowhere(tmp_path: Path, scratch: Path, kind: str) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "x"
    write_files(outside, {"a.py": b"secret", "deep/a.py": b"secret"})
    write_files(folder, {"a.py": b"a", "sub/a.py": b"a", "sub/deep/a.py": b"a", "gone.py": b"g", "directory.py": b"d"})
    if kind == "work tree":
        make_repository(folder)
        commit_all(folder)
    async with DirectorySource(scratch=scratch).open(LocalRepo(folder)) as tree:
        (folder / "a.py").unlink()
        (folder / "a.py").symlink_to(outside / "a.py")
        shutil.rmtree(folder / "sub")
        (folder / "sub").symlink_to(outside)
        (folder / "gone.py").unlink()
        (folder / "directory.py").unlink()
        (folder / "directory.py").mkdir()
        assert set(dict(tree.read(tree.files)).values()) == {None}
        # The whole directory is moved away and another stands in its place.
        folder.rename(tmp_path / "moved")
        folder.symlink_to(outside)
        assert set(dict(tree.read(tree.files)).values()) == {None}


async def test_files_below_a_directory_that_became_a_link_are_not_listed(tmp_path: Path, scratch: Path) -> None:
    folder = make_repository(tmp_path / "x", {"a.py": b"a", "sub/b.py": b"b"})
    shutil.rmtree(folder / "sub")
    write_files(tmp_path / "outside", {"b.py": b"secret"})
    (folder / "sub").symlink_to(tmp_path / "outside")
    async with DirectorySource(scratch=scratch).open(LocalRepo(folder)) as tree:
        assert set(tree.files) == {"a.py"}
        assert tree.skipped["symlink"] >= 1


@pytest.mark.parametrize("kind", ["folder", "work tree"])
async def test_unreadable_files_have_no_content(tmp_path: Path, scratch: Path, kind: str) -> None:
    folder = tmp_path / "x"
    write_files(folder, {"a.py": b"a", "closed.py": b"c", "sub/b.py": b"b"})
    if kind == "work tree":
        make_repository(folder)
        commit_all(folder)
    async with DirectorySource(scratch=scratch).open(LocalRepo(folder)) as tree:
        (folder / "closed.py").chmod(0)
        (folder / "sub").chmod(0)
        with unprivileged():
            assert dict(tree.read(tree.files)) == {"a.py": b"a", "closed.py": None, "sub/b.py": None}
        (folder / "sub").chmod(0o700)


async def test_an_unreadable_directory_is_counted_and_the_rest_is_read(tmp_path: Path, scratch: Path) -> None:
    folder = tmp_path / "x"
    write_files(folder, {"a.py": b"a", "closed/b.py": b"b"})
    (folder / "closed").chmod(0)
    open_to_all(tmp_path, scratch)
    with unprivileged():
        async with DirectorySource(scratch=scratch).open(LocalRepo(folder)) as tree:
            assert (set(tree.files), dict(tree.skipped)) == ({"a.py"}, {"unreadable_directory": 1})
    (folder / "closed").chmod(0o700)
    folder.chmod(0)
    with unprivileged(), pytest.raises(RepoNotFoundError, match="Permission denied"):
        await read_all(folder, scratch)
    folder.chmod(0o700)


async def test_a_file_that_grew_past_the_limit_has_no_content(tmp_path: Path, scratch: Path) -> None:
    write_files(tmp_path / "x", {"a.py": b"a" * 10})
    async with DirectorySource(scratch=scratch, limits=SourceLimits(file_bytes=10)).open(
        LocalRepo(tmp_path / "x")
    ) as tree:
        assert dict(tree.read(["a.py"])) == {"a.py": b"a" * 10}
        with (tmp_path / "x" / "a.py").open("ab") as file:
            file.write(b"b")
        assert dict(tree.read(["a.py"])) == {"a.py": None}


async def test_a_link_that_leads_round_in_a_circle_ends(tmp_path: Path, scratch: Path) -> None:
    write_files(tmp_path / "x" / "sub", {"a.py": b"a"})
    (tmp_path / "x" / "sub" / "round").symlink_to(tmp_path / "x")
    assert await read_all(tmp_path / "x", scratch) == {"sub/a.py": b"a"}


async def test_a_deep_directory_ends_at_the_limit_of_paths(tmp_path: Path, scratch: Path) -> None:
    folder = tmp_path / "x"
    write_files(folder, {"a.py": b"a"})
    depth = folder
    for _ in range(100):
        depth = depth / ("d" * 12)
    write_files(depth, {"b.py": b"b"})
    async with DirectorySource(scratch=scratch).open(LocalRepo(folder)) as tree:
        assert (set(tree.files), dict(tree.skipped)) == ({"a.py"}, {"path_too_long": 1})


async def test_listing_that_takes_too_long_is_ended(tmp_path: Path, scratch: Path) -> None:
    folder = make_repository(tmp_path / "x", {"a.py": b"a"})
    (folder / ".git" / "index").unlink()
    os.mkfifo(folder / ".git" / "index")  # git waits for somebody to write into it
    with pytest.raises(RepoLimitError) as caught:
        await read_all(folder, scratch, limits=SourceLimits(clone_timeout_s=0.5))
    assert caught.value.limit == "clone_timeout_s"


@pytest.mark.parametrize("broken", ["HEAD", "index", "config"])
async def test_a_broken_repository_says_so_in_one_line(tmp_path: Path, scratch: Path, broken: str) -> None:
    folder = make_repository(tmp_path / "x", {"a.py": b"a"})
    (folder / ".git" / broken).write_bytes(b"[nonsense\n\x1b[31m\xff")
    with pytest.raises(RepoSourceError) as caught:
        await read_all(folder, scratch)
    assert str(caught.value).isprintable()


async def test_a_broken_pointer_to_a_git_directory_is_no_repository(tmp_path: Path, scratch: Path) -> None:
    for number, pointer in enumerate(
        [b"gitdir: /nowhere\n", b"nonsense", b"gitdir: \0\n", b"\xff\xfe", b"gitdir: .\n"]
    ):
        folder = tmp_path / str(number)
        write_files(folder, {".git": pointer, "a.py": b"a"})
        assert await read_all(folder, scratch) == {"a.py": b"a"}


async def test_without_git_a_plain_directory_is_read_and_a_repository_says_what_is_missing(
    tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path / "plain", {"a.py": b"a"})
    folder = make_repository(tmp_path / "x", {"a.py": b"a"})
    monkeypatch.setenv("PATH", str(tmp_path))
    assert await read_all(tmp_path / "plain", scratch) == {"a.py": b"a"}
    with pytest.raises(RepoReaderMissingError, match="install git"):
        await read_all(folder, scratch)


async def test_the_users_environment_and_configuration_have_no_say(
    tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_repository(tmp_path / "x", {"a.py": b"a"})
    other = make_repository(tmp_path / "other", {"other.py": b"o"})
    canary = tmp_path / "canary"
    (tmp_path / ".gitconfig").write_text(f"[core]\n\tfsmonitor = touch {canary}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.fsmonitor")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", f"touch {canary}")
    monkeypatch.setenv("GIT_TRACE", "1")
    assert await read_all(folder, scratch) == {"a.py": b"a"}
    assert await read_all(folder, scratch, "main") == {"a.py": b"a"}
    assert not canary.exists()


async def test_reading_changes_nothing_in_the_repository(tmp_path: Path, scratch: Path) -> None:
    folder = make_repository(tmp_path / "x", {"a.py": b"a", "sub/b.py": b"b"})
    (folder / "a.py").write_bytes(b"b")
    os.utime(folder / "sub" / "b.py", (1, 1))  # git would like to write this into the index
    before = {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}
    await read_all(folder, scratch)
    await read_all(folder, scratch, "main")
    assert {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]} == before


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes, links and users as Unix has them")
