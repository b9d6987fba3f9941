"""Port: the vectors of files, and the search for the nearest ones."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from alexandria.domain.arrays import np
from alexandria.domain.embedding import EmbeddingSet
from alexandria.domain.errors import AlexandriaError
from alexandria.domain.language import Language

if TYPE_CHECKING:
    import numpy.typing as npt


class VectorStoreError(AlexandriaError):
    """Root of the errors of this port."""


class VectorStoreUnavailableError(VectorStoreError):
    """No answer, after the retries that are safe. The same call may be made again later."""


class VectorStoreAccessError(VectorStoreError):
    """It answers and does not let us in: a wrong key or password, a missing right. The settings must change."""


class VectorStoreFullError(VectorStoreError):
    """No room is left (disk, quota); nothing that was visible before has changed."""


class VectorStoreMismatchError(VectorStoreError):
    """The store is there and was made by something else: another dimension, a newer version."""


class VectorNotFoundError(VectorStoreError):
    """No such file in this generation of this repository.

    Attributes:
        repo: Key of the repository.
        path: The file.
    """

    def __init__(self, repo: str, path: str) -> None:
        super().__init__(f"{path} has no vector in {repo}")
        self.repo = repo
        self.path = path


class IsolatedVectorError(VectorStoreError):
    """The file imports nothing inside and nothing imports it, so nothing is near it.

    Attributes:
        repo: Key of the repository.
        path: The file.
    """

    def __init__(self, repo: str, path: str) -> None:
        super().__init__(f"{path} has no edge in the graph of {repo}, so its vector says nothing")
        self.repo = repo
        self.path = path


@dataclass(frozen=True, slots=True)
class VectorBatch:
    """All vectors of one generation of one repository, with what is stored beside each.

    Attributes:
        repo: Key of the repository.
        repo_url: Its address.
        generation: At least 1.
        commit: Commit that was indexed; may be empty.
        languages: Language of each file, in the order of `embeddings.paths`.
        embeddings: Paths, vectors and mask.
    """

    repo: str
    repo_url: str
    generation: int
    commit: str
    languages: tuple[Language, ...]
    embeddings: EmbeddingSet


@dataclass(frozen=True, slots=True)
class SimilarFile:
    """One answer of a search.

    Attributes:
        path: The file.
        language: Its language.
        similarity: Cosine of the angle to the file asked for: in [-1, 1], 1 for the same direction.
    """

    path: str
    language: Language
    similarity: float


@dataclass(frozen=True, slots=True, eq=False)
class StoredVectors:
    """The vectors of one generation as they were read back.

    Attributes:
        paths: Sorted.
        vectors: Shape (N, 64), float32. A store may keep directions only: rows that are not zero
            may come back with norm 1.
        isolated: Shape (N,), bool.
    """

    paths: tuple[str, ...]
    vectors: npt.NDArray[np.float32]
    isolated: npt.NDArray[np.bool_]


class VectorStore(Protocol):
    """Keeps one vector a file, by repository and generation.

    Nothing here makes a generation visible: the `Catalog` says which one is current, and callers
    pass it. Vectors of two repositories or two generations are never compared. Every call is
    atomic for its readers only as far as it says. Paths are Unicode text without NUL, and sort by
    code point.

    Any call may raise `VectorStoreAccessError`, and `VectorStoreMismatchError` when a newer program
    changes the store meanwhile; any that writes `VectorStoreFullError`.
    """

    @abstractmethod
    async def upload(self, batch: VectorBatch, *, progress: Callable[[float], None] = lambda _: None) -> None:
        """Store every vector of `batch`, isolated ones too, in bounded batches.

        A generation has one batch: a run with other vectors takes another generation. Idempotent:
        the same batch again changes nothing, so it may be repeated after any failure. An upload
        that fails or is cut off may leave a part behind under its own generation; `count` shows it
        and `sweep` or `discard` removes it. Other generations are not touched.

        Args:
            batch: What to store.
            progress: Called on the event loop with the share that is done, in [0, 1], never
                falling, 1 at the end; must not raise.

        Raises:
            ValueError: A path is no text without NUL.
            VectorStoreUnavailableError: Not all could be stored, after 3 tries of each batch.
            VectorStoreFullError: There is no room.
            VectorStoreMismatchError: The store does not take vectors of this dimension.
        """
        ...

    @abstractmethod
    async def count(self, repo: str, generation: int) -> int:
        """Return exactly how many vectors are stored for a generation; 0 if there is none.

        Raises:
            VectorStoreUnavailableError: No answer. Safe to retry.
        """
        ...

    @abstractmethod
    async def similar(
        self,
        repo: str,
        generation: int,
        path: str,
        *,
        k: int,
        languages: Collection[Language] = (),
        path_prefix: str = "",
    ) -> Sequence[SimilarFile]:
        """Return the `k` files of the same generation whose direction is nearest to that of `path`.

        Never among them: the file itself, and isolated files.

        Args:
            repo: Key of the repository.
            generation: Which one to search.
            path: The file to start from.
            k: How many to return, at least 1; fewer come back when fewer fit.
            languages: Only files of these; empty for all.
            path_prefix: Only files whose path starts with it, as a string; empty for all. It may
                hold any character, none of them special.

        Returns:
            Best first; equal similarities in the order of the paths. Each similarity is within
            1e-5 of the exact value.

        Raises:
            ValueError: `k` is below 1.
            VectorNotFoundError: `path` has no vector in this generation.
            IsolatedVectorError: `path` is isolated.
            VectorStoreUnavailableError: No answer. Safe to retry.
            VectorStoreMismatchError: The store cannot answer with this filter or dimension.
        """
        ...

    @abstractmethod
    async def export(self, repo: str, generation: int) -> StoredVectors:
        """Return all vectors of a generation; empty arrays if there is none.

        Raises:
            VectorStoreUnavailableError: No answer. Safe to retry.
        """
        ...

    @abstractmethod
    async def sweep(self, repo: str, *, below: int) -> None:
        """Remove every generation of `repo` that is smaller than `below`. Safe to repeat.

        Raises:
            VectorStoreUnavailableError: No answer. Safe to retry.
        """
        ...

    @abstractmethod
    async def discard(self, repo: str, generation: int) -> None:
        """Remove exactly one generation of `repo`, no smaller and no larger one. Safe to repeat.

        For a run whose generation will never be current; no error if nothing of it is there. An
        upload of that generation that is still going may leave a part behind, which `sweep` removes.

        Raises:
            VectorStoreUnavailableError: No answer. Safe to retry.
        """
        ...

    @abstractmethod
    async def check(self) -> None:
        """Ask the store for a sign of life, the cheapest there is.

        Raises:
            VectorStoreUnavailableError: No answer.
            VectorStoreMismatchError: It answers, and is not ours.
        """
        ...

    async def check_access(self) -> None:
        """Ask whether the store lets us in. An adapter whose `check` is dear has a cheaper way.

        Raises:
            VectorStoreAccessError: It refuses our credentials.
            VectorStoreError: As `check`, as far as it was seen.
        """
        await self.check()
