"""How much of a repository is taken before it is refused."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class SourceLimits:
    """Limits of one open; `RepoLimitError.limit` is the name of the field that was passed.

    Attributes:
        clone_timeout_s: Seconds for opening as a whole: connecting, receiving, listing.
        stall_timeout_s: Seconds without a sign of life from the host.
        clone_bytes: What a clone may take on disk.
        tree_bytes: Sum of the sizes of all files of a clone that would be read, unpacked.
        files: Entries of the tree, those that are left out among them.
        file_bytes: A larger file is listed and reads as None.
        path_length: Bytes of a path in UTF-8; a file with a longer one is left out.
        memory_bytes: Address space of each git process, where the platform can bound it.
    """

    clone_timeout_s: float = 600.0
    stall_timeout_s: float = 60.0
    clone_bytes: int = 2048 * MIB
    tree_bytes: int = 8192 * MIB
    files: int = 200_000
    file_bytes: int = 8 * MIB
    path_length: int = 1024
    memory_bytes: int = 2048 * MIB

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if getattr(self, name) <= 0:
                raise ValueError(f"the limit {name} must be above 0")
