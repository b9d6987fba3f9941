"""Port: the files of a repository at one commit."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeVar

from alexandria.domain.errors import AlexandriaError
from alexandria.domain.repo_url import Origin


class RepoSourceError(AlexandriaError):
    """Root of the errors of this port."""


class RepoNotFoundError(RepoSourceError):
    """There is no such repository, directory or ref, or nobody may read it without a password."""


class NotARepositoryError(RepoSourceError):
    """The path is there and is not a directory."""


class EmptyRepositoryError(RepoSourceError):
    """The repository has no commit yet, or no file."""


class RepoLimitError(RepoSourceError):
    """The repository passes a limit: time, bytes, files.

    Attributes:
        limit: Name of the setting that was passed.
    """

    def __init__(self, message: str, *, limit: str) -> None:
        super().__init__(message)
        self.limit = limit


class RepoUnavailableError(RepoSourceError):
    """The host did not answer, or refused; trying again later may help."""


class RepoUnsafeError(RepoSourceError):
    """The host leads to an address that must not be asked (private network, another host)."""


class SourceTree(Protocol):
    """The files of one repository at one moment, open for reading.

    Attributes:
        commit: Full hash of the commit; empty if a directory is no git repository or has none yet.
        dirty: The directory holds changes to that commit.
        files: Size in bytes of every regular file by posix path relative to the root, without what
            git ignores. Symbolic links, submodules and what is no regular file are not there.
        skipped: How many entries were left out, by reason (`symlink`, `path_too_long`, …).
    """

    commit: str
    dirty: bool
    files: Mapping[str, int]
    skipped: Mapping[str, int]

    @abstractmethod
    def read(self, paths: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        """Yield (path, content) in the order asked; draws from `paths` lazily.

        Plain, because it is consumed off the event loop next to the parser. Not for two threads at
        once. At most one file's content is held.

        Args:
            paths: Keys of `files`.

        Yields:
            The bytes, or None if they cannot be had: no permission, vanished or replaced since, or
            larger than the limit for one file. Never bytes from outside the tree.

        Raises:
            KeyError: A path is not in `files`.
            RepoSourceError: The tree as a whole can no longer be read.
        """
        ...


OriginT_contra = TypeVar("OriginT_contra", bound=Origin, contravariant=True)


class RepoSource(Protocol[OriginT_contra]):
    """Opens repositories of one kind of origin."""

    @abstractmethod
    def open(
        self,
        origin: OriginT_contra,
        *,
        ref: str = "",
        progress: Callable[[float], None] = lambda _: None,
    ) -> AbstractAsyncContextManager[SourceTree]:
        """Open the tree of `origin` at `ref`; leaving the context frees all that it took.

        However the context is left (error, cancellation, Ctrl-C), no process and no temporary file
        stays behind. Nothing of the repository is ever executed: no hook, filter, or submodule.
        Two opens at once never share a directory.

        Args:
            origin: What to open.
            ref: Branch, tag or full commit hash; empty for the default branch.
            progress: Called with the share that is done, in [0, 1], never falling; must not raise.

        Raises:
            RepoNotFoundError: No such repository, directory or ref.
            NotARepositoryError: The path is no directory.
            EmptyRepositoryError: No commit yet, or no file.
            RepoLimitError: A limit of the settings was passed.
            RepoUnavailableError: The host does not answer. Safe to retry.
            RepoUnsafeError: The host's address must not be asked.
        """
        ...
