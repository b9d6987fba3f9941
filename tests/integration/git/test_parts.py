"""The parts of the adapter that read what others wrote: progress, faults, names, settings, leftovers."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexandria.adapters.git import GitSource, SourceLimits, sweep_leftovers
from alexandria.adapters.git.command import GitFailedError
from alexandria.adapters.git.faults import explained
from alexandria.adapters.git.listing import Listing, one_line
from alexandria.adapters.git.progress import FetchProgress
from alexandria.adapters.git.scratch import private_directory
from alexandria.domain.repo_url import RepoUrl
from alexandria.ports.repo_source import (
    EmptyRepositoryError,
    RepoLimitError,
    RepoNotFoundError,
    RepoReaderMissingError,
    RepoSourceError,
    RepoUnavailableError,
)

TRANSCRIPT = (
    b"remote: Enumerating objects: 200, done.        \n"
    b"remote: Counting objects:   1% (2/200)        \rremote: Counting objects: 100% (200/200), done.        \n"
    b"remote: Compressing objects:  50% (75/150)        \rremote: Compressing objects: 100% (150/150), done.        \n"
    b"Receiving objects:   0% (1/200)\rReceiving objects:  50% (100/200), 1.20 MiB | 2.40 MiB/s\r"
    b"Receiving objects: 100% (200/200), 2.40 MiB | 2.40 MiB/s, done.\n"
    b"Resolving deltas:   0% (0/20)\rResolving deltas: 100% (20/20), done.\n"
    b"From https://github.com/u/r\n * branch            HEAD       -> FETCH_HEAD\n"
)


def listen(*chunks: bytes) -> tuple[list[float], str]:
    seen: list[float] = []
    progress = FetchProgress(seen.append)
    for chunk in chunks:
        progress.feed(chunk)
    return seen, progress.words


def test_a_fetch_goes_from_counting_to_the_end() -> None:
    seen, words = listen(TRANSCRIPT)
    assert seen == pytest.approx([0.0005, 0.05, 0.075, 0.1, 0.475, 0.85, 1.0])
    assert "FETCH_HEAD" in words
    assert "Receiving" not in words


@settings(max_examples=200)
@given(cuts=st.lists(st.integers(0, len(TRANSCRIPT)), max_size=10).map(sorted))
def test_progress_does_not_depend_on_how_it_is_cut(cuts: list[int]) -> None:
    edges = [0, *cuts, len(TRANSCRIPT)]
    assert listen(*(TRANSCRIPT[a:b] for a, b in itertools.pairwise(edges))) == listen(TRANSCRIPT)


lines = st.sampled_from(
    [b"Receiving objects: ", b"remote: Counting objects: ", b" 99% (", b"999% ", b"-1% ", b"\r", b"\n"]
)


@settings(max_examples=200)
@given(chunks=st.lists(lines | st.binary(max_size=50), max_size=40))
def test_progress_never_falls_and_stays_a_share_whatever_is_said(chunks: list[bytes]) -> None:
    seen, _ = listen(*chunks)
    assert seen == sorted(seen)
    assert all(0 <= share <= 1 for share in seen)


def test_a_line_without_end_is_not_kept() -> None:
    progress = FetchProgress(lambda _: None)
    for _ in range(1000):
        progress.feed(b"x" * 10_000)
    for _ in range(10_000):
        progress.feed(b"a line\n" * 10)
    assert len(progress.words) <= 70_000


@pytest.mark.parametrize(
    ("stderr", "ref", "kind"),
    [
        ("fatal: couldn't find remote ref HEAD", "", EmptyRepositoryError),
        ("fatal: couldn't find remote ref v9", "v9", RepoNotFoundError),
        ("fatal: remote error: upload-pack: not our ref 00", "00", RepoNotFoundError),
        ("error: Server does not allow request for unadvertised object 00", "00", RepoNotFoundError),
        (
            "remote: Repository not found.\nfatal: repository 'https://github.com/u/r.git/' not found",
            "",
            RepoNotFoundError,
        ),
        ("fatal: could not read Username for 'https://github.com': terminal prompts disabled", "", RepoNotFoundError),
        ("fatal: Authentication failed for 'https://github.com/u/r.git/'", "", RepoNotFoundError),
        ("fatal: unable to access 'x': The requested URL returned error: 503", "", RepoUnavailableError),
        ("fatal: unable to access 'x': Failed to connect to github.com port 443", "", RepoUnavailableError),
        ("error: RPC failed; curl 28 Operation too slow\nfatal: expected 'packfile'", "", RepoUnavailableError),
        ("fatal: early EOF\nfatal: fetch-pack: invalid index-pack output", "", RepoUnavailableError),
        ("fatal: Out of memory, malloc failed (tried to allocate 8 bytes)", "", RepoLimitError),
        ("fatal: write error: No space left on device", "", RepoSourceError),
        ("", "", RepoUnavailableError),
    ],
)
def test_each_fault_has_its_error(stderr: str, ref: str, kind: type[RepoSourceError]) -> None:
    error = explained(GitFailedError(128, stderr), "github.com/u/r", ref, SourceLimits())
    assert isinstance(error, kind)


def test_what_the_host_says_does_not_choose_the_error() -> None:
    words = "remote: fatal: couldn't find remote ref HEAD\nremote: No space left on device\nfatal: early EOF"
    error = explained(GitFailedError(128, words), "github.com/u/r", "", SourceLimits())
    assert type(error) is RepoUnavailableError


@settings(max_examples=200)
@given(st.text(max_size=200))
def test_any_text_becomes_one_printable_line(text: str) -> None:
    line = one_line(text, at_most=50)
    assert len(line) <= 50
    assert len(line.splitlines()) <= 1
    assert not any(ord(char) < 32 or ord(char) == 127 for char in line)


@pytest.mark.parametrize(
    "text",
    ["https://user:s3cret@host/x", "fatal: 'https://s3cret@host/x' not found", "http://a:s3cret@h https://b:s3cret@h"],
)
def test_credentials_are_taken_out_of_a_line(text: str) -> None:
    assert "s3cret" not in one_line(text)


@settings(max_examples=300)
@given(st.binary(min_size=1, max_size=40))
def test_any_name_is_either_a_path_that_can_be_printed_and_stored_or_is_counted(name: bytes) -> None:
    listing = Listing(SourceLimits(path_length=30))
    path = listing.path_of(name)
    if path is None:
        assert listing.skipped.total() == 1
        return
    assert path.encode() == name
    assert len(path.splitlines()) == 1
    assert len(name) <= 30
    assert not {"", ".", "..", ".git"} & {part.lower() for part in path.split("/")}


@settings(max_examples=300)
@given(parts=st.lists(st.text(alphabet="aé.\n\u202e\udc80 git", min_size=1, max_size=5), min_size=1, max_size=4))
def test_a_path_stays_or_goes_whether_its_directory_was_looked_at_before_or_not(parts: list[str]) -> None:
    whole, steps = Listing(SourceLimits(path_length=12)), Listing(SourceLimits(path_length=12))
    stays = all(steps.takes("/".join(parts[: i + 1]), below=len("/".join([*parts[:i], ""]))) for i in range(len(parts)))
    assert whole.takes("/".join(parts)) == stays
    assert whole.skipped.total() == steps.skipped.total() == (not stays)


@pytest.mark.parametrize("field", sorted(SourceLimits.__dataclass_fields__))
def test_a_limit_of_nothing_is_a_mistake(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        SourceLimits(**{field: 0})


def test_a_private_directory_is_for_its_user_only_and_goes_with_all_in_it(tmp_path: Path) -> None:
    with private_directory(tmp_path / "parent") as path:
        assert path.stat().st_mode & 0o777 == 0o700
        assert str(os.getpid()) in path.name
        (path / "sub").mkdir()
        (path / "sub" / "read-only").write_bytes(b"x")
        (path / "sub" / "read-only").chmod(0o400)
        (path / "sub").chmod(0o500)
    assert list((tmp_path / "parent").iterdir()) == []


def test_sweeping_leaves_what_is_in_use_and_what_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "someone-else").mkdir()
    (tmp_path / "alexandria-repo-1-being-made").mkdir()
    (tmp_path / "alexandria-repo-2-link").symlink_to(tmp_path / "someone-else")
    left = tmp_path / "alexandria-repo-3-left"
    left.mkdir()
    (left / "lock").write_bytes(b"")
    with private_directory(tmp_path) as used:
        assert sweep_leftovers(tmp_path) == 1
        assert used.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "alexandria-repo-1-being-made",
        "alexandria-repo-2-link",
        "someone-else",
    ]
    assert sweep_leftovers(tmp_path / "missing") == 0


def test_a_place_that_cannot_hold_a_directory_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RepoSourceError, match="no temporary directory"), private_directory(tmp_path / "file"):
        pass


@pytest.mark.parametrize("mirror", ["ftp://host/x", "file:///x", "ssh://host/x", "ext::x://"])
def test_a_mirror_is_a_web_address_or_a_folder(mirror: str) -> None:
    with pytest.raises(ValueError, match="http or https"):
        GitSource(mirror=mirror)


@pytest.mark.parametrize("mirror", ["", "http://127.0.0.1:1"])
async def test_an_old_git_is_refused_for_clones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: str) -> None:
    old = tmp_path / "bin" / "git"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho git version 2.36.9\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(old.parent), prepend=os.pathsep)
    with pytest.raises(RepoReaderMissingError, match=r"2\.37 or newer, and this machine has git version 2\.36\.9"):
        async with GitSource(scratch=tmp_path / "scratch", mirror=mirror).open(RepoUrl.parse("github.com/u/r")):
            pass
