"""Worker processes that parse: started, fed, watched, replaced and ended here.

Not `multiprocessing`: its spawn and forkserver run the caller's `__main__` again, which a script without
the `if __name__ == "__main__"` guard does not survive, and its fork copies a process that has threads
(torch, asyncio). A program of our own on two pipes has neither trouble, and starts in 30 ms.

One thread does it all, by `selectors`; so there is nothing to join, and wherever the caller leaves the
generator (an error, a cancel, Ctrl-C, simply stopping) the same `close` ends the workers.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from alexandria.adapters.tree_sitter import wire
from alexandria.domain.imports.facts import ReadStatus, SourceFacts
from alexandria.domain.own_program import own_program
from alexandria.ports.source_parser import SourceParserUnavailableError

_BOOT: Final = (
    "import sys; sys.path[:] = sys.argv[3:]; "
    "from alexandria.adapters.tree_sitter.worker import main; main(float(sys.argv[1]), int(sys.argv[2]))"
)
# What an interpreter may need to find its own libraries. The rest of the environment holds secrets that a
# process which reads hostile files has no use for.
_ENVIRONMENT: Final = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")

_READ_BYTES: Final = 1 << 18
_BATCHES_A_WORKER: Final = 2  # one that is parsed and one that is on its way
_PIPE_BYTES: Final = 1 << 20  # what Linux allows everybody by default
_POLL_S: Final = 0.1  # how often a cancel is noticed while every worker is busy
_START_ATTEMPTS: Final = 3
_START_S: Final = 30.0  # an interpreter may be slow to load from a cold or a remote disk

Batch = list[wire.Source]


@dataclass(eq=False)
class _Worker:
    process: subprocess.Popen[bytes]
    outbox: deque[memoryview] = field(default_factory=deque)  # frames that are not written yet
    inbox: bytearray = field(default_factory=bytearray)
    batches: deque[Batch] = field(default_factory=deque)  # unanswered files, oldest batch first
    silent_s: float = 0.0
    started: bool = False

    @property
    def stdin(self) -> int:
        assert self.process.stdin is not None  # noqa: S101 - Popen was given PIPE
        return self.process.stdin.fileno()

    @property
    def stdout(self) -> int:
        assert self.process.stdout is not None  # noqa: S101 - Popen was given PIPE
        return self.process.stdout.fileno()


class WorkerPool:
    """Up to `processes` workers; a context manager that leaves none of them behind.

    A batch whose worker dies is sent again file by file, so that the file which kills is found and
    the others are not lost; a file that kills alone comes back as CRASHED.
    """

    def __init__(self, processes: int, deadline_s: float, memory_bytes: int) -> None:
        self._processes = processes
        self._deadline_s = deadline_s
        self._memory_bytes = memory_bytes
        self._selector = selectors.DefaultSelector()
        self._workers: list[_Worker] = []
        self._again: deque[Batch] = deque()
        self._shared: dict[str, str] = {}
        self._failed_starts = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every worker, at once; safe to repeat."""
        for worker in self._workers:
            worker.process.kill()
        while self._workers:
            self._bury(self._workers[-1])
        self._selector.close()

    @property
    def busy(self) -> bool:
        """Whether some file was handed over and has no answer yet."""
        return bool(self._again) or any(worker.batches for worker in self._workers)

    def feed(self, draw: Callable[[], Batch | None]) -> None:
        """Hand out batches until every worker has enough.

        Args:
            draw: Answers the next batch, never empty, or None when there is none left.

        Raises:
            SourceParserUnavailableError: A worker could not be started.
        """
        while True:
            worker = min(self._workers, key=lambda w: len(w.batches), default=None)
            may_start = len(self._workers) < self._processes
            if worker is not None and len(worker.batches) >= (1 if may_start else _BATCHES_A_WORKER):
                worker = None
            if worker is None and not may_start:
                return
            batch = self._again.popleft() if self._again else draw()
            if batch is None:
                return
            worker = worker or self._start()
            worker.batches.append(batch)
            worker.outbox.append(memoryview(wire.pack_sources(batch)))
            self._watch(worker)

    def collect(self) -> Iterator[SourceFacts]:
        """Wait a moment for answers and yield those that came; also notice the dead and the hung.

        Raises:
            SourceParserUnavailableError: Workers die before they are up.
        """
        before = time.monotonic()
        ready = self._selector.select(_POLL_S)
        waited_s = time.monotonic() - before
        heard: list[_Worker] = []
        for key, events in ready:
            worker: _Worker = key.data
            if events & selectors.EVENT_WRITE:
                self._write(worker)
            if events & selectors.EVENT_READ:
                heard.append(worker)
        for worker in heard:
            yield from self._read(worker)
        for worker in [w for w in self._workers if w not in heard and w.batches]:
            # Only time spent waiting here counts: a consumer that is slow to take the
            # answers must not make its workers look hung.
            worker.silent_s += waited_s
            if worker.silent_s > (self._deadline_s if worker.started else max(self._deadline_s, _START_S)):
                yield from self._give_up(worker)

    def _start(self) -> _Worker:
        limits = [str(self._deadline_s), str(self._memory_bytes)]
        try:
            process = subprocess.Popen(
                own_program(_BOOT, *limits),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
                start_new_session=True,  # Ctrl-C is for the parent, who then ends us
            )
        except OSError as error:
            raise SourceParserUnavailableError(f"no parser process could be started: {error}") from error
        worker = _Worker(process)
        os.set_blocking(worker.stdin, False)
        os.set_blocking(worker.stdout, False)
        _widen(worker.stdin)
        self._workers.append(worker)
        self._selector.register(worker.stdout, selectors.EVENT_READ, worker)
        return worker

    def _watch(self, worker: _Worker) -> None:
        known = worker.stdin in self._selector.get_map()
        if worker.outbox and not known:
            self._selector.register(worker.stdin, selectors.EVENT_WRITE, worker)
        elif known and not worker.outbox:
            self._selector.unregister(worker.stdin)

    def _write(self, worker: _Worker) -> None:
        try:
            written = os.write(worker.stdin, worker.outbox[0])
        except BlockingIOError:
            return
        except BrokenPipeError:
            worker.outbox.clear()  # it is dead; the end of its stdout will say so
        else:
            rest = worker.outbox.popleft()[written:]
            if rest:
                worker.outbox.appendleft(rest)
        self._watch(worker)

    def _read(self, worker: _Worker) -> Iterator[SourceFacts]:
        try:
            data = os.read(worker.stdout, _READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            yield from self._give_up(worker)
            return
        worker.silent_s = 0.0
        worker.inbox += data
        for answers in wire.frames(worker.inbox):
            worker.started = True
            for packed in answers:
                path, language, _ = worker.batches[0].pop(0)
                if not worker.batches[0]:
                    worker.batches.popleft()
                yield wire.unpack_facts(path, language, packed, self._shared)

    def _give_up(self, worker: _Worker) -> Iterator[SourceFacts]:
        worker.process.kill()
        self._bury(worker)
        if not worker.started:
            self._failed_starts += 1
            if self._failed_starts >= _START_ATTEMPTS:
                raise SourceParserUnavailableError(
                    f"a parser process ended with code {worker.process.returncode} before it was up"
                )
            self._again.extend(worker.batches)
            return
        if worker.batches:
            suspects = worker.batches.popleft()
            if len(suspects) == 1:
                path, language, _ = suspects[0]
                yield SourceFacts(path, language, ReadStatus.CRASHED)
            else:
                self._again.extendleft([source] for source in reversed(suspects))
        self._again.extend(worker.batches)

    def _bury(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        for pipe in (worker.process.stdin, worker.process.stdout):
            if pipe is not None:
                if pipe.fileno() in self._selector.get_map():
                    self._selector.unregister(pipe.fileno())
                pipe.close()
        worker.process.wait()  # it was killed or had closed its stdout: this only collects it


def _widen(pipe: int) -> None:
    """Let a whole batch lie ready in the pipe, so that a worker which has finished one need not wait for us."""
    if sys.platform == "linux":
        with contextlib.suppress(PermissionError):  # the user has as many pipe pages as an administrator allows
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
