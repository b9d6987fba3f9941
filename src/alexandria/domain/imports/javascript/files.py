"""Finding files by the names that imports use for them: without extension, as a directory, as `.js` for `.ts`."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from functools import cached_property
from typing import TypeVar

ValueT = TypeVar("ValueT")

SOURCE_EXTENSIONS = (".ts", ".tsx", ".js", ".jsx", ".mts", ".cts", ".mjs", ".cjs")
_DECLARATIONS = (".d.ts", ".d.mts", ".d.cts")

# What is tried for a specifier that has the extension of an output, best first: the source before
# the output, and the output before the declaration beside it. A declaration that imports sees declarations first.
_TWINS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    ".js": ((".ts", ".tsx", ".js", ".jsx", ".d.ts"), (".ts", ".tsx", ".d.ts", ".js", ".jsx")),
    ".jsx": ((".tsx", ".ts", ".jsx", ".js", ".d.ts"), (".tsx", ".ts", ".d.ts", ".jsx", ".js")),
    ".mjs": ((".mts", ".mjs", ".d.mts"), (".mts", ".d.mts", ".mjs")),
    ".cjs": ((".cts", ".cjs", ".d.cts"), (".cts", ".d.cts", ".cjs")),
    ".ts": ((".ts", ".tsx", ".js", ".jsx", ".d.ts"), (".ts", ".tsx", ".d.ts", ".js", ".jsx")),
    ".tsx": ((".tsx", ".ts", ".jsx", ".js", ".d.ts"), (".tsx", ".ts", ".d.ts", ".jsx", ".js")),
    ".mts": ((".mts", ".mjs", ".d.mts"), (".mts", ".d.mts", ".mjs")),
    ".cts": ((".cts", ".cjs", ".d.cts"), (".cts", ".d.cts", ".cjs")),
}
_IMPLEMENTATIONS = {
    ".d.ts": (".ts", ".tsx", ".js", ".jsx"),
    ".d.mts": (".mts", ".mjs"),
    ".d.cts": (".cts", ".cjs"),
}
_ADDED = (".ts", ".tsx", ".js", ".jsx", ".d.ts", ".mts", ".cts", ".mjs", ".cjs", ".d.mts", ".d.cts")
_ADDED_FOR_DECLARATION = (".ts", ".tsx", ".d.ts", ".js", ".jsx", ".mts", ".d.mts", ".cts", ".d.cts", ".mjs", ".cjs")
# Bundlers add these too, when they are told so; no other file can be meant.
_ADDED_LAST = (".json", ".vue", ".svelte", ".node")

_BRACES = re.compile(r"\{([^{}]*)\}")
_MAX_ALTERNATIVES = 64


def join(directory: str, relative: str) -> str | None:
    """Return the normal form of `directory/relative`, or None when it climbs out of the repository."""
    if relative.startswith("./") and "/." not in relative and "//" not in relative and not relative.endswith("/"):
        return directory + relative[1:] if directory else relative[2:]  # what most imports look like
    parts = directory.split("/") if directory else []
    for part in relative.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part and part != ".":
            parts.append(part)
    return "/".join(parts)


def parent(path: str) -> str:
    """Return the directory of `path`; "" is the root of the repository."""
    return path[: path.rfind("/")] if "/" in path else ""


def ancestors(directory: str) -> Iterable[str]:
    """Yield `directory`, its parent, and so on to the root ""."""
    while directory:
        yield directory
        directory = parent(directory)
    yield ""


def climb(known: dict[str, ValueT], directory: str) -> ValueT:
    """Return what `known`, which has the root "", says of the nearest directory around; for those below it is added."""
    below = []
    while directory not in known:
        below.append(directory)
        directory = parent(directory)
    found = known[directory]
    known.update(dict.fromkeys(below, found))
    return found


def within(path: str, directory: str) -> bool:
    """Say whether `path` lies in `directory` or is it."""
    return not directory or path == directory or path.startswith(directory + "/")


def is_declaration(path: str) -> bool:
    """Say whether `path` is a `.d.ts` file or its kin: types without an implementation."""
    return path.endswith(_DECLARATIONS)


def split_source_extension(path: str) -> tuple[str, str]:
    """Return (stem, extension) with `.d.ts` as one extension; the extension is "" if it is not a source's."""
    if path.endswith(_DECLARATIONS):
        dot = path.rfind(".d.")
        return path[:dot], path[dot:]
    dot = path.rfind(".")
    if dot > path.rfind("/") + 1 and path[dot:] in _TWINS:
        return path[:dot], path[dot:]
    return path, ""


