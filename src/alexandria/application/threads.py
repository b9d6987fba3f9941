"""Computing off the event loop, so that heartbeats and Ctrl-C go on meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def compute(work: Callable[[Callable[[], bool]], T]) -> T:
    """Run `work(cancelled)` in a thread and return its result.

    When the awaiting task is cancelled, `cancelled()` becomes true, the thread is waited for (so
    that what it uses may be closed after), and the cancellation goes on.
    """
    stop = threading.Event()
    running = asyncio.ensure_future(asyncio.to_thread(work, stop.is_set))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # taken note of: what the stopped work raised is the cancellation's echo
        raise
