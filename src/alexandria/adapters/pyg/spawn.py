"""Starting a process that trains, before this one has loaded what it needs itself.

To load PyTorch takes longer than all else that a small repository needs, and a process loads one module at a time.
Hardly anything but the standard library is imported here, so that the other process can be on its way first.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import Final

from alexandria.domain.own_program import own_program

_BOOT: Final = "import sys; sys.path[:] = sys.argv[1:]; from alexandria.adapters.pyg.program import main; main()"

_started: list[TrainingProcess] = []


class TrainingProcess:
    """A process that loads PyTorch at once, and then trains what it is sent, as `program` says.

    A program of our own on two pipes, for the reasons that the parser's pool has. It ends with `close`, or when its
    stdin ends, so it outlives no parent.

    Raises:
        OSError: It could not be started.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            own_program(_BOOT),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if sys.stderr else subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for the parent, who then ends us
        )

    @property
    def stdin(self) -> int:
        """File descriptor of what it reads."""
        assert self._process.stdin is not None  # noqa: S101 - Popen was given PIPE
        return self._process.stdin.fileno()

    @property
    def stdout(self) -> int:
        """File descriptor of what it writes."""
        assert self._process.stdout is not None  # noqa: S101 - Popen was given PIPE
        return self._process.stdout.fileno()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def close(self, patience_s: float = 0.0) -> int:
        """End it and return how it ended, as `subprocess.Popen.returncode`; safe to repeat.

        Args:
            patience_s: How long to wait for one that is ending by itself.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(patience_s)
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        return self._process.wait()


def start() -> TrainingProcess:
    """Start a process and keep it for the first who asks with `take`.

    Raises:
        OSError: It could not be started.
    """
    process = TrainingProcess()
    _started.append(process)
    return process


def take() -> TrainingProcess | None:
    """Return the process that was started, to the first who asks; else None."""
    return _started.pop() if _started else None
