"""The files of a directory, listed and read so that nothing outside of it is ever touched."""

from __future__ import annotations

import errno
import os
import stat
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from alexandria.adapters.git.layout import is_repository
from alexandria.adapters.git.limits import SourceLimits
from alexandria.adapters.git.listing import NOT_ASKED, Listing, one_line
from alexandria.ports.repo_source import RepoNotFoundError, RepoSourceError, SourceTree

# Without O_NONBLOCK the opening of a pipe waits for its other end, perhaps for ever.
_FILE_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_FILE_FLAGS |= getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)

_NOT_THE_FILES_FAULT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


class FolderTree(SourceTree):
    """A directory as it lies. A context manager: leaving it closes the directory."""

    def __init__(self, root: Path, listing: Listing, limits: SourceLimits, *, commit: str, dirty: bool) -> None:
        listing.check_not_empty(str(root))
        self.commit = commit
        self.dirty = dirty
        self.files: Mapping[str, int] = _Sizes(root, listing.files)
        self.skipped: Mapping[str, int] = dict(listing.skipped)
        self._file_bytes = limits.file_bytes
        self._root = _Root(root)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._root.close()

    def read(self, paths: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        """Read files; see the port."""
        for path in paths:
            if path not in self.files:
                raise KeyError(path)
            yield path, self._content(path)

    def _content(self, path: str) -> bytes | None:
        try:
            descriptor = self._root.open_file(path)
        except OSError as error:
            if error.errno in _NOT_THE_FILES_FAULT:
                raise RepoSourceError(f"the directory can no longer be read: {error.strerror}") from error
            return None  # no permission, gone, or a link stands where a file or a directory was
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > self._file_bytes:
                return None
            content = _read_up_to(descriptor, self._file_bytes + 1, expected=status.st_size)
        except OSError:
            return None  # the disk, or the server behind it, does not give it
        finally:
            os.close(descriptor)
        return content if len(content) <= self._file_bytes else None


class _Sizes(Mapping[str, int]):
    """Sizes by path, sorted. The disk is asked when somebody asks: of most files of a repository nobody does."""

    def __init__(self, root: Path, sizes: Mapping[str, int]) -> None:
        self._root = root
        self._sizes = {path: sizes[path] for path in sorted(sizes)}

    def __getitem__(self, path: str) -> int:
        size = self._sizes[path]
        if size == NOT_ASKED:
            try:
                size = os.lstat(f"{self._root}/{path}").st_size
            except OSError:
                size = 0  # gone since it was listed: whoever reads it will see
            self._sizes[path] = size
        return size

    def __contains__(self, path: object) -> bool:
        return path in self._sizes

    def __iter__(self) -> Iterator[str]:
        return iter(self._sizes)

    def __len__(self) -> int:
        return len(self._sizes)


def _read_up_to(descriptor: int, limit: int, *, expected: int) -> bytes:
    """Read a file to its end, but at most `limit` bytes: it may grow while it is read."""
    content = os.read(descriptor, min(expected + 1, limit))
    if len(content) == expected:
        return content
    parts, left = [content], limit - len(content)
    while left > 0 and (part := os.read(descriptor, min(left, 1 << 20))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def walk_folder(root: Path, limits: SourceLimits, stopped: threading.Event) -> Listing:
    """List a directory that belongs to no repository. Links are not followed; `.git` is left out.

    Raises:
        RepoNotFoundError: It cannot be listed.
        RepoLimitError: Too many entries.
    """
    listing = Listing(limits)
    waiting = [""]
    while waiting and not stopped.is_set():
        prefix = waiting.pop()
        folder = f"{root}/{prefix}"  # text: tens of thousands of `Path`s take longer than the directories
        try:
            with os.scandir(folder) as found:
                entries = {entry.name: entry for entry in found}
        except OSError as error:
            if not prefix:
                raise RepoNotFoundError(f"{one_line(str(root))} cannot be read: {error.strerror}") from error
            listing.skip("unreadable_directory")
            continue
        if entries.pop(".git", None) and prefix and is_repository(Path(folder)):
            listing.skip("nested_repository")
            continue
        for name, entry in entries.items():
            path = prefix + name
            if not listing.takes(path, below=len(prefix)):
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append(f"{path}/")
            elif entry.is_file(follow_symlinks=False):
                listing.files[path] = NOT_ASKED
            else:
                listing.skip("symlink" if entry.is_symlink() else "special_file")
    return listing


def stat_files(root: Path, paths: Iterable[str], listing: Listing, stopped: threading.Event) -> None:
    """Add those of `paths` that are regular files inside `root` to `listing`; what is gone is left out."""
    directories = {"": True}

    def is_inside(folder: str) -> bool:
        known = directories.get(folder)
        if known is None:
            known = is_inside(folder.rpartition("/")[0]) and _is_directory(f"{root}/{folder}")
            directories[folder] = known
        return known

    for path in paths:
        if stopped.is_set():
            return
        if is_inside(path.rpartition("/")[0]):
            _add(listing, path, f"{root}/{path}")
        else:
            listing.skip("symlink")  # a directory of the path is one now


def _add(listing: Listing, path: str, place: str) -> None:
    try:
        status = os.lstat(place)
    except OSError:
        return
    if stat.S_ISREG(status.st_mode):
        listing.files[path] = status.st_size
    elif stat.S_ISLNK(status.st_mode):
        listing.skip("symlink")
    elif stat.S_ISDIR(status.st_mode):
        listing.skip("submodule")  # git knows it as one entry, so it is not a directory of files
    else:
        listing.skip("special_file")


def _is_directory(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


if sys.platform != "win32":

    class _Root:
        """An open directory. Paths are opened part by part from it, so no link can lead out, at any time.

        The directories of the last path stay open: files come sorted, and the next one mostly lies beside it.
        """

        def __init__(self, path: Path) -> None:
            self._closed = False
            self._lock = threading.Lock()
            self._flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            try:
                self._descriptor = os.open(path, self._flags)
            except OSError as error:
                raise RepoSourceError(f"{one_line(str(path))} can no longer be read: {error.strerror}") from error
            self._opened: list[tuple[str, int]] = []  # the directories of the last path, the outermost first
            self._folder = ""  # what they are together

        def open_file(self, path: str) -> int:
            folder, _, name = path.rpartition("/")
            with self._lock:  # once closed, the number may stand for anybody's directory
                if self._closed:
                    raise RepoSourceError("the directory was closed")
                if folder != self._folder:
                    self._enter(folder)
                return os.open(name.encode(), _FILE_FLAGS, dir_fd=self._innermost())

        def _enter(self, folder: str) -> None:
            self._folder = "/"  # none, should one of them not open
            folders = folder.split("/") if folder else []
            common = 0
            for (opened, _), part in zip(self._opened, folders, strict=False):
                if opened != part:
                    break
                common += 1
            self._close_below(common)
            for part in folders[common:]:
                self._opened.append((part, os.open(part.encode(), self._flags, dir_fd=self._innermost())))
            self._folder = folder

        def close(self) -> None:
            with self._lock:
                self._closed = True
                self._close_below(0)
                os.close(self._descriptor)

        def _innermost(self) -> int:
            return self._opened[-1][1] if self._opened else self._descriptor

        def _close_below(self, depth: int) -> None:
            while len(self._opened) > depth:
                os.close(self._opened.pop()[1])

else:

    class _Root:
        """A directory. Paths are resolved and compared: Windows opens nothing relative to a directory."""

        def __init__(self, path: Path) -> None:
            self._path = path.resolve()
            self._closed = False

        def open_file(self, path: str) -> int:
            if self._closed:
                raise RepoSourceError("the directory was closed")
            full = self._path / path
            if not full.resolve(strict=True).is_relative_to(self._path) or full.is_symlink():
                raise PermissionError(path)
            return os.open(full, _FILE_FLAGS)

        def close(self) -> None:
            self._closed = True
