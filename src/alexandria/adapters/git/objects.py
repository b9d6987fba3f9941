"""The files of one commit, read from git's objects: no work tree, so nothing is checked out."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Self

from alexandria.adapters.git.command import Git, kill_group, piped
from alexandria.adapters.git.limits import SourceLimits
from alexandria.adapters.git.listing import Listing
from alexandria.ports.repo_source import RepoLimitError, RepoSourceError, SourceTree

_REGULAR = frozenset({b"100644", b"100755", b"100664"})
_OTHER = {b"120000": "symlink", b"160000": "submodule"}


class ObjectTree(SourceTree):
    """The tree of a commit. A context manager: leaving it ends the process that reads."""

    def __init__(self, git: Git, commit: str, listing: Listing, ids: Mapping[str, bytes], file_bytes: int) -> None:
        self.commit = commit
        self.dirty = False
        self.files: Mapping[str, int] = listing.files
        self.skipped: Mapping[str, int] = listing.skipped
        self._ids = ids
        self._file_bytes = file_bytes
        self._blobs = _BlobReader(git)

    def read(self, paths: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        """Read blobs; see the port."""
        for path in paths:
            size = self.files[path]
            yield path, self._blobs.read(self._ids[path], size) if size <= self._file_bytes else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._blobs.close()


async def list_commit(git: Git, commit: str, *, limits: SourceLimits, folder: str = "", name: str) -> ObjectTree:
    """List the files of `commit` under `folder` (all of it if empty).

    Raises:
        EmptyRepositoryError: There is none.
        RepoLimitError: Too many files, or too many bytes in them.
        GitFailedError: Objects are missing or broken.
    """
    listing = Listing(limits)
    ids: dict[str, bytes] = {}
    total = 0

    def take(record: bytes) -> None:
        nonlocal total
        facts, _, raw_path = record.partition(b"\t")
        mode, _, object_id, size_text = facts.split()
        path = listing.path_of(raw_path)
        if path is None:
            return
        if mode not in _REGULAR:
            listing.skip(_OTHER.get(mode, "special_file"))
            return
        # The host left out a blob that is over the limit, and with it its size.
        size = int(size_text) if size_text.isdigit() else limits.file_bytes + 1
        total += size if size <= limits.file_bytes else 0
        if total > limits.tree_bytes:
            raise RepoLimitError(
                f"the files of {name} have more than {limits.tree_bytes:,} bytes: raise the limit `tree_bytes`",
                limit="tree_bytes",
            )
        listing.files[path] = size
        ids[path] = object_id

    await git.records("ls-tree", "-r", "-z", "--long", "--full-tree", f"{commit}:{folder}", take=take)
    listing.check_not_empty(name)
    return ObjectTree(git, commit, listing, ids, limits.file_bytes)


class _BlobReader:
    """One `git cat-file --batch`, asked for one blob at a time."""

    def __init__(self, git: Git) -> None:
        self._git = git
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._lock = threading.Lock()  # a thread may still read when the event loop closes

    def read(self, object_id: bytes, size: int) -> bytes | None:
        process = self._running()
        requests, answers = piped(process.stdin), piped(process.stdout)
        try:
            os.write(requests.fileno(), object_id + b"\n")  # past the buffer: nothing to flush at the end
            header = answers.readline(200).split()
            if header[1:] == [b"missing"]:
                return None
            if header != [object_id, b"blob", b"%d" % size]:
                raise RepoSourceError("the repository can no longer be read: it was closed, or its objects are broken")
            content = answers.read(size + 1)
        except (OSError, ValueError) as error:
            raise RepoSourceError("the repository can no longer be read: git ended") from error
        if len(content) != size + 1:
            raise RepoSourceError("the repository can no longer be read: an object is cut off")
        return content[:-1]

    def close(self) -> None:
        with self._lock:
            self._closed = True
            process, self._process = self._process, None
        if process is not None:
            kill_group(process.pid)
            process.wait()
            piped(process.stdin).close()
            piped(process.stdout).close()

    def _running(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._closed:
                raise RepoSourceError("the repository was closed")
            if self._process is None:
                self._process = self._git.started_plain("cat-file", "--batch")
            return self._process
