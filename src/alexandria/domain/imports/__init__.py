"""From import statement to file, by the rules of each language.

Each language module has the same two functions:

- `wanted_manifests(tree) -> set[str]`: paths of `tree.paths` whose text it needs and that are not in
  `tree.manifests` yet. Asked again after each round, until it answers nothing (a `tsconfig.json` may
  extend another file).
- `resolve(tree, facts) -> Iterator[FileOutcome]`: one for each of `facts`, in order. Pure, and never
  raises, whatever the files and manifests hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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


def wanted_manifests(tree: RepoTree) -> set[str]:
    """Return the manifests that some language still needs to read; empty when all are there."""
    return set().union(*(rules.wanted_manifests(tree) for rules in set(_rules().values())))


def _rules() -> dict[Language, ModuleType]:
    # Here and not above: the processes that parse import this package for its values, need no
    # rules, and start a third sooner without them.
    from alexandria.domain.imports import go, java, javascript, python  # noqa: PLC0415

    return {
        Language.PYTHON: python,
        Language.JAVASCRIPT: javascript,
        Language.TYPESCRIPT: javascript,
        Language.JAVA: java,
        Language.GO: go,
    }


def resolve_imports(tree: RepoTree, facts: Sequence[SourceFacts]) -> Iterator[FileOutcome]:
    """Resolve every import of every file.

    Args:
        tree: The repository; its manifests must be complete (`wanted_manifests` is empty).
        facts: The parsed files, in any order, any languages.

    Yields:
        One outcome a file, grouped by language, in the order of `facts` within a language.
    """
    rules = _rules()
    by_resolver: dict[Resolver, list[SourceFacts]] = {}
    for file in facts:
        by_resolver.setdefault(rules[file.language].resolve, []).append(file)
    for resolve, files in by_resolver.items():
        yield from resolve(tree, files)
