"""Finding files by the names that imports use for them: without extension, as a directory, as `.js` for `.ts`."""

from __future__ import annotations

import re
from collections.abc import Iterable

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


def join(directory: str, relative: str) -> str | None:
    """Return the normal form of `directory/relative`, or None when it climbs out of the repository."""
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


def glob_pattern(glob: str) -> re.Pattern[str]:
    """Compile a path glob: `*` and `?` within a segment, `**` over segments, `{a,b}` either."""
    out = []
    i = 0
    depth = 0
    while i < len(glob):
        char = glob[i]
        if glob.startswith("**/", i):
            out.append("(?:.*/)?")
            i += 3
            continue
        if glob.startswith("**", i):
            out.append(".*")
            i += 2
            continue
        if char == "*":
            out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "{" and "}" in glob[i:]:
            depth += 1
            out.append("(?:")
        elif char == "}" and depth:
            depth -= 1
            out.append(")")
        elif char == "," and depth:
            out.append("|")
        else:
            out.append(re.escape(char))
        i += 1
    return re.compile("".join(out) + ")" * depth + r"\Z")


class FileIndex:
    """The paths of a repository, asked by the rules of TypeScript, Node and the bundlers.

    Attributes:
        tried: When it is a list, every path that is looked for is appended to it.
    """

    def __init__(self, paths: frozenset[str]) -> None:
        self.paths = paths
        self.directories: set[str] = set()
        for path in paths:
            directory = parent(path)
            while directory not in self.directories:
                self.directories.add(directory)
                directory = parent(directory)
        self.tried: list[str] | None = None

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
