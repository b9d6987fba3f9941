"""Small repositories written as text, read by the real parsers and resolved by the real rules."""

from __future__ import annotations

from collections.abc import Mapping

from alexandria.adapters.tree_sitter.reading import read_source
from alexandria.domain.graph import DependencyGraph
from alexandria.domain.imports import EdgeKind, FileOutcome, RepoTree, SourceFacts, resolve_imports, wanted_manifests
from alexandria.domain.language import language_of


def facts_of(files: Mapping[str, str | bytes]) -> list[SourceFacts]:
    """Parse every source file of `files` in this process, in the order of their paths."""
    facts = []
    for path in sorted(files):
        language = language_of(path)
        if language is not None:
            content = files[path]
            facts.append(read_source(path, language, content if isinstance(content, bytes) else content.encode()))
    return facts


def outcomes_of(files: Mapping[str, str | bytes]) -> dict[str, FileOutcome]:
    """Resolve the imports of `files` and return the outcome of each source file by path."""
    tree = RepoTree(frozenset(files))
    while wanted := wanted_manifests(tree):
        text = {path: files[path] for path in wanted}
        decoded = {p: t if isinstance(t, str) else t.decode("utf-8", "replace") for p, t in text.items()}
        tree = RepoTree(tree.paths, {**tree.manifests, **decoded})
    return {outcome.path: outcome for outcome in resolve_imports(tree, facts_of(files))}


def edges_of(files: Mapping[str, str | bytes]) -> dict[tuple[str, str], str]:
    """Return the edges of the file graph, (importer, imported) → name of the kind in lower case."""
    languages = {path: language for path in files if (language := language_of(path)) is not None}
    graph = DependencyGraph.from_outcomes(languages, outcomes_of(files).values())
    return {
        (graph.files[a], graph.files[b]): EdgeKind(kind).name.lower()
        for a, b, kind in zip(*graph.edges.tolist(), graph.kinds.tolist(), strict=True)
    }
