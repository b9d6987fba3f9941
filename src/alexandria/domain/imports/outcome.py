"""What became of an import: the files that it means, or why there is none."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import NamedTuple


class EdgeKind(IntEnum):
    """Why an edge is there. When a pair has several reasons, the lowest number wins."""

    IMPORT = 0
    REEXPORT = 1
    TYPE_ONLY = 2
    IMPLICIT = 3  # same package, nothing written


class Resolved(StrEnum):
    """How an import ended."""

    INSIDE = "inside"  # files of this repository
    EXTERNAL = "external"  # standard library, a dependency, a package that is not in this repository
    UNRESOLVED = "unresolved"  # means a file of this repository, and it is not there
    DYNAMIC = "dynamic"  # the specifier is computed when the program runs
    UNSUPPORTED = "unsupported"  # a form that we know and do not follow (an asset, a URL, a loader)


class Outcome(NamedTuple):
    """One import and what it means.

    Attributes:
        line: 1-based line; 0 for an edge that nothing in the file writes (same package).
        specifier: As written, or the name used for an implicit edge.
        resolved: How it ended.
        kind: The kind of the edges it makes.
        targets: Paths it means; empty unless `resolved` is INSIDE. May hold the importer itself.
        reason: One short clause for a person: the rule that decided.
        tried: Paths that were looked for, in order, when it was not found. May be empty.
    """

    line: int
    specifier: str
    resolved: Resolved
    kind: EdgeKind = EdgeKind.IMPORT
    targets: tuple[str, ...] = ()
    reason: str = ""
    tried: tuple[str, ...] = ()


class FileOutcome(NamedTuple):
    """The outcomes of one file, in the order of its imports, implicit ones last."""

    path: str
    outcomes: tuple[Outcome, ...] = ()
