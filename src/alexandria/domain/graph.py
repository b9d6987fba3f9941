"""The file dependency graph: who imports whom in one repository."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from alexandria.domain.arrays import np
from alexandria.domain.errors import InvalidGraphError
from alexandria.domain.imports.outcome import EdgeKind, FileOutcome, Resolved
from alexandria.domain.language import Language

if TYPE_CHECKING:
    import numpy.typing as npt

    Int64s = npt.NDArray[np.int64]
    Int8s = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class UnresolvedImport:
    """An import that means a file of this repository which was not found."""

    path: str
    line: int
    specifier: str
    reason: str


@dataclass(frozen=True, slots=True)
class ImportCounts:
    """How the imports of a repository ended; each import is counted once."""

    inside: int = 0
    external: int = 0
    unresolved: int = 0
    dynamic: int = 0
    unsupported: int = 0

    @property
    def unresolved_share(self) -> float:
        """Unresolved ÷ (inside + unresolved): a pure number in [0, 1]; 0 when there are neither."""
        meant_inside = self.inside + self.unresolved
        return self.unresolved / meant_inside if meant_inside else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class DependencyGraph:
    """Files and the edges between them, importer → imported.

    Attributes:
        files: Repository-relative posix paths, sorted, unique. Node i is `files[i]`.
        languages: The language of each file.
        edges: Shape (2, E), int64, read-only. Row 0 importers, row 1 imported; unique, no
            self-loops, sorted by importer and then imported.
        kinds: Shape (E,), int8, read-only, values of `EdgeKind`.
        counts: How the imports ended.
        unresolved: Every import that should be inside and was not found.

    Raises:
        InvalidGraphError: The parts do not fit together.
    """

    files: tuple[str, ...]
    languages: tuple[Language, ...]
    edges: Int64s
    kinds: Int8s
    counts: ImportCounts = field(default_factory=ImportCounts)
    unresolved: tuple[UnresolvedImport, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.files)
        if len(self.languages) != n:
            raise InvalidGraphError(f"{n} files but {len(self.languages)} languages")
        if any(a >= b for a, b in zip(self.files, self.files[1:], strict=False)):
            raise InvalidGraphError("files are not sorted and unique")
        edges, kinds = self.edges, self.kinds
        if edges.dtype != np.int64 or edges.ndim != 2 or edges.shape[0] != 2:
            raise InvalidGraphError(f"edges are {edges.dtype} of shape {edges.shape}, not int64 (2, E)")
        if kinds.dtype != np.int8 or kinds.shape != (edges.shape[1],):
            raise InvalidGraphError(f"kinds are {kinds.dtype} of shape {kinds.shape}, not int8 (E,)")
        if edges.size:
            if edges.min() < 0 or edges.max() >= n:
                raise InvalidGraphError("an edge ends at a file that is not there")
            if (edges[0] == edges[1]).any():
                raise InvalidGraphError("an edge goes from a file to itself")
            flat = edges[0] * n + edges[1]
            if (flat[1:] <= flat[:-1]).any():
                raise InvalidGraphError("edges are not sorted and unique")
            if kinds.min() < 0 or kinds.max() > max(EdgeKind):
                raise InvalidGraphError("an edge has a kind that does not exist")
        edges.setflags(write=False)
        kinds.setflags(write=False)

    @classmethod
    def from_edges(
        cls,
        languages: Mapping[str, Language],
        edges: Iterable[tuple[str, str, EdgeKind]],
        counts: ImportCounts | None = None,
        unresolved: Sequence[UnresolvedImport] = (),
    ) -> DependencyGraph:
        """Build a graph from paths; repeated pairs become one edge with the lowest kind.

        Args:
            languages: Language by path; its keys are the nodes.
            edges: (importer, imported, kind). Self-loops are dropped.
            counts: How the imports ended.
            unresolved: Imports that were not found.

        Raises:
            InvalidGraphError: An edge ends at a path that is not a node.
        """
        files = tuple(sorted(languages))
        index = {path: i for i, path in enumerate(files)}
        best: dict[int, int] = {}
        n = len(files)
        for importer, imported, kind in edges:
            try:
                a, b = index[importer], index[imported]
            except KeyError as error:
                raise InvalidGraphError(f"an edge ends at {error.args[0]!r}, which is not a file of it") from None
            if a != b:
                pair = a * n + b
                known = best.get(pair)
                if known is None or kind < known:
                    best[pair] = int(kind)  # of members of an enum NumPy makes an array slowly
        flat = np.array(sorted(best), dtype=np.int64)
        return cls(
            files=files,
            languages=tuple(languages[path] for path in files),
            edges=np.stack([flat // n, flat % n]) if flat.size else np.empty((2, 0), np.int64),
            kinds=np.array([best[pair] for pair in flat.tolist()], dtype=np.int8),
            counts=counts or ImportCounts(),
            unresolved=tuple(unresolved),
        )

    @classmethod
    def from_outcomes(cls, languages: Mapping[str, Language], outcomes: Iterable[FileOutcome]) -> DependencyGraph:
        """Build the graph of resolved imports; targets that are not source files get no edge.

        Args:
            languages: Language by path of every source file, with or without imports.
            outcomes: What became of the imports, as `resolve_imports` yields it.
        """
        tally: Counter[Resolved] = Counter()
        unresolved: list[UnresolvedImport] = []
        edges: list[tuple[str, str, EdgeKind]] = []
        for file in outcomes:
            for outcome in file.outcomes:
                if outcome.line:  # implicit edges are no import that somebody wrote
                    tally[outcome.resolved] += 1
                if outcome.resolved is Resolved.UNRESOLVED:
                    unresolved.append(UnresolvedImport(file.path, outcome.line, outcome.specifier, outcome.reason))
                edges += [(file.path, target, outcome.kind) for target in outcome.targets if target in languages]
        counts = ImportCounts(
            inside=tally[Resolved.INSIDE],
            external=tally[Resolved.EXTERNAL],
            unresolved=tally[Resolved.UNRESOLVED],
            dynamic=tally[Resolved.DYNAMIC],
            unsupported=tally[Resolved.UNSUPPORTED],
        )
        return cls.from_edges(languages, edges, counts, sorted(unresolved, key=lambda u: (u.path, u.line, u.specifier)))

    @property
    def num_files(self) -> int:
        """Number of nodes."""
        return len(self.files)

    @property
    def num_edges(self) -> int:
        """Number of directed edges."""
        return int(self.edges.shape[1])

    def isolated(self) -> npt.NDArray[np.bool_]:
        """Return the mask, shape (N,), of files with no edge in either direction."""
        mask = np.ones(self.num_files, dtype=np.bool_)
        mask[self.edges.ravel()] = False
        return mask
