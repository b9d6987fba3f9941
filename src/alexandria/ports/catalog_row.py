"""A repository as one row, for catalogs in a database."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from alexandria.domain.arrays import np
from alexandria.domain.graph import DependencyGraph, ImportCounts
from alexandria.domain.reach import depths_from
from alexandria.domain.snapshot import Snapshot
from alexandria.domain.sorted_paths import index_of, prefix_range
from alexandria.ports.catalog import MAX_DEPTH, Direction, FileNotIndexedError, IndexedFile, Neighbors, ReachedFile
from alexandria.ports.packed import PackedLanguages, PackedPaths

if TYPE_CHECKING:
    import numpy.typing as npt

_INT = "<i4"


def check_snapshot(snapshot: Snapshot, graph: DependencyGraph) -> None:
    """Refuse a snapshot that is not of this graph.

    Raises:
        ValueError: Files, edges or counts of imports differ.
    """
    said = snapshot.files, snapshot.edges, snapshot.imports
    found = graph.num_files, graph.num_edges, graph.counts
    if said != found:
        raise ValueError(f"the snapshot of {snapshot.repo} says {said}, and its graph has {found}")


def snapshot_to_json(snapshot: Snapshot) -> str:
    """Write a snapshot as one JSON object, its time in ISO 8601."""
    return json.dumps(asdict(snapshot) | {"indexed_at": snapshot.indexed_at.isoformat()})


def snapshot_from_json(text: str) -> Snapshot:
    """Read what `snapshot_to_json` wrote."""
    fields = json.loads(text)
    fields["indexed_at"] = datetime.fromisoformat(fields["indexed_at"])
    fields["imports"] = ImportCounts(**fields["imports"])
    return Snapshot(**fields)


@dataclass(frozen=True, slots=True)
class CatalogRow:
    """Files and edges of one generation: the bytes of the paths, and about 5 more an edge and a file.

    A row a file, with an index on its path, takes several times as much and as long to activate,
    and nothing asks for a file without its repository.

    Attributes:
        paths: As `PackedPaths`.
        languages: As `PackedLanguages`.
        out_degrees: int32, little-endian: how many files each file imports.
        targets: int32, little-endian: the imported file of each edge, sorted by importer.
        kinds: int8: kind of each edge.
    """

    paths: bytes
    languages: bytes
    out_degrees: bytes
    targets: bytes
    kinds: bytes

    @classmethod
    def from_graph(cls, graph: DependencyGraph) -> CatalogRow:
        """Pack a graph; what is unresolved in it is left out."""
        return cls(
            paths=PackedPaths.pack(graph.files).blob,
            languages=PackedLanguages.pack(graph.languages).to_bytes(),
            out_degrees=np.bincount(graph.edges[0], minlength=graph.num_files).astype(_INT).tobytes(),
            targets=graph.edges[1].astype(_INT).tobytes(),
            kinds=graph.kinds.tobytes(),
        )

    def graph(self, counts: ImportCounts) -> DependencyGraph:
        """Unpack the graph again."""
        languages = PackedLanguages.from_bytes(self.languages)
        return DependencyGraph(
            files=tuple(PackedPaths(self.paths)),
            languages=tuple(languages.names[code] for code in languages.codes.tolist()),
            edges=np.stack([self._importers(), self._imported()]).astype(np.int64),
            kinds=np.frombuffer(self.kinds, np.int8),
            counts=counts,
        )

    def files(self, *, path_prefix: str, after: str, limit: int) -> list[IndexedFile]:
        """Answer `Catalog.files`."""
        if limit < 1:
            raise ValueError(f"limit is {limit}, at least 1 is needed")
        paths, languages = PackedPaths(self.paths), PackedLanguages.from_bytes(self.languages)
        imports = np.frombuffer(self.out_degrees, _INT)
        importers = np.bincount(self._imported(), minlength=len(paths))
        start, stop = prefix_range(paths, path_prefix)
        start = max(start, bisect_right(paths, after))
        return [
            IndexedFile(paths[i], languages[i], int(imports[i]), int(importers[i]))
            for i in range(start, min(stop, start + limit))
        ]

    def neighbors(self, snapshot: Snapshot, path: str, *, directions: Collection[Direction], depth: int) -> Neighbors:
        """Answer `Catalog.neighbors`; `snapshot` is what this row is of."""
        if not 1 <= depth <= MAX_DEPTH:
            raise ValueError(f"depth is {depth}, not 1 to {MAX_DEPTH}")
        paths, languages = PackedPaths(self.paths), PackedLanguages.from_bytes(self.languages)
        start = index_of(paths, path)
        if start is None:
            raise FileNotIndexedError(snapshot.repo, path)

        def reached(direction: Direction) -> Sequence[ReachedFile]:
            if direction not in directions:
                return ()
            ends = self._importers(), self._imported()
            tails, heads = ends if direction is Direction.IMPORTS else ends[::-1]
            depths = depths_from(start, tails, heads, num_files=len(paths), limit=depth)
            found = np.flatnonzero(depths > 0)
            return [
                ReachedFile(paths[i], languages[i], int(depths[i]))
                for i in found[np.argsort(depths[found], kind="stable")].tolist()
            ]

        return Neighbors(snapshot, path, reached(Direction.IMPORTS), reached(Direction.IMPORTERS))

    def _importers(self) -> npt.NDArray[np.int32]:
        degrees = np.frombuffer(self.out_degrees, _INT)
        return np.repeat(np.arange(len(degrees), dtype=np.int32), degrees)

    def _imported(self) -> npt.NDArray[np.int32]:
        return np.frombuffer(self.targets, _INT)
