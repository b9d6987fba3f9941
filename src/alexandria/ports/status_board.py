"""Port: what each worker says of itself, for as long as it is heard of."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from alexandria.domain.errors import AlexandriaError
from alexandria.domain.job import Phase
from alexandria.domain.worker_status import WorkerStatus


class StatusBoardError(AlexandriaError):
    """Root of the errors of this port."""


class StatusBoardUnavailableError(StatusBoardError):
    """No answer. Every call may be repeated."""


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What one worker says.

    Attributes:
        worker_id: Who says it.
        status: What it does.
        job_id: The job it works on; empty if none.
        phase: Where in the job it is; None if it has none.
        fraction: Share of the phase that is done, in [0, 1].
    """

    worker_id: str
    status: WorkerStatus
    job_id: str = ""
    phase: Phase | None = None
    fraction: float = 0.0

    def __post_init__(self) -> None:
        if not self.worker_id:
            raise ValueError("a worker needs an id")
        if not 0 <= self.fraction <= 1:
            raise ValueError("a fraction is between 0 and 1")


@dataclass(frozen=True, slots=True)
class SeenWorker:
    """A report, and when it was made.

    Attributes:
        report: What was said.
        seen_at: When, UTC, by the store's clock.
    """

    report: WorkerReport
    seen_at: datetime


def word_of(workers: Sequence[SeenWorker]) -> WorkerStatus:
    """Return the one status to show for all that are heard of: what `StatusBoard.status` answers.

    For those who have the workers already, as each look may cost a request.

    Args:
        workers: In any order; of those seen at one moment, the one that comes last counts.
    """
    statuses = [seen.report.status for seen in sorted(workers, key=lambda seen: seen.seen_at)]
    busy = [status for status in statuses if status != WorkerStatus.idle()]
    return [WorkerStatus.offline(), *statuses, *busy][-1]


class StatusBoard(Protocol):
    """The last word of each worker; it expires, so a worker that died reads `Offline`."""

    @abstractmethod
    async def publish(self, report: WorkerReport, *, ttl_s: float) -> None:
        """Put up `report` in place of what this worker said before, for `ttl_s` seconds.

        When they have passed by the store's clock, the worker is not heard of any more. An
        `Offline` report takes it off the board at once. Repeating a call whose answer was lost
        has one effect.

        Raises:
            ValueError: `ttl_s` is not above 0.
            StatusBoardUnavailableError: No answer. Safe to retry.
        """
        ...

    @abstractmethod
    async def status(self) -> WorkerStatus:
        """Return the status that was published last by any worker that is still heard of.

        `Offline` if there is none. With several workers, one that is busy or in error is not
        hidden by an idle one: a status that is not `Idle` comes before `Idle`.

        Raises:
            StatusBoardUnavailableError: No answer. Safe to retry.
        """
        ...

    @abstractmethod
    async def workers(self) -> Sequence[SeenWorker]:
        """Return the workers that are heard of, by id.

        Raises:
            StatusBoardUnavailableError: No answer. Safe to retry.
        """
        ...
