"""What a worker says of itself: its last word is put up as soon as the board takes it."""

from __future__ import annotations

import logging

from alexandria.application.pacing import Backoff, Timer
from alexandria.domain.job import Phase
from alexandria.domain.worker_status import WorkerStatus
from alexandria.ports.status_board import StatusBoard, StatusBoardError, WorkerReport

logger = logging.getLogger(__name__)

_LAST_WORDS = 3


class Presence:
    """Keeps one worker on the board. Never raises because the board is away: the last word is kept and put up later.

    Args:
        worker_id: Names the worker.
        board: Where it speaks.
        timer: What time it is.
        every_s: Seconds after which the same word is said again.
        ttl_s: Seconds after which a worker that is not heard of reads `Offline`.
    """

    def __init__(self, worker_id: str, board: StatusBoard, timer: Timer, *, every_s: float, ttl_s: float) -> None:
        self.worker_id = worker_id
        self._board = board
        self._timer = timer
        self._every_s = every_s
        self._ttl_s = ttl_s
        self._backoff = Backoff(timer)
        self._report: WorkerReport | None = None
        self._is_up = False
        self._due_at = timer.monotonic()

    @property
    def is_up(self) -> bool:
        """Whether the last word was put up."""
        return self._is_up

    async def say(
        self, status: WorkerStatus, *, job_id: str = "", phase: Phase | None = None, fraction: float = 0.0
    ) -> None:
        """Put up a word, or keep it for later if the board did not answer just now."""
        self._report = WorkerReport(self.worker_id, status, job_id, phase, fraction)
        self._is_up = False
        if not self._backoff.failures:
            self._due_at = self._timer.monotonic()
        await self.refresh()

    async def refresh(self) -> None:
        """Put up the last word if it is due."""
        if self._report is None or self.due_in_s() > 0:
            return
        try:
            await self._board.publish(self._report, ttl_s=self._ttl_s)
        except StatusBoardError as error:
            wait_s = self._backoff.failed()
            self._due_at = self._timer.monotonic() + wait_s
            logger.warning(
                "the status could not be put up: %s",
                error,
                extra={"failures": self._backoff.failures, "again_in_s": round(wait_s, 1)},
            )
            return
        if self._backoff.failures:
            logger.info("the status is put up again", extra={"failures": self._backoff.failures})
        self._backoff.succeeded()
        self._is_up = True
        self._due_at = self._timer.monotonic() + self._every_s

    def due_in_s(self) -> float:
        """Return the seconds until `refresh` will do something; 0 or less if it would now."""
        return self._due_at - self._timer.monotonic()

    async def leave(self) -> None:
        """Put up `Offline`, or give up after a few seconds: the last word expires by itself."""
        offline = WorkerReport(self.worker_id, WorkerStatus.offline())
        backoff = Backoff(self._timer)
        while True:
            try:
                return await self._board.publish(offline, ttl_s=self._ttl_s)
            except StatusBoardError as error:
                logger.warning("Offline could not be put up: %s", error)
                wait_s = backoff.failed()
                if backoff.failures == _LAST_WORDS:
                    return None
                await self._timer.sleep(wait_s)
