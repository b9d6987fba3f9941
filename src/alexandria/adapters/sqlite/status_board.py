"""The board as a table of the data file."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from alexandria.adapters.sqlite.database import Database, PortErrors
from alexandria.adapters.sqlite.moments import from_us, to_us
from alexandria.domain.job import Phase
from alexandria.domain.worker_status import WorkerStatus
from alexandria.ports.clock import Clock
from alexandria.ports.status_board import (
    SeenWorker,
    StatusBoard,
    StatusBoardError,
    StatusBoardUnavailableError,
    WorkerReport,
    word_of,
)

_ERRORS = PortErrors(StatusBoardUnavailableError, full=StatusBoardUnavailableError, mismatch=StatusBoardError)


class SqliteStatusBoard(StatusBoard):
    """For every process that has the file open; the clock that it is given is the store's."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def publish(self, report: WorkerReport, *, ttl_s: float) -> None:
        """See the port."""
        if not ttl_s > 0:
            raise ValueError("a report must stay for longer than 0 seconds")

        def put_up(connection: sqlite3.Connection) -> None:
            now_us = to_us(self._clock.now())
            connection.execute("DELETE FROM worker_reports WHERE until_us <= ?", (now_us,))
            if report.status == WorkerStatus.offline():
                connection.execute("DELETE FROM worker_reports WHERE worker_id = ?", (report.worker_id,))
                return
            connection.execute(
                "INSERT OR REPLACE INTO worker_reports"
                " (number, worker_id, status, job_id, phase, fraction, seen_us, until_us)"
                " VALUES ((SELECT coalesce(max(number), 0) + 1 FROM worker_reports), ?, ?, ?, ?, ?, ?, ?)",
                (
                    report.worker_id,
                    report.status.text,
                    report.job_id,
                    report.phase,
                    report.fraction,
                    now_us,
                    now_us + round(ttl_s * 1e6),
                ),
            )

        with _ERRORS.translated():
            await self._database.write(put_up)

    async def status(self) -> WorkerStatus:
        """See the port."""
        return word_of(await self._heard_of())

    async def workers(self) -> Sequence[SeenWorker]:
        """See the port."""
        return sorted(await self._heard_of(), key=lambda seen: seen.report.worker_id)

    async def _heard_of(self) -> list[SeenWorker]:
        """Return the reports that hold, the one that was published last at the end."""

        def look(connection: sqlite3.Connection) -> list[SeenWorker]:
            cursor = connection.cursor()
            cursor.row_factory = sqlite3.Row
            now_us = to_us(self._clock.now())
            return [
                _seen(row)
                for row in cursor.execute("SELECT * FROM worker_reports WHERE until_us > ? ORDER BY number", (now_us,))
            ]

        with _ERRORS.translated():
            return await self._database.read(look)


def _seen(row: sqlite3.Row) -> SeenWorker:
    report = WorkerReport(
        worker_id=row["worker_id"],
        status=WorkerStatus(row["status"]),
        job_id=row["job_id"],
        phase=Phase(row["phase"]) if row["phase"] else None,
        fraction=row["fraction"],
    )
    return SeenWorker(report, from_us(row["seen_us"]))
