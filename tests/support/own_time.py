"""Time that passes when a test says so, for a worker that otherwise does everything for real."""

from __future__ import annotations

import asyncio

from alexandria.application.pacing import Timer

_SETTLED = 30
"""Rounds of the event loop in which what needs no thread and no network comes to rest."""


class OwnTime:
    """Seconds for one worker, which sleeps in one place at a time; between two sleeps it takes the time it takes."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.slept: list[float] = []
        self._sleepers: dict[asyncio.Future[None], float] = {}
        self._asleep = asyncio.Event()
        self.timer = Timer(lambda: self.now_s, self._sleep, lambda: 0.5)

    async def _sleep(self, seconds: float) -> None:
        wakes: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers[wakes] = self.now_s + seconds
        self._asleep.set()
        try:
            await wakes
            self.slept.append(seconds)
        finally:
            self._forget(wakes)

    async def run(self, seconds: float) -> None:
        """Let so many seconds pass: wait until the worker sleeps, wake it when its time has come, and so on."""
        end_s = self.now_s + seconds
        while True:
            for _ in range(_SETTLED):
                await asyncio.sleep(0)
            await self._asleep.wait()
            sleeper = min(self._sleepers, key=self._sleepers.__getitem__)
            wakes_at = self._sleepers[sleeper]
            if wakes_at > end_s:
                self.now_s = end_s
                return
            self.now_s = max(self.now_s, wakes_at)
            self._forget(sleeper)
            if not sleeper.done():
                sleeper.set_result(None)

    def _forget(self, sleeper: asyncio.Future[None]) -> None:
        self._sleepers.pop(sleeper, None)
        if not self._sleepers:
            self._asleep.clear()
