"""Use cases: what is near a file, what hangs on it, and of which repository we speak."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeVar

from alexandria.domain.errors import AlexandriaError
from alexandria.domain.language import Language, language_of
from alexandria.domain.snapshot import Snapshot
from alexandria.ports.catalog import (
    Catalog,
    Direction,
    FileNotIndexedError,
    IndexedFile,
    Neighbors,
    RepositoryNotFoundError,
)
from alexandria.ports.vector_store import (
    IsolatedVectorError,
    SimilarFile,
    StoredVectors,
    VectorNotFoundError,
    VectorStore,
    VectorStoreError,
)

T = TypeVar("T")

_RE_READS = 5
_MOST_REMEMBERED = 1_000
_PAGE = 10_000


class UnknownFileError(AlexandriaError):
    """The file that was asked for is not in the index.

    Attributes:
        repo: Key of the repository.
        path: What was asked for.
        suggestions: Indexed paths that look like it, the closest first.
    """

    def __init__(self, repo: str, path: str, suggestions: Sequence[str]) -> None:
        if language_of(path) is None and not suggestions:
            why = f"it is not a source file ({', '.join(Language)} are read)"
        else:
            why = "no source file of this name was there when it was indexed"
        hint = f". Did you mean {' or '.join(suggestions)}?" if suggestions else ""
        super().__init__(f"{path} is not in the index of {repo}: {why}{hint}")
        self.repo = repo
        self.path = path
        self.suggestions = tuple(suggestions)


class IsolatedFileError(AlexandriaError):
    """The file is indexed, and the graph says nothing of it.

    Attributes:
        repo: Key of the repository.
        path: The file.
    """

    def __init__(self, repo: str, path: str) -> None:
        super().__init__(
            f"{path} is isolated: it imports no file of {repo} and none imports it, so structure cannot say "
            f"what is near it. `alexandria graph SOURCE --explain {path}` shows what became of any imports"
        )
        self.repo = repo
        self.path = path


class NoSuchRepositoryError(AlexandriaError):
    """No indexed repository, or more than one, fits the name.

    Attributes:
        wanted: What was asked for; empty if nothing was.
        known: Keys of the repositories that are meant: all, or those that fit.
    """

    def __init__(self, wanted: str, known: Sequence[str]) -> None:
        if not known:
            message = "nothing is indexed yet: run `alexandria index SOURCE` first"
        elif wanted:
            message = f"{wanted!r} does not name one indexed repository: {', '.join(known)}"
        else:
            message = f"several repositories are indexed, say which with --repo: {', '.join(known)}"
        super().__init__(message)
        self.wanted = wanted
        self.known = tuple(known)


class UnsettledIndexError(AlexandriaError):
    """The repository is indexed anew faster than it can be searched; try again."""


class LostVectorsError(AlexandriaError):
    """The catalog has the repository, and the vector store has lost its vectors: index it again.

    Attributes:
        repo: Key of the repository.
    """

    def __init__(self, repo: str) -> None:
        super().__init__(f"the vector store has lost the vectors of {repo}: index it again")
        self.repo = repo


@dataclass(frozen=True, slots=True)
class SimilarAnswer:
    """Files near one file, all of the generation of `snapshot`; iterating gives the hits.

    Attributes:
        snapshot: What was searched.
        path: The file that was asked for.
        hits: Best first.
    """

    snapshot: Snapshot
    path: str
    hits: Sequence[SimilarFile]

    def __iter__(self) -> Iterator[SimilarFile]:
        return iter(self.hits)

    def __len__(self) -> int:
        return len(self.hits)


@dataclass(frozen=True, slots=True, eq=False)
class ExportAnswer:
    """All vectors of the generation of `snapshot`."""

    snapshot: Snapshot
    vectors: StoredVectors


async def find_snapshot(catalog: Catalog, wanted: str = "") -> Snapshot:
    """Return the repository that `wanted` names: its key, or the end of its key from a `/` on.

    Without a name the only repository that is indexed is meant.

    Raises:
        NoSuchRepositoryError: None fits, or several do.
    """
    if wanted:
        with contextlib.suppress(RepositoryNotFoundError):
            return await catalog.snapshot(wanted)
    snapshots = await catalog.snapshots()
    ending = "/" + wanted.strip("/")
    fitting = [s for s in snapshots if not wanted or s.repo.endswith(ending)]
    if len(fitting) == 1:
        return fitting[0]
    raise NoSuchRepositoryError(wanted, sorted(s.repo for s in fitting) or sorted(s.repo for s in snapshots))


async def _in_one_generation(
    catalog: Catalog, wanted: str, look: Callable[[Snapshot], Awaitable[T]], guess: Snapshot | None = None
) -> tuple[Snapshot, T]:
    """Find a repository, look at it, and look again until nothing became current meanwhile.

    A sweep begins after an activation: if the same generation is current still, `look` saw all of it. So it may as well
    begin with a guess of what is current, which saves the first of two reads: a wrong one costs a look.
    """
    snapshot = guess or await find_snapshot(catalog, wanted)
    for _ in range(_RE_READS):
        found = await look(snapshot)
        now = await find_snapshot(catalog, wanted)  # by the name: another repository may answer to it by now
        if (now.repo, now.generation) == (snapshot.repo, snapshot.generation):
            return now, found
        snapshot = now
    raise UnsettledIndexError(f"{snapshot.repo} is being indexed again and again right now: try once more")


async def similar_files(
    repo: str,
    path: str,
    *,
    vectors: VectorStore,
    catalog: Catalog,
    k: int = 10,
    languages: Collection[Language] = (),
    path_prefix: str = "",
    remembered: MutableMapping[str, Snapshot] | None = None,
) -> SimilarAnswer:
    """Return the files whose place in the graph is most like that of `path`.

    All of them are of one generation: when another becomes current meanwhile, the search is made
    again on that one.

    Args:
        repo: Names an indexed repository, as for `find_snapshot`.
        path: Relative to its root.
        vectors: Where the vectors are.
        catalog: What says which generation is current.
        k: How many, at least 1.
        languages: Only files of these; empty for all.
        path_prefix: Only files whose path starts with it.
        remembered: What earlier searches found under each name, kept by the caller; it saves a read of the catalog.

    Raises:
        NoSuchRepositoryError: No repository fits the name, or several do.
        UnknownFileError: It has no such file.
        IsolatedFileError: The file has no edge.
        LostVectorsError: The file is in the catalog, and has no vector.
        UnsettledIndexError: The generation changed five times while we searched.
    """

    async def look(snapshot: Snapshot) -> Sequence[SimilarFile] | VectorStoreError:
        try:
            return await vectors.similar(
                snapshot.repo, snapshot.generation, path, k=k, languages=languages, path_prefix=path_prefix
            )
        except (VectorNotFoundError, IsolatedVectorError) as error:
            return error  # of this generation, which need not be the current one

    known = {} if remembered is None else remembered
    snapshot, hits = await _in_one_generation(catalog, repo, look, known.get(repo))
    if len(known) >= _MOST_REMEMBERED:
        known.clear()  # a repository has as many names as there are ways to write slashes before it
    known[repo] = snapshot
    match hits:
        case IsolatedVectorError():
            raise IsolatedFileError(snapshot.repo, path)
        case VectorStoreError():
            raise await _without_vector(catalog, snapshot, path)
    return SimilarAnswer(snapshot, path, hits)


async def neighbor_files(
    repo: str,
    path: str,
    *,
    catalog: Catalog,
    directions: Collection[Direction] = tuple(Direction),
    depth: int = 1,
) -> Neighbors:
    """Return what `path` imports and what imports it, up to `depth` edges away (1 to 5).

    Raises:
        NoSuchRepositoryError: No repository fits the name, or several do.
        RepositoryNotFoundError: It was deleted meanwhile.
        UnknownFileError: It has no such file.
    """
    key = (await find_snapshot(catalog, repo)).repo
    try:
        return await catalog.neighbors(key, path, directions=directions, depth=depth)
    except FileNotIndexedError:
        raise await _unknown(catalog, key, path) from None


async def export_vectors(repo: str, *, vectors: VectorStore, catalog: Catalog) -> ExportAnswer:
    """Return every vector of the current generation of `repo`.

    Raises:
        NoSuchRepositoryError: No repository fits the name, or several do.
        LostVectorsError: There are fewer than files.
        UnsettledIndexError: The generation changed five times while we read.
    """
    snapshot, stored = await _in_one_generation(catalog, repo, lambda s: vectors.export(s.repo, s.generation))
    if len(stored.paths) < snapshot.files:
        raise LostVectorsError(snapshot.repo)
    return ExportAnswer(snapshot, stored)


async def all_files(catalog: Catalog, repo: str) -> list[IndexedFile]:
    """Return every source file of the current generation, by path.

    Raises:
        RepositoryNotFoundError: It is not indexed.
    """
    files: list[IndexedFile] = []
    while True:
        page = await catalog.files(repo, after=files[-1].path if files else "", limit=_PAGE)
        files.extend(page)
        if len(page) < _PAGE:
            return files


async def forget_repository(wanted: str, *, vectors: VectorStore, catalog: Catalog) -> Snapshot:
    """Remove everything of a repository, and return what it was; searches stop finding it first.

    A removal that was cut off between its two steps has left vectors that nobody finds: the next one
    of the same key removes them, and says that there is no such repository. A run that begins
    meanwhile is not touched, however long the second step takes: its generation is above the fence.

    Args:
        wanted: Names an indexed repository, as for `find_snapshot`.
        vectors: Where the vectors are.
        catalog: Where the rest is.

    Raises:
        NoSuchRepositoryError: None fits, or several do.
    """
    try:
        snapshot = await find_snapshot(catalog, wanted)
    except NoSuchRepositoryError:
        await _forget(wanted, vectors=vectors, catalog=catalog)
        raise
    await _forget(snapshot.repo, vectors=vectors, catalog=catalog)
    return snapshot


async def _forget(repo: str, *, vectors: VectorStore, catalog: Catalog) -> None:
    await vectors.sweep(repo, below=await catalog.delete(repo))


async def _without_vector(catalog: Catalog, snapshot: Snapshot, path: str) -> AlexandriaError:
    """Return why a file has no vector: it is no file of the index, or the store was emptied behind it."""
    files = await all_files(catalog, snapshot.repo)
    if all(file.path != path for file in files):
        return UnknownFileError(snapshot.repo, path, close_paths(path, [file.path for file in files]))
    if (await catalog.snapshot(snapshot.repo)).generation != snapshot.generation:
        return UnsettledIndexError(f"{snapshot.repo} was indexed again right now: try once more")
    return LostVectorsError(snapshot.repo)


async def _unknown(catalog: Catalog, repo: str, path: str) -> UnknownFileError:
    return UnknownFileError(repo, path, close_paths(path, [file.path for file in await all_files(catalog, repo)]))


def close_paths(path: str, known: Sequence[str], limit: int = 3) -> list[str]:
    """Return the known paths that look most like `path`: the same ending first, then the same letters."""
    name = path.rsplit("/", 1)[-1]
    endings = [p for p in known if p.endswith("/" + path) or p.rsplit("/", 1)[-1] == name]
    if endings:
        return get_close_matches(path, endings, n=limit, cutoff=0.0)
    return get_close_matches(path, known, n=limit, cutoff=0.75)
