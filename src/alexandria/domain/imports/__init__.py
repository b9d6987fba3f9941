"""From import statement to file, by the rules of each language.

Each language module has the same two functions:

- `wanted_manifests(tree) -> set[str]`: paths of `tree.paths` whose text it needs and that are not in
  `tree.manifests` yet. Asked again after each round, until it answers nothing (a `tsconfig.json` may
  extend another file).
- `resolve(tree, facts) -> Iterator[FileOutcome]`: one for each of `facts`, in order. Pure, and never
  raises, whatever the files and manifests hold.
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

Resolver = Callable[[RepoTree, Sequence[SourceFacts]], Iterator[FileOutcome]]


_RULES = {
    Language.PYTHON: "python",
    Language.JAVASCRIPT: "javascript",
    Language.TYPESCRIPT: "javascript",
    Language.JAVA: "java",
    Language.GO: "go",
}


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


def resolve_imports(tree: RepoTree, facts: Sequence[SourceFacts]) -> Iterator[FileOutcome]:
    """Resolve every import of every file.

    Args:
        tree: The repository; its manifests must be complete (`wanted_manifests` is empty).
        facts: The parsed files, in any order, any languages.

    Yields:
        One outcome a file, grouped by language, in the order of `facts` within a language.
    """
    by_rules: dict[str, list[SourceFacts]] = {}
    for file in facts:
        by_rules.setdefault(_RULES[file.language], []).append(file)
    for name, files in by_rules.items():
        resolve: Resolver = _rules(name).resolve
        yield from resolve(tree, files)
