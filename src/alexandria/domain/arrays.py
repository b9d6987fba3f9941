"""NumPy, loaded when its first function is called: the API starts in little memory and often never needs it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
else:

    class _Numpy:
        def __getattr__(self, name: str) -> Any:
            value = getattr(import_module("numpy"), name)
            setattr(self, name, value)  # found at once from now on
            return value

    np = _Numpy()

__all__ = ["np"]
