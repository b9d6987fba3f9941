"""JavaScript and TypeScript: from specifier to file, as TypeScript, Node and the bundlers resolve it."""

from __future__ import annotations

from collections.abc import Callable

from alexandria.domain.imports.facts import SourceFacts
from alexandria.domain.imports.javascript.bundlers import is_bundler_config
from alexandria.domain.imports.javascript.files import SOURCE_EXTENSIONS
from alexandria.domain.imports.javascript.resolver import Resolver
from alexandria.domain.imports.outcome import FileOutcome
from alexandria.domain.imports.tree import RepoTree

_NAMES = frozenset({"package.json", "pnpm-workspace.yaml", "lerna.json", "rush.json"})


def wanted_manifests(tree: RepoTree) -> set[str]:
    """Return the manifests that are still to be read; empty for a repository without JavaScript."""
    if not any(path.endswith(SOURCE_EXTENSIONS) for path in tree.paths):
        return set()
    named = [(path, path[path.rfind("/") + 1 :]) for path in tree.paths]
    names = {name for name in {name for _, name in named} if _is_manifest(name)}  # thousands of files share a few
    wanted = {path for path, name in named if name in names and "node_modules" not in path.split("/")}
    missing = wanted - tree.manifests.keys()
    if missing:
        return missing
    # The files that a configuration extends may have any name.
    configurations = Resolver(tree).configurations()
    for path in tree.manifests:
        if path.endswith(".json"):
            missing.update(configurations.extended(path))
    return missing - tree.manifests.keys()


def _is_manifest(name: str) -> bool:
    is_configuration = name.startswith(("tsconfig", "jsconfig")) and name.endswith(".json")
    return is_configuration or name in _NAMES or is_bundler_config(name)


def resolver(tree: RepoTree) -> Callable[[SourceFacts], FileOutcome]:
    """Return what resolves the imports of a JavaScript or TypeScript file of `tree`; it never raises."""
    return Resolver(tree).outcome
