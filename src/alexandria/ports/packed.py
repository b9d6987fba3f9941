"""Compact forms of a repository's files, for stores that keep one value for many files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

from alexandria.domain.arrays import np
from alexandria.domain.language import Language

if TYPE_CHECKING:
    import numpy.typing as npt

_END = b"\0"


class PackedPaths(Sequence[str]):
    """Paths in one piece of UTF-8, each ended by NUL; a path is decoded when it is asked for.

    Takes the bytes of the paths and eight more for each; a tuple of strings takes some fifty more.
    """

    def __init__(self, blob: bytes) -> None:
        self.blob = blob
        self._ends = np.flatnonzero(np.frombuffer(blob, np.uint8) == 0)

    @classmethod
    def pack(cls, paths: Iterable[str]) -> PackedPaths:
        """Pack `paths`, in their order.

        Raises:
            ValueError: A path holds NUL, which no file system has, or a lone surrogate, which is
                how Python spells a name that is no UTF-8.
        """
        encoded = [path.encode() for path in paths]
        packed = cls(b"".join(path + _END for path in encoded))
        if len(packed) != len(encoded):
            raise ValueError("a path holds a NUL character")
        return packed

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        start = int(self._ends[index - 1]) + 1 if index else 0
        return self.blob[start : int(self._ends[index])].decode()

    def __iter__(self) -> Iterator[str]:
        return iter(self.blob.decode().split("\0")[:-1])

    @property
    def size_bytes(self) -> int:
        """Memory that it takes."""
        return len(self.blob) + self._ends.nbytes


@dataclass(frozen=True, slots=True, eq=False)
class PackedLanguages:
    """The language of each file as one byte, and what the bytes stand for.

    Attributes:
        names: Language of each code.
        codes: Shape (N,), uint8.
    """

    names: tuple[Language, ...]
    codes: npt.NDArray[np.uint8]

    @classmethod
    def pack(cls, languages: Sequence[Language]) -> PackedLanguages:
        """Pack `languages`, in their order."""
        names = tuple(sorted(set(languages)))
        code = {name: i for i, name in enumerate(names)}
        return cls(names, np.fromiter((code[language] for language in languages), np.uint8, len(languages)))

    @classmethod
    def from_bytes(cls, blob: bytes) -> PackedLanguages:
        """Read what `to_bytes` wrote."""
        names, _, codes = blob.partition(_END)
        return cls(tuple(map(Language, names.decode().split())), np.frombuffer(codes, np.uint8))

    @classmethod
    def concatenate(cls, parts: Sequence[PackedLanguages]) -> PackedLanguages:
        """Join parts whose codes may stand for different languages."""
        names = tuple(sorted({name for part in parts for name in part.names}))
        code = {name: i for i, name in enumerate(names)}
        joined = [np.array([code[n] for n in part.names], np.uint8)[part.codes] for part in parts if part.names]
        return cls(names, np.concatenate(joined) if joined else np.empty(0, np.uint8))

    def to_bytes(self) -> bytes:
        """Return the names, separated by spaces, then NUL, then the codes."""
        return " ".join(self.names).encode() + _END + self.codes.tobytes()

    def __getitem__(self, index: int) -> Language:
        return self.names[int(self.codes[index])]

    def among(self, wanted: Iterable[Language]) -> npt.NDArray[np.bool_]:
        """Return the mask, shape (N,), of files whose language is `wanted`."""
        wanted = frozenset(wanted)
        return np.array([name in wanted for name in self.names], np.bool_)[self.codes]
