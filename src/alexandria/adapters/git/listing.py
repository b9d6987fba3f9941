"""The names that come out of a repository, and which of them go further."""

from __future__ import annotations

import re
from collections import Counter

from alexandria.adapters.git.limits import SourceLimits
from alexandria.ports.repo_source import EmptyRepositoryError, RepoLimitError

# They end a line or turn its direction: one in a log, a table or a terminal says what is not so.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_NOT_UTF8 = re.compile("[\ud800-\udfff]")  # how `surrogateescape` spells such bytes
NOT_ASKED = -1
_NO_NAMES = frozenset({"", ".", "..", ".git"})


class Listing:
    """Collects the entries of one repository.

    Attributes:
        files: Size in bytes by path; `NOT_ASKED` where nobody looked yet.
        skipped: Entries left out, by reason.
    """

    def __init__(self, limits: SourceLimits) -> None:
        self._limits = limits
        self._seen = 0
        self.files: dict[str, int] = {}
        self.skipped: Counter[str] = Counter()

    def path_of(self, name: bytes) -> str | None:
        """Count one more entry and return its path, or None if it is left out for its name.

        Raises:
            RepoLimitError: There are more entries than a repository may have.
        """
        path = name.decode("utf-8", "surrogateescape")
        return path if self.takes(path) else None

    def takes(self, path: str, *, below: int = 0) -> bool:
        """Count one more entry and say whether it stays.

        Args:
            path: Its path; bytes that are not UTF-8 are spelled as `surrogateescape` spells them.
            below: Length of the directory at its start, with the slash, that was taken before.

        Raises:
            RepoLimitError: There are more entries than a repository may have.
        """
        self._seen += 1
        if self._seen > self._limits.files:
            raise RepoLimitError(
                f"the repository has more than {self._limits.files:,} files: raise the limit `files`, or index a part",
                limit="files",
            )
        reason = self._reason_to_skip(path, below)
        if reason:
            self.skip(reason)
        return not reason

    def _reason_to_skip(self, path: str, below: int) -> str:
        length = len(path) if path.isascii() else len(path.encode("utf-8", "surrogateescape"))
        if length > self._limits.path_length:
            return "path_too_long"
        new = path[below:]
        if not new.isprintable():  # a fast look first: nearly all names are
            if _NOT_UTF8.search(new):
                return "name_not_utf8"
            if _CONTROL.search(new):
                return "control_character"
        around = f"/{new}/"
        if ("/." in around or "//" in around) and any(part.lower() in _NO_NAMES for part in new.split("/")):
            return "unsafe_name"
        return ""

    def skip(self, reason: str) -> None:
        """Count an entry as left out."""
        self.skipped[reason] += 1

    def check_not_empty(self, name: str) -> None:
        """Raise `EmptyRepositoryError` if no file was found in the repository `name`."""
        if not self.files:
            left_out = ", ".join(f"{count:,} {reason}" for reason, count in sorted(self.skipped.items()))
            raise EmptyRepositoryError(
                f"{one_line(name)} holds no file that can be read" + (f" (left out: {left_out})" if left_out else "")
            )


def one_line(text: str, *, at_most: int = 300) -> str:
    """Return `text` as one line without control characters and without credentials of URLs."""
    text = re.sub(r"(?<=://)[^/@\s]*@", "", _CONTROL.sub(" ", text))
    text = " ".join(text.split())
    return text if len(text) <= at_most else text[: at_most - 1] + "…"
