"""What `git fetch --progress` says while it works."""

from __future__ import annotations

import re
from collections.abc import Callable

# (from, to): the share of the whole that each step stands for. Receiving is what takes long.
_STEPS = {b"Counting": (0.0, 0.05), b"Compressing": (0.05, 0.1), b"Receiving": (0.1, 0.85), b"Resolving": (0.85, 1.0)}
_PERCENT = re.compile(rb"(?:remote: )?(Counting|Compressing|Receiving|Resolving) [a-z]{1,20}: +(\d{1,3})% ")
_END_OF_LINE = re.compile(rb"[\r\n]")
_LONGEST_LINE = 4096
_KEPT = 1 << 16


class FetchProgress:
    """Turns git's stderr into a share that never falls, and keeps what is no progress.

    The text comes from a host that may send anything: lines without end are cut, and only the last
    64 KiB of them are kept.
    """

    def __init__(self, listener: Callable[[float], None]) -> None:
        self._listener = listener
        self._share = 0.0
        self._line = b""
        self._kept = bytearray()

    def start(self) -> None:
        """Forget the words of an attempt that came before; the share stays."""
        self._line = b""
        self._kept.clear()

    def feed(self, chunk: bytes) -> None:
        """Take the next piece of stderr."""
        *lines, self._line = _END_OF_LINE.split(self._line + chunk)
        for line in lines:
            self._take(line)
        self._line = self._line[:_LONGEST_LINE]

    @property
    def words(self) -> str:
        """What was said beside progress."""
        return (bytes(self._kept) + self._line).decode("utf-8", "replace")

    def _take(self, line: bytes) -> None:
        match = _PERCENT.match(line)
        if match is None:
            self._kept += line[:_LONGEST_LINE] + b"\n"
            del self._kept[:-_KEPT]
            return
        begin, end = _STEPS[match[1]]
        share = begin + (end - begin) * min(int(match[2]), 100) / 100
        if share > self._share:
            self._share = share
            self._listener(share)
