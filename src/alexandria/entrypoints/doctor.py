"""`alexandria doctor`: is everything there that the work needs?"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib import import_module
from importlib.metadata import version
from typing import Any

from alexandria.adapters.tree_sitter.parser import TreeSitterParser
from alexandria.domain.errors import AlexandriaError
from alexandria.domain.language import Language
from alexandria.entrypoints.library import Alexandria
from alexandria.entrypoints.settings import Settings, SettingsError

MIN_GIT = (2, 37)
MIN_FREE_BYTES = 500_000_000

_SAMPLES = {
    "sample.py": b"import a\n",
    "sample.js": b"import a from './a'\n",
    "sample.ts": b"import a from './a'\n",
    "Sample.java": b"import a.B; class Sample {}\n",
    "sample.go": b'package a\nimport "b"\n',
}


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"  # works, and could be better
    FAULT = "fault"  # something will fail


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        name: What was checked.
        verdict: How it ended.
        detail: What was seen: a version, a path, an error.
        hint: What to do about it; empty when it is well.
        seconds: How long the check took.
    """

    name: str
    verdict: Verdict
    detail: str
    hint: str = ""
    seconds: float = 0.0

    def shape(self) -> dict[str, Any]:
        """Return the documented JSON shape."""
        return asdict(self) | {"seconds": round(self.seconds, 4)}


async def examine() -> list[Finding]:
    """Run every check, each one even if others fail."""
    return [
        _timed("python", _python),
        _timed("settings", _settings),
        _timed("git", _git),
        await _store(),
        _timed("parsers", _parsers),
        _timed("pytorch", _pytorch),
    ]


def _timed(name: str, check: Callable[[], tuple[Verdict, str, str]]) -> Finding:
    began = time.monotonic()
    verdict, detail, hint = check()
    return Finding(name, verdict, detail, hint, time.monotonic() - began)


def _python() -> tuple[Verdict, str, str]:
    cores = os.cpu_count()
    return (
        Verdict.OK,
        f"{platform.python_version()} on {platform.system()}, {cores} cores, alexandria {version('alexandria')}",
        "",
    )


def _settings() -> tuple[Verdict, str, str]:
    try:
        settings = Settings.load()
    except SettingsError as error:
        return Verdict.FAULT, str(error), "set these variables right, or unset them for the defaults"
    return Verdict.OK, f"MODE={settings.mode}, data in {settings.data_dir}", ""


def _git() -> tuple[Verdict, str, str]:
    program = shutil.which("git")
    if program is None:
        return Verdict.FAULT, "not on PATH", "install git 2.37 or newer; folders that are no repository work without"
    text = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=False, timeout=30
    ).stdout.strip()
    numbers = tuple(int(part) for part in text.removeprefix("git version ").split(".")[:2] if part.isdecimal())
    if numbers < MIN_GIT:
        return Verdict.WARNING, text, "older than 2.37: cloning from a host cannot pin its address and is refused"
    return Verdict.OK, text, ""


async def _store() -> Finding:
    began = time.monotonic()
    verdict, detail, hint = Verdict.OK, "", ""
    try:
        settings = Settings.load()
        async with Alexandria.local() as alexandria:
            repos = await alexandria.repos()
        free = shutil.disk_usage(settings.data_dir).free
        detail = f"{len(repos)} repositories in {settings.data_dir}, {free / 1e9:.1f} GB free"
        if free < MIN_FREE_BYTES:
            verdict, hint = (
                Verdict.WARNING,
                "little room is left: remove repositories or set ALEXANDRIA_DATA to a larger disk",
            )
    except SettingsError:
        verdict, detail, hint = Verdict.WARNING, "not looked at", "set the settings right first"
    except AlexandriaError as error:
        verdict, detail, hint = Verdict.FAULT, str(error), "set ALEXANDRIA_DATA to a folder that you may write to"
    return Finding("data directory", verdict, detail, hint, time.monotonic() - began)


def _parsers() -> tuple[Verdict, str, str]:
    read = {facts.path: facts for facts in TreeSitterParser(processes=1).parse(iter(_SAMPLES.items()))}
    broken = sorted(path for path in _SAMPLES if path not in read or len(read[path].imports) != 1)
    if broken:
        return Verdict.FAULT, f"a sample import was not read: {', '.join(broken)}", "set up again: make clean setup"
    return Verdict.OK, f"tree-sitter {version('tree-sitter')}: {', '.join(Language)}", ""


def _pytorch() -> tuple[Verdict, str, str]:
    try:
        torch = import_module("torch")
        import_module("torch_geometric")
    except ImportError as error:
        return Verdict.FAULT, str(error), "install requirements-edge.txt"
    detail = f"torch {torch.__version__}, torch-geometric {version('torch-geometric')}"
    if torch.cuda.is_available():
        return Verdict.OK, f"{detail}, GPU {torch.cuda.get_device_name(0)}", ""
    return Verdict.OK, f"{detail}, no CUDA GPU: training runs on the CPU", ""
