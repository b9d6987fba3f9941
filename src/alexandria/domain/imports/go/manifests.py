"""What `go.mod` and `go.work` say of module paths and directories."""

from __future__ import annotations

import re
from collections.abc import Iterator
from posixpath import basename, dirname, join, normpath
from typing import NamedTuple

from alexandria.domain.imports.tree import RepoTree

_NAMES = ("go.mod", "go.work")
_TOKEN = re.compile(r'"[^"]*"|`[^`]*`|[()]|[^\s()"`]+')


class Manifest(NamedTuple):
    """One `go.mod` or `go.work`.

    Attributes:
        directory: Where it lies; empty for the root of the repository.
        module: `go.mod`: the path that it declares; empty when there is none.
        requires: `go.mod`: paths of the modules that it requires.
        replaces: Module path → directory of this repository that stands for it.
        uses: `go.work`: directories of its modules.
    """

    directory: str
    module: str = ""
    requires: frozenset[str] = frozenset()
    replaces: tuple[tuple[str, str], ...] = ()
    uses: frozenset[str] = frozenset()


def wanted_manifests(tree: RepoTree) -> set[str]:
    """Return every `go.mod` and `go.work` of the repository that was not read yet."""
    return {path for path in tree.paths if path.endswith(_NAMES) and basename(path) in _NAMES}.difference(
        tree.manifests
    )


def read_manifests(tree: RepoTree, name: str) -> dict[str, Manifest]:
    """Return the manifests that are called `name`, by their directory."""
    found = (path for path in sorted(tree.manifests) if path.endswith(name) and basename(path) == name)
    return {dirname(path): parse_manifest(dirname(path), tree.manifests[path]) for path in found}


def parse_manifest(directory: str, text: str) -> Manifest:
    """Read a manifest; lines that make no sense are passed over.

    Args:
        directory: Where the manifest lies.
        text: Its content.
    """
    module = ""
    requires: set[str] = set()
    replaces: list[tuple[str, str]] = []
    uses: set[str] = set()
    for verb, *words in _directives(text):
        if verb == "module" and words:
            module = module or words[0].strip("/")
        elif verb == "require" and words:
            requires.add(words[0])
        elif verb == "replace" and "=>" in words[1:]:
            here = _inside(directory, words[words.index("=>") + 1 :])
            if here is not None:
                replaces.append((words[0], here))
        elif verb == "use":
            here = _inside(directory, words)
            if here is not None:
                uses.add(here)
    return Manifest(directory, module, frozenset(requires), tuple(replaces), frozenset(uses))


def _directives(text: str) -> Iterator[list[str]]:
    """Yield verb and words of each directive; the lines of a block get the verb of the block."""
    block = ""
    for line in text.splitlines():
        words = [word.strip('"`') for word in _TOKEN.findall(line.partition("//")[0])]
        if words[:1] == [")"]:
            block = ""
        elif block and words:
            yield [block, *words]
        elif words[1:2] == ["("]:
            block = words[0]
        elif words:
            yield words


def _inside(directory: str, words: list[str]) -> str | None:
    """Return the directory of the repository that the first word means, or None if it means none.

    A replacement that does not begin with a dot is a module path, and an absolute path is on one machine only.
    """
    if not words or not (words[0].startswith(("./", "../")) or words[0] in (".", "..")):
        return None
    path = normpath(join(directory, words[0]))
    if path == ".." or path.startswith("../"):
        return None
    return "" if path == "." else path
