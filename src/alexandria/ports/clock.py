"""Port: what time it is."""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time; the only place that it comes from."""

    @abstractmethod
    def now(self) -> datetime:
        """Return the present moment in UTC, with its offset (aware). It may step backwards."""
        ...
