"""From import statement to file, by the rules of each language.

Each language module has two functions, pure, which never raise, whatever the files and manifests hold:

- `wanted_manifests(tree) -> set[str]`: paths of `tree.paths` whose text it needs and that are not in
  `tree.manifests` yet. Asked again after each round, until it answers nothing (a `tsconfig.json` may
  extend another file).
- `resolve(tree, facts) -> Iterator[FileOutcome]`: one for each of `facts`, in order; or, where what a file says
  changes nothing for the others, `resolver(tree) -> Callable[[SourceFacts], FileOutcome]`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from types import ModuleType

from alexandria.domain.imports.facts import ImportForm, ImportStatement, ReadStatus, SourceFacts
from alexandria.domain.imports.outcome import EdgeKind, FileOutcome, Outcome, Resolved
from alexandria.domain.imports.tree import RepoTree
from alexandria.domain.language import Language

__all__ = [
    "EdgeKind",
    "FileOutcome",
    "ImportForm",
    "ImportStatement",
    "Outcome",
    "ReadStatus",
    "RepoTree",
    "Resolved",
    "SourceFacts",
    "resolve_imports",
    "wanted_manifests",
]

ResolveAll = Callable[[RepoTree, Sequence[SourceFacts]], Iterator[FileOutcome]]
ResolveOne = Callable[[SourceFacts], FileOutcome]

_RULES = {
    Language.PYTHON: "python",
    Language.JAVASCRIPT: "javascript",
    Language.TYPESCRIPT: "javascript",
    Language.JAVA: "java",
    Language.GO: "go",
}
_ONE_BY_ONE = frozenset({"javascript"})  # these modules have a `resolver`


def wanted_manifests(tree: RepoTree, languages: Iterable[Language] = tuple(Language)) -> set[str]:
    """Return the manifests that still have to be read; empty when all are there.

    Args:
        tree: The repository so far.
        languages: Those of its source files: the others' manifests decide nothing.
    """
    return set().union(*(_rules(name).wanted_manifests(tree) for name in {_RULES[one] for one in languages}))


def _rules(name: str) -> ModuleType:
    # Loaded when asked for: the processes that parse import this package for its values and need no rules,
    # and a repository of one language needs no other's: together they take as long as parsing a hundred files.
    return import_module(f"{__name__}.{name}")


def resolve_imports(tree: RepoTree, facts: Iterable[SourceFacts]) -> Iterator[FileOutcome]:
    """Resolve every import of every file.

    Args:
        tree: The repository; its manifests must be complete (`wanted_manifests` is empty).
        facts: The parsed files, in any order, any languages; may still be coming.

    Yields:
        One outcome a file: of JavaScript and TypeScript as soon as the file is drawn; of the others when all are there,
        grouped by language and sorted by path. What they say does not depend on the order of `facts`.
    """
    resolvers: dict[str, ResolveOne] = {}
    together: dict[str, list[SourceFacts]] = {}
    for file in facts:
        name = _RULES[file.language]
        if name not in _ONE_BY_ONE:
            together.setdefault(name, []).append(file)
            continue
        if name not in resolvers:
            resolvers[name] = _rules(name).resolver(tree)
        yield resolvers[name](file)
    for name, files in together.items():
        resolve: ResolveAll = _rules(name).resolve
        yield from resolve(tree, sorted(files, key=lambda file: file.path))
