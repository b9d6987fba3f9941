"""Telling a service manager that we are up, alive and stopping: the protocol of sd_notify(3), without its library."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Mapping

logger = logging.getLogger(__name__)


class ServiceManager:
    """The socket that `NOTIFY_SOCKET` names; without that variable every call does nothing.

    Args:
        environment: Where `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` are looked up; None for that of the
            process.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        environment = os.environ if environment is None else environment
        path = environment.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the NUL of Linux's abstract names.
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._watchdog_s = _watchdog_s(environment)

    def say(self, *words: str) -> None:
        """Send assignments such as `READY=1`. A manager that does not take them is told of in the log."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as way:
                way.setblocking(False)
                way.sendto("\n".join(words).encode("utf-8", "replace"), self._address)
        except OSError as error:
            logger.warning("the service manager could not be told %s: %s", words[0], error)

    @contextlib.asynccontextmanager
    async def watchdog(self) -> AsyncIterator[None]:
        """Show twice in each interval of the watchdog that the event loop runs, for as long as the block does."""
        if not (self._address and self._watchdog_s):
            yield
            return
        showing = asyncio.create_task(self._show_life(self._watchdog_s / 2))
        try:
            yield
        finally:
            showing.cancel()
            await asyncio.gather(showing, return_exceptions=True)

    async def _show_life(self, every_s: float) -> None:
        while True:
            self.say("WATCHDOG=1")
            await asyncio.sleep(every_s)


def _watchdog_s(environment: Mapping[str, str]) -> float:
    """Return the interval in which the manager wants to hear of this process, 0 for none."""
    interval_us, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    meant = not pid or pid == str(os.getpid())
    return int(interval_us) / 1e6 if meant and interval_us.isdecimal() else 0.0
