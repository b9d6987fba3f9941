"""Packages that are loaded when something of them is first used, so that a program starts before it needs them."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class LateModule:
    """Stands for a module until its first attribute is read.

    A checker of types is shown the import itself: `if TYPE_CHECKING: import numpy as np`, else this.

    Args:
        name: Of the module, with its packages.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(import_module(self._name), attribute)
        setattr(self, attribute, value)  # found at once from now on
        return value
