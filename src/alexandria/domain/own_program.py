"""The command line of a program of our own, in an interpreter like this one."""

from __future__ import annotations

import sys


def own_program(boot: str, *arguments: str) -> list[str]:
    """Return a command that runs `boot` with nothing of the user's about it.

    The interpreter reads no variables, no `site` and no directory of its own, and writes bytecode only where this one
    does. What `boot` imports it must look for where this process does.

    Args:
        boot: Python source. Its `sys.argv[1:]` are `arguments` and then the text of this process's `sys.path`.
        arguments: Handed over.
    """
    options = ["-I", "-S", *(["-B"] if sys.dont_write_bytecode else [])]
    paths = [entry for entry in sys.path if isinstance(entry, str)]  # importers may put other things there
    return [sys.executable or "python", *options, "-c", boot, *arguments, *paths]
