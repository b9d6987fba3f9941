"""Alexandria learns the structure of code: which files play the same part, and what hangs on a file.

`from alexandria import Alexandria` is the whole API; `Alexandria.local()` is where to begin.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alexandria.entrypoints.library import Alexandria

__all__ = ["Alexandria"]


def __getattr__(name: str) -> object:
    # Loaded when asked for: the parser's worker processes import this package too, and need none of it.
    if name == "Alexandria":
        return import_module("alexandria.entrypoints.library").Alexandria
    raise AttributeError(f"module 'alexandria' has no attribute {name!r}")
