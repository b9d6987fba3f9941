"""The worker: takes jobs from the queue until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys

from alexandria.domain.errors import AlexandriaError
from alexandria.entrypoints.library import Alexandria

logger = logging.getLogger(__name__)


def default_worker_id() -> str:
    """Return a name that tells people which machine and process this is."""
    return f"{socket.gethostname()}-{os.getpid()}"


async def work(alexandria: Alexandria, worker_id: str, *, once: bool = False) -> int:
    """Work off the queue; return how many attempts were made.

    SIGINT and SIGTERM give the running job back and end the loop; so does cancelling the task.

    Args:
        alexandria: Where the queue and the stores are.
        worker_id: Names this worker.
        once: End when no job waits, instead of looking again.
    """
    attempts = 0
    running = asyncio.ensure_future(_loop_forever(alexandria, worker_id, once=once))
    with contextlib.ExitStack() as handlers:
        if sys.platform != "win32":
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, running.cancel)
                handlers.callback(loop.remove_signal_handler, number)
        try:
            attempts = await running
        except asyncio.CancelledError:
            logger.info("worker %s stopped; what it worked on is given back", worker_id)
        finally:
            await alexandria.take_off_the_board(worker_id)
    return attempts


async def _loop_forever(alexandria: Alexandria, worker_id: str, *, once: bool) -> int:
    attempts = 0
    logger.info("worker %s waits for jobs", worker_id)
    await alexandria.say_idle(worker_id)
    while True:
        ended = await alexandria.work_off_one(worker_id)
        if ended is not None:
            attempts += 1
        elif once:
            return attempts
        else:
            await alexandria.say_idle(worker_id)
            await asyncio.sleep(alexandria.settings.poll_interval_seconds)


def main() -> None:
    """Run `python worker.py`: a worker over the stores that the environment names."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)

    async def run() -> None:
        async with Alexandria.local() as alexandria:
            await work(alexandria, default_worker_id())

    try:
        asyncio.run(run())
    except AlexandriaError as error:
        logger.error("%s", error)  # noqa: TRY400  # a sentence for a person; the trace would hide it
        raise SystemExit(1) from None
