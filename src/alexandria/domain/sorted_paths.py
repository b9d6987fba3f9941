"""Looking things up in paths that are sorted by code point."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence


def index_of(paths: Sequence[str], path: str) -> int | None:
    """Return where `path` stands in the sorted `paths`, or None if it is not there."""
    i = bisect_left(paths, path)
    return i if i < len(paths) and paths[i] == path else None


def prefix_range(paths: Sequence[str], prefix: str) -> tuple[int, int]:
    """Return (start, stop) of the paths that start with `prefix`: in sorted paths they are neighbours."""
    start = bisect_left(paths, prefix)
    return start, bisect_left(paths, True, start, key=lambda path: not path.startswith(prefix))
