"""The board in the memory of one process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from alexandria.domain.worker_status import WorkerStatus
from alexandria.ports.clock import Clock
from alexandria.ports.status_board import SeenWorker, StatusBoard, WorkerReport, word_of


@dataclass(frozen=True, slots=True)
class _Posted:
    seen: SeenWorker
    until: datetime


class MemoryStatusBoard(StatusBoard):
    """For the tasks of one event loop; the clock it is given is the store's."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._posted: dict[str, _Posted] = {}  # the report that was published last comes last

    async def publish(self, report: WorkerReport, *, ttl_s: float) -> None:
        """See the port."""
        if not ttl_s > 0:
            raise ValueError("a report must stay for longer than 0 seconds")
        now = self._clock.now()
        self._posted.pop(report.worker_id, None)
        self._posted = {id_: posted for id_, posted in self._posted.items() if now < posted.until}
        if report.status != WorkerStatus.offline():
            self._posted[report.worker_id] = _Posted(SeenWorker(report, now), now + timedelta(seconds=ttl_s))

    async def status(self) -> WorkerStatus:
        """See the port."""
        return word_of(self._heard_of())

    async def workers(self) -> Sequence[SeenWorker]:
        """See the port."""
        return sorted(self._heard_of(), key=lambda seen: seen.report.worker_id)

    def _heard_of(self) -> list[SeenWorker]:
        now = self._clock.now()
        return [posted.seen for posted in self._posted.values() if now < posted.until]
