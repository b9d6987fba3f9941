"""The port of parsing, by tree-sitter in worker processes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Final

from alexandria.adapters.tree_sitter import wire
from alexandria.adapters.tree_sitter.pool import Batch, WorkerPool
from alexandria.domain.imports.facts import ReadStatus, SourceFacts
from alexandria.domain.language import language_of
from alexandria.ports.source_parser import ParsingCancelledError, SourceParser

MAX_FILE_BYTES: Final = 1_000_000
DEADLINE_S: Final = 10.0
WORKER_BYTES: Final = 1 << 30
MAX_PROCESSES: Final = 8
BATCH_BYTES: Final = 1 << 18
BATCH_FILES: Final = 256


class TreeSitterParser(SourceParser):
    """Parses in worker processes: parsing holds the GIL, and a file may crash or hang its parser.

    Also a small repository goes through a worker. In this process it would be 30 ms faster, but
    nothing could then stop a file on which the grammar takes minutes (200,000 opening brackets do),
    or survive one on which it aborts.

    Held at once are at most three batches a worker, each of 256 KiB and at most one file more.
    """

    def __init__(
        self,
        *,
        processes: int | None = None,
        max_file_bytes: int = MAX_FILE_BYTES,
        deadline_s: float = DEADLINE_S,
        worker_bytes: int = WORKER_BYTES,
    ) -> None:
        """Start nothing yet; processes live only while `parse` runs.

        Args:
            processes: Most workers at once, at least 1. None: as many as this process may use cores,
                but at most 8: one process that reads and resolves does not keep more of them busy.
            max_file_bytes: Larger files are not parsed.
            deadline_s: Seconds a worker may be silent, so about the longest a single file may take.
            worker_bytes: Address space a worker may have. A file of 1 MB needs up to 0.5 GB when it is sane.
        """
        if processes is not None and processes < 1:
            raise ValueError(f"{processes} processes cannot parse")
        self._processes = processes or min(usable_cores(), MAX_PROCESSES)
        self.max_file_bytes = max_file_bytes
        self._deadline_s = deadline_s
        self._worker_bytes = worker_bytes

    def parse(
        self,
        files: Iterable[tuple[str, bytes | None]],
        *,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Generator[SourceFacts]:
        """See the port. Answers come batch by batch as the workers finish."""
        answered: deque[SourceFacts] = deque()
        drawn = self._batches(files, answered, cancelled)
        with WorkerPool(self._processes, self._deadline_s, self._worker_bytes) as pool:
            while True:
                pool.feed(lambda: next(drawn, None))
                while answered:
                    yield answered.popleft()
                if not pool.busy:
                    return
                _check(cancelled)
                yield from pool.collect()

    def _batches(
        self,
        files: Iterable[tuple[str, bytes | None]],
        answered: deque[SourceFacts],
        cancelled: Callable[[], bool],
    ) -> Iterator[Batch]:
        """Yield batches for the workers; what needs no parsing goes to `answered` instead."""
        batch: Batch = []
        size_bytes = 0
        for path, content in files:
            _check(cancelled)
            source = self._to_parse(path, content)
            if isinstance(source, SourceFacts):
                answered.append(source)
                continue
            batch.append(source)
            size_bytes += len(source[2])
            if size_bytes >= BATCH_BYTES or len(batch) >= BATCH_FILES:
                yield batch
                batch, size_bytes = [], 0
        if batch:
            yield batch

    def _to_parse(self, path: str, content: bytes | None) -> wire.Source | SourceFacts:
        language = language_of(path)
        if language is None:
            raise ValueError(f"{path!r} is no source file of a language that is read")
        if content is None:
            return SourceFacts(path, language, ReadStatus.UNREADABLE)
        if len(content) > self.max_file_bytes:
            return SourceFacts(path, language, ReadStatus.TOO_LARGE)
        return path, language, content


def _check(cancelled: Callable[[], bool]) -> None:
    if cancelled():
        raise ParsingCancelledError("the parsing was cancelled")


def usable_cores() -> int:
    """How many cores the scheduler lets this process use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
