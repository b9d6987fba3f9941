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


class RepoReaderMissingError(RepoSourceError):
    """This machine lacks the program that reads such a repository, or has too old a one."""


class SourceTree(Protocol):
    """The files of one repository at one moment, open for reading.

    Attributes:
        commit: Full hash of the commit; empty if a directory is no repository or has none yet.
        dirty: The directory holds changes to that commit, files that it does not know among them.
        files: Size in bytes of every regular file by posix path relative to the root, without what
            the repository's own rules ignore. Of a file that is over the limit for one file the
            size may be a lower bound. At least one.
        skipped: How many entries were left out, by reason: `symlink`, `submodule`,
            `nested_repository`, `special_file` (no regular file), `unreadable_directory`, and for
            their names `path_too_long`, `name_not_utf8`, `control_character` (line breaks and what
            turns the direction of text among them) and `unsafe_name` (`..`, `.git`). So a path of
            `files` can be printed, logged and stored as it is. What is ignored is not counted.
    """

    commit: str
    dirty: bool
    files: Mapping[str, int]
    skipped: Mapping[str, int]

    @abstractmethod
    def read(self, paths: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        """Yield (path, content) in the order asked; draws from `paths` lazily.

        Plain, because it is consumed off the event loop next to the parser. Not for two threads at
        once; in one, several readings may take turns. At most one file's content is held.

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
        stays behind, except what a killed process could not remove. Nothing of the repository is
        ever executed: no hook, filter, or submodule, and nothing that its configuration names.
        Two opens at once never share a directory.

        A directory with a work tree is read as it lies, unless `ref` is given; everything else is
        read from a commit. A directory inside a work tree is read alone, with the work tree's rules.

        Args:
            origin: What to open.
            ref: Branch, tag or full commit hash; empty for the default branch.
            progress: Called with the share that is done, in [0, 1], never falling; must not raise.

        Raises:
            RepoNotFoundError: No such repository, directory or ref.
            NotARepositoryError: The path is no directory.
            EmptyRepositoryError: No file; or no commit yet, where files are read from a commit.
            RepoLimitError: A limit of the settings was passed.
            RepoUnavailableError: The host does not answer. Safe to retry.
            RepoUnsafeError: The host's address must not be asked.
            RepoReaderMissingError: This machine lacks what reads such a repository.
            InvalidRepoUrlError: `ref` has a shape that no branch, tag or commit has.
        """
        ...
