"""Progress of an index run on stderr: a bar for a person, one line a phase for a log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from alexandria.application.index import IndexProgress, ProgressListener
from alexandria.domain.job import Phase


@contextlib.contextmanager
def watched(console: Console) -> Iterator[ProgressListener]:
    """Show the phases of one run while the block runs; on a terminal the bars go away at the end."""
    with _bars(console) if console.is_terminal else _lines(console) as listener:
        yield listener


@contextlib.contextmanager
def _bars(console: Console) -> Iterator[ProgressListener]:
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[detail]}", markup=False),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        tasks: dict[Phase, TaskID] = {}

        def listen(step: IndexProgress) -> None:
            if step.phase not in tasks:
                tasks[step.phase] = bars.add_task(step.phase, total=1.0, detail="")
            bars.update(tasks[step.phase], completed=step.fraction, detail=step.detail)

        yield listen


@contextlib.contextmanager
def _lines(console: Console) -> Iterator[ProgressListener]:
    """Say each phase once when it begins, and again every ten seconds while it lasts."""
    said: dict[Phase, float] = {}

    def listen(step: IndexProgress) -> None:
        now = time.monotonic()
        if step.phase not in said or now - said[step.phase] >= 10:
            repeated = step.phase in said
            said[step.phase] = now
            console.print(f"{step.phase} …" + (f" {step.fraction:.0%} {step.detail}" if repeated else ""))

    yield listen
