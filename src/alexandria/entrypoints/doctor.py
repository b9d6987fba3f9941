"""`alexandria doctor`: is everything there that the work needs?"""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from alexandria.domain.errors import AlexandriaError
from alexandria.domain.language import Language
from alexandria.entrypoints.containers import open_for
from alexandria.entrypoints.control_plane import ControlPlane
from alexandria.entrypoints.hardware import NO_GPU, describe_training
from alexandria.entrypoints.library import Alexandria
from alexandria.entrypoints.settings import Mode, Settings, SettingsError, env_file

MIN_GIT = (2, 37)
MIN_FREE_BYTES = 500_000_000

_SAMPLES = {
    "sample.py": b"import a\n",
    "sample.js": b"import a from './a'\n",
    "sample.ts": b"import a from './a'\n",
    "Sample.java": b"import a.B; class Sample {}\n",
    "sample.go": b'package a\nimport "b"\n',
}

_SAMPLE_REPOSITORY = {
    "cart.py": "import money\nimport stock\n",
    "money.py": "",
    "stock.py": "import money\n",
    "web.py": "import cart\n",
}

_HINTS = {
    "queue": "look at UPSTASH_REDIS_REST_URL and its token, or at REDIS_URL",
    "catalog": "look at DATABASE_URL; `alexandria migrate` makes or updates its tables",
    "vectors": "look at VECTOR_STORE, QDRANT_URL and QDRANT_API_KEY",
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
    """Run every check, each one even if others fail; what only reads code is not asked where nothing does (CLOUD)."""
    findings = [_timed("python", _python)]
    try:
        settings = Settings.load()
    except SettingsError as error:
        hint = "set these variables right, or unset them for the defaults" + _without_file()
        findings.append(Finding("settings", Verdict.FAULT, str(error), hint))
        findings.append(Finding("stores", Verdict.WARNING, "not looked at", "set the settings right first"))
        return [*findings, *_examine_tools()]
    findings.append(Finding("settings", Verdict.OK, _where_settings_are_from(settings)))
    findings += await _examine_stores(settings)
    return findings if settings.mode is Mode.CLOUD else [*findings, *_examine_tools()]


def _where_settings_are_from(settings: Settings) -> str:
    """Return the mode, and what it brings: the folder of the store, or the file that completes the environment."""
    file = env_file()
    if file is None:
        return f"MODE={settings.mode}, data in {settings.data_dir}"
    return f"MODE={settings.mode}" + (_without_file() or f", {file.absolute()} is read")


def _without_file() -> str:
    """Return a word on the file that `MODE` asks for, if it is not here; the usual cause is another folder."""
    file = env_file()
    return "" if file is None or file.is_file() else f"; there is no {file.absolute()}"


def _examine_tools() -> list[Finding]:
    return [_timed("git", _git), _timed("parsers", _parsers), _timed("pytorch", _pytorch)]


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


async def _examine_stores(settings: Settings) -> list[Finding]:
    """Ask each store for a sign of life."""
    began = time.monotonic()
    try:
        async with open_for(settings) as opened:
            checks = {"queue": opened.queue.check, "catalog": opened.catalog.check, "vectors": opened.vectors.check}
            findings = [await _ask(name, type(getattr(opened, name)).__name__, check) for name, check in checks.items()]
            if settings.mode is Mode.LOCAL:
                findings.insert(0, await _data_directory(settings, opened))
            return findings
    except AlexandriaError as error:
        hint = "set ALEXANDRIA_DATA to a folder that you may write to" if settings.mode is Mode.LOCAL else ""
        name = "data directory" if settings.mode is Mode.LOCAL else "stores"
        return [Finding(name, Verdict.FAULT, str(error), hint, time.monotonic() - began)]


async def _ask(name: str, adapter: str, check: Callable[[], Awaitable[None]]) -> Finding:
    began = time.monotonic()
    try:
        await check()
    except AlexandriaError as error:
        return Finding(name, Verdict.FAULT, f"{adapter}: {error}", _HINTS[name], time.monotonic() - began)
    seconds = time.monotonic() - began
    return Finding(name, Verdict.OK, f"{adapter} answers in {1000 * seconds:.0f} ms", "", seconds)


async def _data_directory(settings: Settings, opened: ControlPlane) -> Finding:
    began = time.monotonic()
    repos = await opened.repos()
    free = shutil.disk_usage(settings.data_dir).free
    counted = "1 repository" if len(repos) == 1 else f"{len(repos)} repositories"
    detail = f"{counted} in {settings.data_dir}, {free / 1e9:.1f} GB free"
    verdict, hint = Verdict.OK, ""
    if free < MIN_FREE_BYTES:
        verdict = Verdict.WARNING
        hint = "little room is left: remove repositories or set ALEXANDRIA_DATA to a larger disk"
    return Finding("data directory", verdict, detail, hint, time.monotonic() - began)


async def train_a_sample() -> Finding:
    """Read a folder of four files and train it on the device that the settings choose: the whole way, in small."""
    began = time.monotonic()
    try:
        async with open_for(Settings.load()) as opened:
            if not isinstance(opened, Alexandria):
                return Finding("training", Verdict.WARNING, "nothing is trained in this mode")
            with tempfile.TemporaryDirectory(prefix="alexandria-test-") as folder:
                _write_sample(Path(folder))
                code = await opened.read_graph(Path(folder))
            embedder = await asyncio.to_thread(opened.load_embedder)
            trained = await asyncio.to_thread(embedder.embed, code.graph, seed=0)
    except (AlexandriaError, ImportError) as error:
        return Finding("training", Verdict.FAULT, str(error), "see the checks above", time.monotonic() - began)
    seen = f"{code.graph.num_files} files, {code.graph.num_edges} edges, {trained.num_linked} vectors"
    right = (code.graph.num_files, trained.num_linked) == (4, 4) and bool(trained.report.loss)
    verdict, hint = (Verdict.OK, "") if right else (Verdict.FAULT, "four linked files must give four vectors")
    return Finding("training", verdict, f"{seen} on {trained.report.device}", hint, time.monotonic() - began)


def _write_sample(folder: Path) -> None:
    for name, text in _SAMPLE_REPOSITORY.items():
        (folder / name).write_text(text, encoding="utf-8")


def _parsers() -> tuple[Verdict, str, str]:
    try:
        parser = import_module("alexandria.adapters.tree_sitter.parser").TreeSitterParser(processes=1)
    except ImportError as error:
        return Verdict.FAULT, str(error), "install requirements-edge.txt"
    read = {facts.path: facts for facts in parser.parse(iter(_SAMPLES.items()))}
    broken = sorted(path for path in _SAMPLES if path not in read or len(read[path].imports) != 1)
    if broken:
        return Verdict.FAULT, f"a sample import was not read: {', '.join(broken)}", "set up again: make clean setup"
    return Verdict.OK, f"tree-sitter {version('tree-sitter')}: {', '.join(Language)}", ""


def _pytorch() -> tuple[Verdict, str, str]:
    try:
        found = describe_training()
    except ImportError as error:
        return Verdict.FAULT, str(error), "install requirements-edge.txt"
    gpu = "no CUDA GPU: training runs on the CPU" if found["gpu"] == NO_GPU else f"GPU {found['gpu']}"
    return Verdict.OK, f"torch {found['torch']}, torch-geometric {found['torch_geometric']}, {gpu}", ""
