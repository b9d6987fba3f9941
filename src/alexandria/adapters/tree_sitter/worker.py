"""The program of a worker process: batches of files come in on stdin, facts go out on stdout.

It ends when its stdin ends, so it outlives no parent, however that one died; and because a file on which
the grammar hangs would keep it from noticing, a timer of the kernel's ends it then.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
import time
from importlib import import_module
from types import ModuleType
from typing import Any, BinaryIO

from alexandria.adapters.tree_sitter import wire
from alexandria.adapters.tree_sitter.reading import read_source
from alexandria.domain.imports.facts import ReadStatus, SourceFacts
from alexandria.domain.language import Language

_FLUSH_AFTER_S = 0.05
_FLUSH_FROM_FILES = 64


def main(deadline_s: float, memory_bytes: int) -> None:
    """Serve batches until stdin ends.

    Args:
        deadline_s: Seconds a file may take. The parent judges by it first; twice as much ends us here.
        memory_bytes: Address space this process may have; a parser that wants more aborts.
    """
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever prints must not print into the frames
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash on a hostile file is expected; its core helps nobody
    if sys.platform == "linux":  # macOS maps hundreds of gigabytes into every process and refuses such a limit
        # 800 kB of "a<b<" make the Java grammar take gigabytes.
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        soft = memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    load_resources_late()
    gc.disable()  # nothing that lasts is made here, and reading makes no cycles
    try:
        answers.write(wire.frame([]))  # says: I am up
        serve(sys.stdin.buffer, answers, 2 * deadline_s)
    except (BrokenPipeError, KeyboardInterrupt):
        pass  # the parent has gone, or wants us gone: there is nobody left to tell


def load_resources_late() -> None:
    """Put a module in the place of `importlib.resources` that loads it when its `files` is called.

    The packages of the grammars import it for the text of queries, which nobody here asks for; with `tempfile`,
    `pathlib` and what else it loads, it is a quarter of the time that a worker takes to start.
    """
    name = "importlib.resources"
    if name in sys.modules:
        return

    def files(*arguments: Any) -> Any:
        sys.modules.pop(name, None)
        return import_module(name).files(*arguments)

    late = ModuleType(name)
    late.files = files  # type: ignore[attr-defined]
    sys.modules[name] = late


def serve(batches: BinaryIO, answers: BinaryIO, alarm_s: float) -> None:
    """Answer every file of every batch, in order; several answers may share a frame."""
    while message := _next(batches):
        packed: list[wire.Packed] = []
        flushed = time.monotonic()
        for path, language, content in wire.unpack_sources(message):
            # No handler: the default is to end the process. Each file sets the timer anew; `_write`, which may wait
            # for a parent that is slow, stops it.
            signal.setitimer(signal.ITIMER_REAL, alarm_s)
            packed.append(wire.pack_facts(_facts(path, language, content)))
            # The parent judges by silence, so no answer may wait long behind the next file.
            if len(packed) >= _FLUSH_FROM_FILES or time.monotonic() - flushed > _FLUSH_AFTER_S:
                _write(answers, packed)
                packed = []
                flushed = time.monotonic()
        _write(answers, packed)


def _facts(path: str, language: Language, content: bytes) -> SourceFacts:
    try:
        return read_source(path, language, content)
    except Exception as error:  # noqa: BLE001 - the port promises that no content costs more than its own file
        sys.excepthook(type(error), error, error.__traceback__)  # to stderr; logging takes a tenth of the start
        return SourceFacts(path, language, ReadStatus.CRASHED)


def _next(batches: BinaryIO) -> list[tuple[str, int, bytes]] | None:
    size_bytes = int.from_bytes(batches.read(wire.HEADER_BYTES), "little")
    body = batches.read(size_bytes)
    return wire.message(body) if body and len(body) == size_bytes else None


def _write(answers: BinaryIO, packed: list[wire.Packed]) -> None:
    signal.setitimer(signal.ITIMER_REAL, 0)
    if not packed:
        return
    rest = memoryview(wire.frame(packed))
    while rest:
        rest = rest[answers.write(rest) :]
