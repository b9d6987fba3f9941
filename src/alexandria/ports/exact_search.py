"""Exact search over the vectors of one generation, for stores that hold them in memory to search."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from alexandria.domain.directions import nearest_rows
from alexandria.domain.language import Language
from alexandria.domain.sorted_paths import index_of, prefix_range
from alexandria.ports.packed import PackedLanguages
from alexandria.ports.vector_store import IsolatedVectorError, SimilarFile, StoredVectors, VectorNotFoundError


@dataclass(frozen=True, slots=True, eq=False)
class ExactIndex:
    """The vectors of one generation; keeps the promises of `VectorStore.similar` and `export`.

    Attributes:
        paths: Sorted, unique.
        languages: Of each file.
        units: Shape (N, 64), float32: rows of norm 1, zero for isolated files. Made read-only.
        linked: Shape (N,), bool: the file is not isolated.
    """

    paths: Sequence[str]
    languages: PackedLanguages
    units: npt.NDArray[np.float32]
    linked: npt.NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "linked", self.units.any(axis=1))
        self.units.setflags(write=False)

    def similar(
        self, repo: str, path: str, *, k: int, languages: Collection[Language], path_prefix: str
    ) -> list[SimilarFile]:
        """Answer `VectorStore.similar`; `repo` is for the errors."""
        if k < 1:
            raise ValueError(f"k is {k}, at least 1 is needed")
        row = index_of(self.paths, path)
        if row is None:
            raise VectorNotFoundError(repo, path)
        if not self.linked[row]:
            raise IsolatedVectorError(repo, path)
        start, stop = prefix_range(self.paths, path_prefix) if path_prefix else (0, len(self.paths))
        eligible = self.linked[start:stop].copy()
        if languages:
            eligible &= self.languages.among(languages)[start:stop]
        if start <= row < stop:
            eligible[row - start] = False
        rows, similarities = nearest_rows(self.units[start:stop], self.units[row], k=k, eligible=eligible)
        return [
            SimilarFile(self.paths[start + i], self.languages[start + i], similarity)
            for i, similarity in zip(rows.tolist(), similarities.tolist(), strict=True)
        ]

    def export(self) -> StoredVectors:
        """Answer `VectorStore.export`, without a copy of the vectors."""
        return StoredVectors(tuple(self.paths), self.units, ~self.linked)
