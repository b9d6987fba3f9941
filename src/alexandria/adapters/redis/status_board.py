"""The board as keys of a Redis server.

Keys: the hash `alexandria:workers` holds the reports, and the string `worker_status` the word of
all for people with redis-cli and for older programs; it expires some time after the reports do.

Where commands are metered (the store has a time of its own), a report that says what the last one
said is one plain command instead of a script of four: presence is most of what an idle worker costs.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from alexandria.adapters.redis.scripts import board_script
from alexandria.domain.errors import DomainError
from alexandria.domain.job import Phase
from alexandria.domain.worker_status import WorkerStatus
from alexandria.ports.script_store import Reply, ScriptStore, ScriptStoreError, ScriptStoreUnavailableError
from alexandria.ports.status_board import (
    SeenWorker,
    StatusBoard,
    StatusBoardError,
    StatusBoardUnavailableError,
    WorkerReport,
    word_of,
)

STATUS_KEY = "worker_status"
WORKERS_KEY = "alexandria:workers"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)
_SCRIPT_AGAIN_US = 30 * 60 * 1_000_000


@dataclass(frozen=True, slots=True)
class _LastWord:
    """What this program published last for a worker, and when the script last ran for it."""

    entry: dict[str, Any]
    seen_us: int
    number: int
    script_us: int


class RedisStatusBoard(StatusBoard):
    """For every program that reaches the server; the server's clock judges."""

    def __init__(self, store: ScriptStore) -> None:
        self._store = store
        self._last_words: dict[str, _LastWord] = {}

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
            last = self._last_words.pop(report.worker_id, None)
            if now_us is not None and last and last.entry == entry and _is_soon_after(last, now_us):
                await self._repeat(last, now_us)
            else:
                await self._run_script(entry, now_us)

    async def _repeat(self, last: _LastWord, now_us: int) -> None:
        times = {"number": last.number, "seen_us": str(now_us), "until_us": str(now_us + last.entry["ttl_us"])}
        worker_id = last.entry["worker_id"]
        added = await self._store.command("HSET", WORKERS_KEY, worker_id, json.dumps(last.entry | times))
        if not isinstance(added, int):
            raise _damaged(added)
        self._last_words[worker_id] = replace(last, seen_us=now_us)

    async def _run_script(self, entry: dict[str, Any], now_us: int | None) -> None:
        time = "" if now_us is None else str(now_us)
        arguments = json.dumps(entry | {"grace_us": 0 if now_us is None else _SCRIPT_AGAIN_US})
        number = await self._store.command("EVAL", board_script(), 2, STATUS_KEY, WORKERS_KEY, time, arguments)
        if not isinstance(number, int):
            raise _damaged(number)
        if now_us is not None and number:
            self._last_words[entry["worker_id"]] = _LastWord(entry, now_us, number, now_us)

    async def status(self) -> WorkerStatus:
        """See the port."""
        return word_of(await self._heard_of())

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
        posted = [found for text in texts if (found := _posted(str(text))) is not None]
        return [found.seen for found in sorted(posted) if found.until_us > now_us]


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ScriptStoreUnavailableError as error:
        raise StatusBoardUnavailableError(str(error)) from error
    except ScriptStoreError as error:
        raise StatusBoardError(str(error)) from error


def _is_soon_after(last: _LastWord, now_us: int) -> bool:
    """Whether a repetition may do without the script; at one moment the script's number tells which was later."""
    return last.seen_us < now_us < last.script_us + _SCRIPT_AGAIN_US


@dataclass(frozen=True, slots=True, order=True)
class _Posted:
    """An entry of the hash, in the order of publication."""

    seen_us: int
    number: int
    until_us: int = field(compare=False)
    seen: SeenWorker = field(compare=False)


def _posted(text: str) -> _Posted | None:
    """Return what an entry says, or None if somebody made it unreadable: it hides no other."""
    try:
        entry = json.loads(text)
        seen_us = int(entry["seen_us"])
        report = WorkerReport(
            worker_id=entry["worker_id"],
            status=WorkerStatus(entry["status"]),
            job_id=entry["job_id"],
            phase=Phase(entry["phase"]) if entry["phase"] else None,
            fraction=float(entry["fraction"]),
        )
        seen = SeenWorker(report, _EPOCH + seen_us * _US)
        return _Posted(seen_us, int(entry["number"]), int(entry["until_us"]), seen)
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError, DomainError):
        return None


def _microseconds(time: Reply) -> int:
    if not isinstance(time, list) or len(time) != 2:
        raise _damaged(time)
    return int(str(time[0])) * 1_000_000 + int(str(time[1]))


def _damaged(reply: Reply) -> StatusBoardUnavailableError:
    """Return the error for an answer that no Redis gives: something on the way spoke in its place."""
    return StatusBoardUnavailableError(f"what answers is not the Redis server: {reply!r:.50}")
