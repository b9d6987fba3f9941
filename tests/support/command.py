"""The command line as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM = [sys.executable, "-m", "alexandria.entrypoints.start"]


def environment(data: Path, **more: str) -> dict[str, str]:
    """Return an environment that names `data` as the data directory and nothing else of ours."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "ALEXANDRIA_DATA": str(data), "COLUMNS": "200", **more}


@dataclass(frozen=True)
class Finished:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it wrote to stdout, which must be one JSON document."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Command:
    """Runs `alexandria …` over one data directory."""

    data: Path
    extra: Mapping[str, str]

    def __call__(self, *arguments: str, cwd: Path | None = None, timeout_s: float = 120) -> Finished:
        done = subprocess.run(
            [*PROGRAM, *arguments],
            env=environment(self.data, **self.extra),
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)
