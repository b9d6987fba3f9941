"""The program of a worker process: batches of files come in on stdin, facts go out on stdout.

It ends when its stdin ends, so it outlives no parent, however that one died.
"""

from __future__ import annotations

import gc
import logging
import os
import resource
import sys
import time
from typing import BinaryIO

from alexandria.adapters.tree_sitter import wire
from alexandria.adapters.tree_sitter.reading import read_source
from alexandria.domain.imports.facts import ReadStatus, SourceFacts
from alexandria.domain.language import Language

_FLUSH_AFTER_S = 0.05
_FLUSH_FROM_FILES = 64

logger = logging.getLogger(__name__)


def main() -> None:
    """Serve batches until stdin ends."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever prints must not print into the frames
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash on a hostile file is expected; its core helps nobody
    gc.freeze()
    try:
        answers.write(wire.frame([]))  # says: I am up
        serve(sys.stdin.buffer, answers)
    except (BrokenPipeError, KeyboardInterrupt):
        pass  # the parent has gone, or wants us gone: there is nobody left to tell


def serve(batches: BinaryIO, answers: BinaryIO) -> None:
    """Answer every file of every batch, in order; several answers may share a frame."""
    while message := _next(batches):
        packed: list[wire.Packed] = []
        flushed = time.monotonic()
        for path, language, content in wire.unpack_sources(message):
            packed.append(wire.pack_facts(_facts(path, language, content)))
            # The parent judges by silence, so no answer may wait long behind the next file.
            if len(packed) >= _FLUSH_FROM_FILES or time.monotonic() - flushed > _FLUSH_AFTER_S:
                _write(answers, packed)
                packed = []
                flushed = time.monotonic()
        if packed:
            _write(answers, packed)


def _facts(path: str, language: Language, content: bytes) -> SourceFacts:
    try:
        return read_source(path, language, content)
    except Exception:  # the port promises that no content costs more than its own file
        logger.exception("reading %r failed", path)
        return SourceFacts(path, language, ReadStatus.CRASHED)


def _next(batches: BinaryIO) -> list[tuple[str, int, bytes]] | None:
    header = batches.read(wire.HEADER_BYTES)
    if len(header) < wire.HEADER_BYTES:
        return None
    buffer = bytearray(header + batches.read(int.from_bytes(header, "little")))
    return next(wire.frames(buffer), None)


def _write(answers: BinaryIO, packed: list[wire.Packed]) -> None:
    rest = memoryview(wire.frame(packed))
    while rest:
        rest = rest[answers.write(rest) :]
