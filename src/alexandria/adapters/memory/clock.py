"""A clock that stands still until it is told to move."""

from __future__ import annotations

from datetime import datetime, timedelta

from alexandria.ports.clock import Clock


class ManualClock(Clock):
    """Shows the time that it was set to: for tests, and to replay what happened.

    Args:
        now: UTC.
    """

    def __init__(self, now: datetime) -> None:
        if now.utcoffset() != timedelta(0):
            raise ValueError("a clock shows UTC")
        self._now = now

    def now(self) -> datetime:
        """Return the moment that it was set to."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move by `seconds`; below 0 it steps back."""
        self._now += timedelta(seconds=seconds)
