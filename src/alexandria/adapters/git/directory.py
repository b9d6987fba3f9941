"""Directories of this machine, read as they lie."""

from __future__ import annotations

import asyncio
import stat
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeVar

from alexandria.adapters.git.command import Git, GitFailedError
from alexandria.adapters.git.folder import FolderTree, stat_files, walk_folder
from alexandria.adapters.git.layout import GitLayout, find_layout, mirror_layout
from alexandria.adapters.git.limits import SourceLimits
from alexandria.adapters.git.listing import Listing, one_line
from alexandria.adapters.git.objects import list_commit
from alexandria.adapters.git.scratch import private_directory
from alexandria.domain.repo_url import LocalRepo, checked_ref
from alexandria.ports.repo_source import (
    EmptyRepositoryError,
    NotARepositoryError,
    RepoLimitError,
    RepoNotFoundError,
    RepoSource,
    RepoSourceError,
    SourceTree,
)

T = TypeVar("T")


class DirectorySource(RepoSource[LocalRepo]):
    """Reads a work tree by git's ignore rules, a bare repository from its commit, other directories by walking.

    The ignore rules are those in the repository (`.gitignore`, `info/exclude`), not a user's own, so
    that everybody gets the same files. A directory that the work tree around it ignores is no part
    of that repository and is walked. Git is needed only where there is a repository.
    """

    def __init__(self, *, limits: SourceLimits | None = None, scratch: Path | None = None) -> None:
        """Set the limits, and where temporary directories go (the system's place by default)."""
        self._limits = limits or SourceLimits()
        self._scratch = scratch or Path(tempfile.gettempdir())

    @asynccontextmanager
    async def open(
        self, origin: LocalRepo, *, ref: str = "", progress: Callable[[float], None] = lambda _: None
    ) -> AsyncIterator[SourceTree]:
        """Open the directory; see the port."""
        checked_ref(ref)
        root = origin.path
        _check_directory(root)
        layout = find_layout(root)
        if layout is None and ref:
            raise RepoNotFoundError(f"{one_line(str(root))} is no git repository, so it has no ref {ref}")
        with private_directory(self._scratch) as scratch, await self._opened(root, layout, scratch, ref) as tree:
            progress(1.0)
            yield tree

    async def _opened(
        self, root: Path, layout: GitLayout | None, scratch: Path, ref: str
    ) -> AbstractContextManager[SourceTree]:
        name = one_line(str(root))
        try:
            async with asyncio.timeout(self._limits.clone_timeout_s):
                if layout is None:
                    return await self._walked(root)
                git = await mirror_layout(layout, scratch, cwd=root, limits=self._limits)
                if ref or layout.work_tree is None:
                    return await self._at_commit(git, root, layout, ref)
                return await self._as_it_lies(git, root, layout)
        except TimeoutError:
            raise RepoLimitError(
                f"{name} could not be listed in {self._limits.clone_timeout_s:g} s: raise the limit `clone_timeout_s`",
                limit="clone_timeout_s",
            ) from None
        except GitFailedError as error:
            raise RepoSourceError(f"git cannot read the repository {name}: {error.last_words}") from error
        except OSError as error:
            raise RepoSourceError(f"{name} cannot be read: {error.strerror or error}") from error

    async def _walked(self, root: Path) -> FolderTree:
        listing = await _in_thread(lambda stopped: walk_folder(root, self._limits, stopped))
        return FolderTree(root, listing, self._limits, commit="", dirty=False)

    async def _as_it_lies(self, git: Git, root: Path, layout: GitLayout) -> FolderTree:
        listing = Listing(self._limits)
        paths: dict[str, None] = {}  # a file in conflict is listed once for each side

        def take(name: bytes) -> None:
            if name.endswith(b"/"):
                listing.skip("nested_repository")
            elif (path := listing.path_of(name)) is not None:
                paths[path] = None

        await git.records("ls-files", "-z", "--cached", "--others", "--exclude-standard", take=take)
        if not paths and root != layout.work_tree:
            return await self._walked(root)
        await _in_thread(lambda stopped: stat_files(root, paths, listing, stopped))
        commit = await _commit_of(git, "HEAD")
        dirty = await _is_dirty(git)
        return FolderTree(root, listing, self._limits, commit=commit, dirty=dirty)

    async def _at_commit(self, git: Git, root: Path, layout: GitLayout, ref: str) -> AbstractContextManager[SourceTree]:
        name = one_line(str(root))
        commit = await _commit_of(git, ref or "HEAD")
        if not commit:
            if ref:
                raise RepoNotFoundError(f"{name} has no branch, tag or commit {ref}")
            raise EmptyRepositoryError(f"{name} has no commit on its default branch yet: name another one, or commit")
        folder = root.relative_to(layout.work_tree).as_posix() if layout.work_tree is not None else "."
        if folder != "." and not await _is_tree(git, f"{commit}:{folder}"):
            raise RepoNotFoundError(f"the commit {commit} has no directory {one_line(folder)}")
        return await list_commit(git, commit, limits=self._limits, folder="" if folder == "." else folder, name=name)


def _check_directory(root: Path) -> None:
    name = one_line(str(root))
    try:
        status = root.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise RepoNotFoundError(f"there is no directory {name}") from None
    except OSError as error:
        raise RepoNotFoundError(f"{name} cannot be read: {error.strerror}") from error
    if not stat.S_ISDIR(status.st_mode):
        raise NotARepositoryError(f"{name} is not a directory: name the directory that holds the code")


async def _commit_of(git: Git, ref: str) -> str:
    """Return the full hash of the commit that `ref` names; empty if there is none."""
    try:
        return await git.output("rev-parse", "--quiet", "--verify", "--end-of-options", f"{ref}^{{commit}}")
    except GitFailedError as error:
        if error.returncode == 1:  # anything worse is 128
            return ""
        raise


async def _is_tree(git: Git, name: str) -> bool:
    try:
        return await git.output("cat-file", "-t", name) == "tree"
    except GitFailedError:
        return False


async def _is_dirty(git: Git) -> bool:
    return bool(
        await git.output(
            "status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=normal", "--ignore-submodules=all", "."
        )
    )


async def _in_thread(work: Callable[[threading.Event], T]) -> T:
    """Run `work` in a thread; on cancellation set its event and wait until it has stopped."""
    stopped = threading.Event()
    running = asyncio.ensure_future(asyncio.to_thread(work, stopped))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        stopped.set()
        await asyncio.wait([running])
        raise
