"""The board as keys of a Redis server.

Keys: the hash `alexandria:workers` holds the reports, and the string `worker_status` the word of
all for people with redis-cli and for older programs; it expires with the report that it repeats.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from alexandria.adapters.redis.scripts import board_script
from alexandria.domain.job import Phase
from alexandria.domain.worker_status import WorkerStatus
from alexandria.ports.script_store import Reply, ScriptStore, ScriptStoreError, ScriptStoreUnavailableError
from alexandria.ports.status_board import (
    SeenWorker,
    StatusBoard,
    StatusBoardError,
    StatusBoardUnavailableError,
    WorkerReport,
)

STATUS_KEY = "worker_status"
WORKERS_KEY = "alexandria:workers"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)


class RedisStatusBoard(StatusBoard):
    """For every program that reaches the server; the server's clock judges."""

    def __init__(self, store: ScriptStore) -> None:
        self._store = store

    async def publish(self, report: WorkerReport, *, ttl_s: float) -> None:
        """See the port."""
        if not ttl_s > 0:
            raise ValueError("a report must stay for longer than 0 seconds")
        entry = {
            "worker_id": report.worker_id,
            "status": report.status.text,
            "job_id": report.job_id,
            "phase": report.phase or "",
            "fraction": repr(float(report.fraction)),
            "ttl_us": round(ttl_s * 1e6),
        }
        with _translated():
            now_us = await self._store.now_us()
            time = "" if now_us is None else str(now_us)
            words = (board_script(), 2, STATUS_KEY, WORKERS_KEY, time, json.dumps(entry))
            answer = await self._store.command("EVAL", *words)
        if answer != "OK":
            raise _damaged(answer)

    async def status(self) -> WorkerStatus:
        """See the port."""
        statuses = [seen.report.status for seen in await self._heard_of()]
        busy = [status for status in statuses if status != WorkerStatus.idle()]
        return [WorkerStatus.offline(), *statuses, *busy][-1]

    async def workers(self) -> Sequence[SeenWorker]:
        """See the port."""
        return sorted(await self._heard_of(), key=lambda seen: seen.report.worker_id)

    async def _heard_of(self) -> list[SeenWorker]:
        """Return the reports that hold, the one that was published last at the end."""
        with _translated():
            texts = await self._store.command("HVALS", WORKERS_KEY)
            now_us = await self._store.now_us()
            if now_us is None:
                now_us = _microseconds(await self._store.command("TIME"))
        if not isinstance(texts, list):
            raise _damaged(texts)
        entries = [json.loads(str(text)) for text in texts]
        held = [entry for entry in entries if int(entry["until_us"]) > now_us]
        return [_seen(entry) for entry in sorted(held, key=lambda entry: int(entry["number"]))]


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ScriptStoreUnavailableError as error:
        raise StatusBoardUnavailableError(str(error)) from error
    except ScriptStoreError as error:
        raise StatusBoardError(str(error)) from error


def _seen(entry: dict[str, Any]) -> SeenWorker:
    report = WorkerReport(
        worker_id=entry["worker_id"],
        status=WorkerStatus(entry["status"]),
        job_id=entry["job_id"],
        phase=Phase(entry["phase"]) if entry["phase"] else None,
        fraction=float(entry["fraction"]),
    )
    return SeenWorker(report, _EPOCH + int(entry["seen_us"]) * _US)


def _microseconds(time: Reply) -> int:
    if not isinstance(time, list) or len(time) != 2:
        raise _damaged(time)
    return int(str(time[0])) * 1_000_000 + int(str(time[1]))


def _damaged(reply: Reply) -> StatusBoardUnavailableError:
    """Return the error for an answer that no Redis gives: something on the way spoke in its place."""
    return StatusBoardUnavailableError(f"what answers is not the Redis server: {reply!r:.50}")
