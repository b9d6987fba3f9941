"""NumPy, loaded when its first function is called: the API starts in little memory and often never needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
else:
    from alexandria.domain.late import LateModule

    np = LateModule("numpy")

__all__ = ["np"]
