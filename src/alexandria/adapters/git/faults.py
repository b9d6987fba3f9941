"""What it means when a fetch fails, by git's own words (it runs with LC_ALL=C)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from alexandria.adapters.git.command import GitFailedError
from alexandria.adapters.git.limits import SourceLimits
from alexandria.ports.repo_source import (
    EmptyRepositoryError,
    RepoLimitError,
    RepoNotFoundError,
    RepoSourceError,
    RepoUnavailableError,
    RepoUnsafeError,
)


class NoSuchPlaceError(RepoNotFoundError):
    """No repository at this very URL; it may have another. Internal to this package, for retrying."""


class MovedError(RepoUnavailableError):
    """The host redirects. Internal to this package, for retrying."""


class OtherObjectFormatError(RepoUnavailableError):
    """The repository names its objects by SHA-256, not SHA-1. Internal to this package, for retrying."""


@dataclass(frozen=True, slots=True)
class _Asked:
    repo: str
    ref: str
    limits: SourceLimits


_TABLE: tuple[tuple[str, Callable[[_Asked], RepoSourceError]], ...] = (
    (
        "mismatched algorithms",
        lambda asked: OtherObjectFormatError(f"{asked.repo} uses another object format"),
    ),
    (
        "returned error: 30[12378]",
        lambda asked: MovedError(f"{asked.repo} has moved"),
    ),
    (
        "couldn't find remote ref HEAD",
        lambda asked: EmptyRepositoryError(f"{asked.repo} has no commit on its default branch yet"),
    ),
    (
        "couldn't find remote ref|not our ref|no such remote ref|unadvertised object",
        lambda asked: RepoNotFoundError(
            f"{asked.repo} has no branch, tag or commit {asked.ref}: check the name; a hash must be whole"
        ),
    ),
    (
        "repository '.*' not found|does not appear to be a git repository|could not read (Username|Password)"
        "|Authentication failed|returned error: (401|404|410|451)",
        lambda asked: NoSuchPlaceError(
            f"{asked.repo} does not exist, or needs a password: only public repositories can be read"
        ),
    ),
    (
        "is this a git repository|dumb http transport",
        lambda asked: NoSuchPlaceError(f"the host has no git repository at {asked.repo}: check the address"),
    ),
    (
        "[Oo]ut of memory|Cannot allocate memory",
        lambda asked: RepoLimitError(
            f"git needs more than {asked.limits.memory_bytes:,} bytes of memory for {asked.repo}:"
            " raise the limit `memory_bytes`",
            limit="memory_bytes",
        ),
    ),
    (
        "No space left on device|Disk quota exceeded",
        lambda _: RepoSourceError("the disk of the temporary directory is full: free some space"),
    ),
    (
        "transport '.*' not allowed",
        lambda asked: RepoUnsafeError(f"{asked.repo} leads to a transport that is not allowed"),
    ),
    (
        "returned error: (403|429|5[0-9][0-9])",
        lambda asked: RepoUnavailableError(f"the host of {asked.repo} refuses to answer for now: try again later"),
    ),
)


def explained(error: GitFailedError, repo: str, ref: str, limits: SourceLimits) -> RepoSourceError:
    """Return the error of the port for a fetch that failed.

    Args:
        error: How it failed.
        repo: The repository, as people know it.
        ref: What was asked for; empty for the default branch.
        limits: Those it ran under.
    """
    for pattern, make in _TABLE:
        if re.search(pattern, error.own_words):
            return make(_Asked(repo, ref, limits))
    return RepoUnavailableError(f"{repo} could not be fetched, try again later; git says: {error.last_words}")
