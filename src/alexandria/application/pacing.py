"""How long a worker waits: between looks at the queue, and while something does not answer."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timer:
    """Seconds that pass; tests put in seconds of their own.

    Attributes:
        monotonic: Seconds that only grow.
        sleep: Waits for so many of them.
        random: A number in [0, 1).
    """

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random


async def pause(timer: Timer, seconds: float, *, until: asyncio.Event) -> None:
    """Wait for so many seconds, or until the event is set."""
    waits = [asyncio.ensure_future(timer.sleep(seconds)), asyncio.ensure_future(until.wait())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


class Backoff:
    """Waits that double from failure to failure, each cut by up to a half at random, so that workers part ways.

    Args:
        timer: Where the randomness comes from.
        first_s: Least wait after the first failure.
        most_s: Greatest wait.
    """

    def __init__(self, timer: Timer, *, first_s: float = 1.0, most_s: float = 60.0) -> None:
        self._timer = timer
        self._first_s = first_s
        self._most_s = most_s
        self.failures = 0

    def failed(self) -> float:
        """Count a failure and return the seconds to wait before the next attempt."""
        self.failures += 1
        # The exponent is bounded too: after days of failures 2**n would be no float.
        longest_s = min(self._most_s, self._first_s * 2.0 ** min(self.failures, 60))
        return longest_s * (0.5 + 0.5 * self._timer.random())

    def succeeded(self) -> None:
        """Begin anew."""
        self.failures = 0


class Polling:
    """The pauses between two looks at an empty queue: short while there is work, longer when there is none.

    Args:
        timer: What time it is.
        interval_s: The pause while there was work in the last `QUIET_S` seconds.
        idle_most_s: To what it doubles after that; `interval_s` for a queue that is free to ask.
    """

    QUIET_S = 60.0

    def __init__(self, timer: Timer, *, interval_s: float, idle_most_s: float) -> None:
        self._timer = timer
        self._interval_s = interval_s
        self._idle_most_s = idle_most_s
        self._pause_s = interval_s
        self._worked_at = timer.monotonic()

    def worked(self) -> None:
        """Note that there was work just now."""
        self._worked_at = self._timer.monotonic()
        self._pause_s = self._interval_s

    def next_s(self) -> float:
        """Return the seconds to wait before the next look."""
        if self._timer.monotonic() - self._worked_at > self.QUIET_S:
            self._pause_s = min(2 * self._pause_s, max(self._idle_most_s, self._interval_s))
        return self._pause_s
