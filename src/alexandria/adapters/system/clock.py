"""The clock of the machine."""

from __future__ import annotations

from datetime import UTC, datetime

from alexandria.ports.clock import Clock


class SystemClock(Clock):
    """What the operating system says; people and NTP set it, so it may step."""

    def now(self) -> datetime:
        """Return the present moment, to the microsecond."""
        return datetime.now(UTC)
