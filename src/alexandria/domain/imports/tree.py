"""The repository as resolution sees it: its paths, and the text of its manifests."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class RepoTree(NamedTuple):
    """An in-memory repository; resolution asks this and never a disk.

    Attributes:
        paths: Every regular file that belongs to the repository (not only source files), posix,
            relative to its root.
        manifests: Text of the manifests that were asked for, by path. Undecodable bytes are
            replaced; a manifest may be malformed in any way.
    """

    paths: frozenset[str]
    manifests: Mapping[str, str] = MappingProxyType({})
