"""A value that is fetched at most once at a time, and remembered for a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Memo(Generic[T]):
    """Fetches a value when it is asked for and the one that it has is too old.

    However many ask at once, one fetch is under way. A caller that gives up does not end it for the
    others. An error goes to all who wait for it and is not remembered.

    Args:
        fetch: Gets the value.
        ttl_s: Seconds for which it is remembered; 0: until it is there.
        clock: Seconds that only grow.
    """

    def __init__(
        self, fetch: Callable[[], Coroutine[Any, Any, T]], ttl_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fetch = fetch
        self._ttl_s = ttl_s
        self._clock = clock
        self._held: tuple[T, float] | None = None
        self._flight: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """Return the value, at most `ttl_s` old when it was asked for."""
        if self._held is not None and self._clock() - self._held[1] < self._ttl_s:
            return self._held[0]
        if self._flight is None:
            self._flight = asyncio.get_running_loop().create_task(self._fetch())
            self._flight.add_done_callback(self._land)
        return await asyncio.shield(self._flight)

    def _land(self, flight: asyncio.Task[T]) -> None:
        self._flight = None
        if not flight.cancelled() and flight.exception() is None:
            self._held = flight.result(), self._clock()

    async def close(self) -> None:
        """End a fetch that is under way."""
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.wait([self._flight])
