"""Real worker processes that start in a few milliseconds: forked from a program that has loaded everything.

A worker spends 2 s of CPU on loading PyTorch; two hundred that are killed would spend them on nothing. What runs in
the fork is `run_worker`, the whole of `python worker.py`, in a process of its own with an environment of its own.

A worker can be told to die by SIGKILL (or to hang by SIGSTOP) where nobody could hit it from outside: before a call,
after it, or some time after it began.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
BEFORE, AFTER = "before", "after"


@dataclass(frozen=True)
class Accident:
    """What happens to a worker.

    Attributes:
        call: `module:Class.method` whose first call it happens at.
        when: `before`, `after`, or so many seconds after an end that gave something; once.
        signal: SIGKILL or SIGSTOP.
    """

    call: str
    when: str | float
    signal: int = signal.SIGKILL


@dataclass(frozen=True)
class Worker:
    """A worker that was started.

    Attributes:
        pid: Its process.
        id: Its `WORKER_ID`.
        log: The file that its stderr goes to.
    """

    pid: int
    id: str
    log: Path
    nursery: Nursery

    def wait(self) -> int:
        """Wait for its end and return its exit status, below 0 for a signal."""
        return int(self.nursery.ask({"wait": self.pid}))

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def events(self) -> list[dict[str, Any]]:
        """Return what it has logged so far; the line that it was killed in may be half."""
        lines = self.log.read_text().split("\n")[:-1]
        return [json.loads(line) for line in lines]


class Nursery:
    """The program, and how to speak to it."""

    def __init__(self, program: subprocess.Popen[str]) -> None:
        self._program = program

    def ask(self, order: Mapping[str, Any]) -> Any:
        """Send an order and return the answer."""
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._program.stdin.write(json.dumps(order) + "\n")
        self._program.stdin.flush()
        return json.loads(self._program.stdout.readline())

    def start(
        self, environment: Mapping[str, str], log: Path, *, once: bool = False, accident: Accident | None = None
    ) -> Worker:
        """Start a worker with nothing but `environment`; its log is appended to `log`."""
        log.touch()
        order: dict[str, Any] = {"environment": dict(environment), "log": str(log), "once": once}
        if accident is not None:
            order["accident"] = [accident.call, accident.when, int(accident.signal)]
        return Worker(int(self.ask(order)), environment["WORKER_ID"], log, self)


@contextmanager
def open_nursery() -> Iterator[Nursery]:
    """Load what a worker needs, once; leaving kills every worker that still lives."""
    with subprocess.Popen(
        [sys.executable, "-m", "support.worker_nursery"],
        cwd=TESTS,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        nursery = Nursery(program)
        yield nursery
        assert program.stdin is not None
        program.stdin.close()


def main() -> None:
    """Obey orders, one JSON document a line, until there are no more."""
    worker = import_module("alexandria.entrypoints.worker")
    for module in (
        *("adapters.pyg.embedder", "adapters.tree_sitter.parser", "adapters.redis.tcp", "adapters.upstash.rest"),
        *("entrypoints.containers.local", "entrypoints.containers.edge"),
    ):
        import_module(f"alexandria.{module}")
    living: set[int] = set()
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            _, status = os.waitpid(order["wait"], 0)
            living.discard(order["wait"])
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = os.fork()
            if answer == 0:
                _be_a_worker(worker.run_worker, order)
            living.add(answer)
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()
    for pid in living:
        os.kill(pid, signal.SIGKILL)


def _be_a_worker(run_worker: Callable[..., int], order: dict[str, Any]) -> None:
    """Run a worker in this fork and end it."""
    code = 70
    try:
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 2)
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        os.dup2(0, 1)
        os.environ.clear()
        os.environ.update(order["environment"])
        tempfile.tempdir = None  # it was asked for before TMPDIR was set
        if "accident" in order:
            _prepare(*order["accident"])
        code = run_worker(once=order["once"])
    finally:
        os._exit(code)


def _prepare(call: str, when: str | float, number: int) -> None:
    module, _, path = call.partition(":")
    owner_name, _, name = path.partition(".")
    owner = getattr(import_module(module), owner_name)
    real = getattr(owner, name)

    struck = threading.Event()

    def strike() -> None:
        if not struck.is_set():
            struck.set()
            os.kill(os.getpid(), number)

    def began() -> None:
        if when == BEFORE:
            strike()

    def ended(result: object) -> None:
        if when == AFTER:
            strike()
        elif isinstance(when, float) and result is not None:
            threading.Timer(when, strike).start()

    if inspect.iscoroutinefunction(real):

        @functools.wraps(real)
        async def wrapped(*args: Any, **kwargs: Any) -> Any:
            began()
            result = await real(*args, **kwargs)
            ended(result)
            return result
    else:

        @functools.wraps(real)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            began()
            result = real(*args, **kwargs)
            ended(result)
            return result

    setattr(owner, name, wrapped)


if __name__ == "__main__":
    main()
