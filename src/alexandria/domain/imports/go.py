"""Not written yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from alexandria.domain.imports.facts import SourceFacts
from alexandria.domain.imports.outcome import FileOutcome
from alexandria.domain.imports.tree import RepoTree


def wanted_manifests(tree: RepoTree) -> set[str]:
    return set()


def resolve(tree: RepoTree, facts: Sequence[SourceFacts]) -> Iterator[FileOutcome]:
    for file in facts:
        yield FileOutcome(file.path)