class Glob:
    """A path glob: `*` and `?` within a segment, `**` for any segments, `{a,b}` for either.

    Matching takes time linear in the path for every pattern, as patterns come from strangers.
    """

    def __init__(self, pattern: str) -> None:
        self._alternatives = [_Alternative(alternative) for alternative in _expand(pattern)]

    def matches(self, path: str) -> bool:
        """Say whether the whole of `path` matches."""
        return any(alternative.matches(path) for alternative in self._alternatives)


class _Alternative:
    """A glob without braces."""

    def __init__(self, pattern: str) -> None:
        self._start = re.split(r"[*?]", pattern, maxsplit=1)[0]
        self._is_tree = pattern == self._start + "**" and self._start.endswith("/")
        self._segments = tuple(None if part == "**" else _segment(part) for part in pattern.split("/"))

    def matches(self, path: str) -> bool:
        # What stands before the first wildcard decides most questions; there is one for every file and project.
        if not (path + "/").startswith(self._start):
            return False
        return self._is_tree or _matches(self._segments, path.split("/"))


def _matches(segments: tuple[re.Pattern[str] | None, ...], parts: list[str]) -> bool:
    places = _after_any(segments, {0})
    for part in parts:
        reached = set()
        for place in places:
            if place < len(segments):
                segment = segments[place]
                if segment is None:
                    reached.add(place)
                elif segment.match(part):
                    reached.add(place + 1)
        places = _after_any(segments, reached)
    return len(segments) in places


def _after_any(segments: tuple[re.Pattern[str] | None, ...], places: set[int]) -> set[int]:
    """Add the places behind `**`, which may stand for nothing."""
    reached = set()
    for place in places:
        while place not in reached:
            reached.add(place)
            if place < len(segments) and segments[place] is None:
                place += 1  # noqa: PLW2901 - the walk goes on from there
    return reached


def _segment(part: str) -> re.Pattern[str]:
    # Brackets are names of folders in several frameworks, and neither npm nor TypeScript gives them a meaning.
    return re.compile(fnmatch.translate(part.replace("[", "[[]")))


def _expand(pattern: str) -> list[str]:
    """Return what the innermost braces stand for, one after the other; a pattern with too many is taken as it is."""
    expanded = [pattern]
    while len(expanded) <= _MAX_ALTERNATIVES:
        following: list[str] = []
        for alternative in expanded:
            match = _BRACES.search(alternative)
            if match is None:
                following.append(alternative)
            else:
                start, end = match.span()
                following.extend(alternative[:start] + item + alternative[end:] for item in match[1].split(","))
        if following == expanded:
            return expanded
        expanded = following
    return [pattern]


class FileIndex:
    """The paths of a repository, asked by the rules of TypeScript, Node and the bundlers.

    Attributes:
        tried: When it is a list, every path that is looked for is appended to it.
    """

    def __init__(self, paths: frozenset[str]) -> None:
        self.paths = paths
        self.tried: list[str] | None = None

    @cached_property
    def directories(self) -> set[str]:
        """Every directory with a file in or below it; "" is the root of the repository."""
        holders = {path.rpartition("/")[0] for path in self.paths}
        found = set(holders)
        for holder in holders:
            directory = parent(holder)
            while directory not in found:
                found.add(directory)
                directory = parent(directory)
        return found

    def has(self, path: str) -> bool:
        """Say whether there is a file of exactly this path."""
        if self.tried is not None:
            self.tried.append(path)
        return path in self.paths

    def source(self, path: str, *, declaration: bool) -> str | None:
        """Return the file that `path` names, with or without its extension, but no directory.

        Args:
            path: Normal path relative to the repository.
            declaration: The importer is a `.d.ts` file, so declarations come before implementations.
        """
        stem, extension = split_source_extension(path)
        if extension in _DECLARATIONS:
            if self.has(path):
                return path if declaration else self.implementation(path)
        elif extension:
            for twin in _TWINS[extension][declaration]:
                if self.has(stem + twin):
                    return stem + twin
        for added in _ADDED_FOR_DECLARATION if declaration else _ADDED:
            if self.has(path + added):
                return path + added
        return path if self.has(path) else None

    def with_rare_extension(self, path: str) -> str | None:
        """Return the file that `path` names once everything else has failed."""
        return next((path + added for added in _ADDED_LAST if self.has(path + added)), None)

    def implementation(self, path: str) -> str:
        """Return the implementation beside a declaration, or `path` itself."""
        stem, extension = split_source_extension(path)
        beside = (stem + implementation for implementation in _IMPLEMENTATIONS.get(extension, ()))
        return next((candidate for candidate in beside if candidate in self.paths), path)
