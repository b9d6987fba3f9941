"""Vectors in the memory of this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alexandria.domain.directions import unit_rows
from alexandria.domain.embedding import DIMENSION
from alexandria.domain.language import Language
from alexandria.ports.exact_search import ExactIndex
from alexandria.ports.packed import PackedLanguages
from alexandria.ports.vector_store import SimilarFile, StoredVectors, VectorBatch, VectorNotFoundError, VectorStore

_BATCH = 4096


@dataclass(frozen=True, slots=True, eq=False)
class _Stored:
    """What is there of one generation: chunks by the index of their first row, and the whole once it was asked for."""

    chunks: dict[int, ExactIndex]

    def whole(self) -> ExactIndex:
        if len(self.chunks) > 1:
            parts = [self.chunks[first] for first in sorted(self.chunks)]
            merged = ExactIndex(
                paths=tuple(path for part in parts for path in part.paths),
                languages=PackedLanguages.concatenate([part.languages for part in parts]),
                units=np.concatenate([part.units for part in parts]),
            )
            self.chunks.clear()
            self.chunks[0] = merged
        return self.chunks[0]
