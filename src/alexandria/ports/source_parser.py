"""Port: what a source file says of its imports."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Generator, Iterable
from typing import Protocol

from alexandria.domain.errors import AlexandriaError
from alexandria.domain.imports.facts import SourceFacts


class SourceParserError(AlexandriaError):
    """Root of the errors of this port. A file that does not parse is none: it has a status."""


class ParsingCancelledError(SourceParserError):
    """`cancelled()` answered True; the files that were not parsed yet are left."""


class SourceParserUnavailableError(SourceParserError):
    """The parser itself could not be started; the files have no part in it. Safe to retry."""


class SourceParser(Protocol):
    """Reads the imports of source files, on all cores when there are many.

    It computes and does not wait, so it is plain, not async; callers run it off the event loop.

    Attributes:
        max_file_bytes: Larger files are not parsed, so nobody needs to read them.
    """

    max_file_bytes: int

    @abstractmethod
    def parse(
        self,
        files: Iterable[tuple[str, bytes | None]],
        *,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Generator[SourceFacts]:
        """Yield the facts of every file, one for each, in no promised order.

        `files` is drawn from lazily and a bounded number of bytes is held at once, so a repository
        never lies in memory whole. No content makes it raise: what cannot be read, or is over the
        size limit, or is a generated bundle, comes back with that status and without imports, and
        a file with syntax errors comes back with what could be read. Files are independent: one
        that kills or hangs its parser costs only itself. Closing the generator ends what it started.

        Args:
            files: (path, content) of source files: `language_of(path)` is not None. Content None
                says that the bytes could not be had. May be a generator that reads as it goes.
            cancelled: Asked between files; True ends the parsing.

        Raises:
            ParsingCancelledError: `cancelled` answered True. No process of ours goes on.
            SourceParserUnavailableError: No process could be started.
            ValueError: A path has no language.
        """
        ...
