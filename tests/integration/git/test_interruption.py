"""Clones that are interrupted from outside: Ctrl-C, a kill, a cancelled task."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from alexandria.adapters.git import DirectorySource, GitSource, SourceLimits, sweep_leftovers
from alexandria.domain.repo_url import LocalRepo, RepoUrl
from alexandria.ports.repo_source import RepoSourceError, SourceTree
from support.git_server import GitServer, git, make_repository, processes_with

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")

REPO = RepoUrl.parse("github.com/owner/name")

PROGRAM = """
import asyncio, sys
from pathlib import Path
from alexandria.adapters.git import GitSource, SourceLimits
from alexandria.domain.repo_url import RepoUrl

async def main():
    limits = SourceLimits(stall_timeout_s=float(sys.argv[3]))
    source = GitSource(mirror=sys.argv[1], scratch=Path(sys.argv[2]), limits=limits)
    async with source.open(RepoUrl.parse("github.com/owner/name")) as tree:
        print(next(tree.read(tree.files)), flush=True)
        await asyncio.sleep(3600)

asyncio.run(main())
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    make_repository(tmp_path / "mirror" / REPO.key, {"a.py": b"a"})
    with GitServer(tmp_path / "mirror").running() as running:
        yield running


def wait_until(what: Callable[[], bool]) -> None:
    """Wait for a condition of another process; a minute is for a machine that is busy."""
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline, "it did not come true within a minute"
        time.sleep(0.02)


@contextmanager
def start_clone(server: GitServer, scratch: Path, stall_timeout_s: float = 600) -> Iterator[subprocess.Popen[str]]:
    """Start a program that clones and then waits; a test that fails does not wait for it."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, server.url, str(scratch), str(stall_timeout_s)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        try:
            yield program
        finally:
            program.kill()


def hang(server: GitServer) -> None:
    def answer(_: BaseHTTPRequestHandler) -> None:
        server.closing.wait()

    server.answers["/"] = answer


def test_ctrl_c_in_the_middle_of_a_clone_leaves_nothing(server: GitServer, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    hang(server)
    with start_clone(server, scratch) as program:
        assert server.asked.wait(60)
        assert processes_with(f"GIT_DIR={scratch}") != []
        program.send_signal(signal.SIGINT)
        _, errors = program.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    assert list(scratch.iterdir()) == []
    assert processes_with(f"GIT_DIR={scratch}") == []


def test_ctrl_c_while_files_are_read_leaves_nothing(server: GitServer, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    with start_clone(server, scratch) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "('a.py', b'a')\n"
        assert len(list(scratch.iterdir())) == 1
        program.send_signal(signal.SIGINT)
        program.communicate(timeout=60)
    assert list(scratch.iterdir()) == []
    assert processes_with(f"GIT_DIR={scratch}") == []


def test_what_a_killed_process_leaves_ends_by_itself_and_is_swept(server: GitServer, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    hang(server)
    with start_clone(server, scratch, stall_timeout_s=2) as program:
        assert server.asked.wait(60)
        assert sweep_leftovers(scratch) == 0  # it is alive
        program.kill()
        program.communicate(timeout=60)
    assert len(list(scratch.iterdir())) == 1
    wait_until(lambda: processes_with(f"GIT_DIR={scratch}") == [])
    assert sweep_leftovers(scratch) == 1
    assert list(scratch.iterdir()) == []
    assert sweep_leftovers(scratch) == 0


async def test_a_cancelled_clone_ends_its_processes_before_it_returns(server: GitServer, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    hang(server)
    source = GitSource(mirror=server.url, scratch=scratch)

    async def clone() -> None:
        async with source.open(REPO):
            pass

    running = asyncio.ensure_future(clone())
    assert await asyncio.to_thread(server.asked.wait, 60)
    assert processes_with(f"GIT_DIR={scratch}") != []
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert processes_with(f"GIT_DIR={scratch}") == []
    assert os.listdir(scratch) == []  # noqa: PTH208 - no other way to list is quick and certain in a coroutine


@pytest.mark.parametrize("ref", ["", "main"])
async def test_closing_while_a_thread_reads_ends_the_reading(tmp_path: Path, ref: str) -> None:
    folder = make_repository(tmp_path / "x", {f"{n}.py": os.urandom(100_000) for n in range(20)})
    begun = threading.Event()

    def read_for_ever(tree: SourceTree) -> None:
        while True:
            for _ in tree.read(tree.files):
                begun.set()

    async with DirectorySource(scratch=tmp_path / "scratch").open(LocalRepo(folder), ref=ref) as tree:
        reading = asyncio.create_task(asyncio.to_thread(read_for_ever, tree))
        await asyncio.to_thread(begun.wait)
    with pytest.raises(RepoSourceError):
        await reading


async def test_two_opens_at_once_do_not_disturb_each_other(server: GitServer, tmp_path: Path) -> None:
    git(tmp_path / "mirror" / REPO.key, "branch", "other")
    source = GitSource(mirror=server.url, scratch=tmp_path / "scratch", limits=SourceLimits())
    async with source.open(REPO) as first:
        async with source.open(REPO, ref="other") as second:
            assert dict(second.read(second.files)) == {"a.py": b"a"}
        assert dict(first.read(first.files)) == {"a.py": b"a"}
