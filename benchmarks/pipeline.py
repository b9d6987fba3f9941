"""The whole job on a directory: from the start of the process to an index that can be searched.

    .venv/bin/python benchmarks/pipeline.py                     # 500, 1,500 and 10,000 generated files, ours
    .venv/bin/python benchmarks/pipeline.py --codegraph npm     # the same beside codegraph, which npm fetches
    .venv/bin/python benchmarks/pipeline.py DIR [DIR …] --codegraph PATH/TO/node_modules/.bin/codegraph

Each run is a fresh process on a fresh data directory (and, for the rival, a fresh copy of the sources), interleaved
round by round; the figures are medians. Wall and CPU seconds are of the command and all its children; memory is the
largest sum of the proportional set sizes (PSS) of all its processes at one moment, sampled every 100 ms. Phases are the
command's own (`--json`); `load` is what is left: starting Python, importing, waiting for PyTorch.

The rival is codegraph (npm `@colbymchenry/codegraph`), which stores a symbol graph and no vectors. It runs with a home
directory of its own and its telemetry, update check and daemon off. A size with a target (seconds, and 1 GB) says
whether it was met; the command answers 1 when one was not, for what it is worth on a machine that does other things.
The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil


@dataclass(frozen=True)
class Run:
    """One process from its start to its end."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    out: str


def measured(command: list[str], environment: dict[str, str]) -> Run:
    """Run `command` to its end and return what it took.

    Raises:
        CalledProcessError: It failed.
    """
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=err, stdin=subprocess.DEVNULL)
        peak, ended = [0], threading.Event()
        watcher = threading.Thread(target=_watch, args=(process.pid, peak, ended))
        watcher.start()
        code = process.wait()
        wall_s = time.monotonic() - began
        ended.set()
        watcher.join()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        out.seek(0)
        err.seek(0)
        if code:
            sys.stderr.write(err.read()[-2000:])
            raise subprocess.CalledProcessError(code, command)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Run(wall_s, cpu_s, peak[0] / 1e6, out.read())


def _watch(pid: int, peak: list[int], ended: threading.Event) -> None:
    while not ended.wait(0.1):
        total = 0
        try:
            root = psutil.Process(pid)
            for process in (root, *root.children(recursive=True)):
                try:
                    total += process.memory_full_info().pss
                except (psutil.NoSuchProcess, psutil.ZombieProcess):
                    continue  # it ended between the listing and the look
        except psutil.NoSuchProcess:
            return
        peak[0] = max(peak[0], total)


TARGETS_S = {500: 5.0, 1_500: 10.0, 10_000: 60.0}
TARGET_MB = 1_000


def synthetic(root: Path, files: int) -> Path:
    """Write a Python package of exactly `files` files: packages of about 20, some hubs, 60 lines a module, seeded."""
    rng = random.Random(files)
    packages = max(1, files // 21)
    names = [(f"p{i % packages}", f"m{i}") for i in range(files - packages - 1)]  # each package has an __init__.py
    hubs = names[: max(1, files // 100)]
    by_package: dict[str, list[tuple[str, str]]] = {}
    for name in names:
        by_package.setdefault(name[0], []).append(name)
    for package, module in names:
        near = rng.sample(by_package[package], min(3, len(by_package[package])))
        chosen = {*near, *rng.sample(names, min(2, len(names))), rng.choice(hubs)} - {(package, module)}
        lines = [f"from app.{p} import {m}" for p, m in sorted(chosen)]
        lines += [f"def f{i}(a, b):\n    return [a, b, {i}]" for i in range(20)]
        target = root / "app" / package / f"{module}.py"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("\n".join(lines) + "\n")
    for folder in (root / "app", *(root / "app").iterdir()):
        (folder / "__init__.py").write_text("")
    return root


def ours(source: Path, scratch: Path) -> tuple[Run, dict[str, Any]]:
    """Index `source` into a data directory that is not there yet."""
    data = scratch / "data"
    shutil.rmtree(data, ignore_errors=True)
    environment = {**os.environ, "ALEXANDRIA_DATA": str(data)}
    run = measured([sys.executable, "-m", "alexandria.entrypoints.start", "index", str(source), "--json"], environment)
    return run, json.loads(run.out)


def rival(program: str, source: Path, scratch: Path) -> Run:
    """Index a fresh copy of `source` with codegraph."""
    copy = scratch / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(source, copy, symlinks=True, ignore=shutil.ignore_patterns(".git", ".codegraph"))
    home = scratch / "home"
    home.mkdir(exist_ok=True)
    quiet = {
        "CODEGRAPH_TELEMETRY": "0",
        "DO_NOT_TRACK": "1",
        "CODEGRAPH_NO_UPDATE_CHECK": "1",
        "CODEGRAPH_NO_DAEMON": "1",
    }
    return measured([program, "init", "--yes", str(copy)], {**os.environ, **quiet, "HOME": str(home)})


def fetched_rival(scratch: Path) -> str:
    """Let npm install codegraph below `scratch`, and return the path of its program."""
    folder = scratch / "npm"
    folder.mkdir()
    command = [
        "npm",
        "install",
        "--no-fund",
        "--no-audit",
        "--silent",
        "--prefix",
        str(folder),
        "@colbymchenry/codegraph",
    ]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return str(folder / "node_modules" / ".bin" / "codegraph")


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directories", nargs="*", type=Path, metavar="DIR")
    parser.add_argument(
        "--synthetic",
        metavar="SIZES",
        help="sizes of generated repositories, separated by commas; without a DIR those of the targets, 500,1500,10000",
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--codegraph", default="", metavar="PROGRAM", help="`npm` fetches it for this run")
    arguments = parser.parse_args()
    sizes = arguments.synthetic
    if sizes is None:
        sizes = "" if arguments.directories else ",".join(str(size) for size in TARGETS_S)
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        sources = [directory.resolve() for directory in arguments.directories]
        sources += [synthetic(scratch / f"synthetic-{n}", int(n)) for n in sizes.split(",") if n]
        program = fetched_rival(scratch) if arguments.codegraph == "npm" else arguments.codegraph
        head = f"{'repository':<24}{'files':>7}{'edges':>8}{'wall s':>8}{'cpu s':>8}{'MB':>7}  phases of ours"
        print(head + (f"{'':<26}codegraph: wall s, cpu s, MB, wall ratio" if program else ""))
        for source in sources:
            runs, shapes, rivals = [], [], []
            for _ in range(arguments.rounds):
                run, shape = ours(source, scratch)
                runs.append(run)
                shapes.append(shape)
                if program:
                    rivals.append(rival(program, source, scratch))
            phases = {name: median(shape["seconds"][name] for shape in shapes) for name in shapes[0]["seconds"]}
            phases["load"] = median(r.wall_s for r in runs) - sum(phases.values())
            repository = shapes[0]["repository"]
            row = {
                "files": repository["files"],
                "edges": repository["edges"],
                "edge_auc": repository["edge_auc"],
                "wall_s": round(median(r.wall_s for r in runs), 2),
                "cpu_s": round(median(r.cpu_s for r in runs), 2),
                "peak_mb": round(max(r.peak_mb for r in runs)),
                "phases": {name: round(seconds, 2) for name, seconds in phases.items()},
            }
            line = f"{source.name:<24}{row['files']:>7}{row['edges']:>8}{row['wall_s']:>8}{row['cpu_s']:>8}"
            line += f"{row['peak_mb']:>7}  "
            line += " ".join(f"{name} {seconds}" for name, seconds in row["phases"].items())
            if rivals:
                row["codegraph"] = {
                    "wall_s": round(median(r.wall_s for r in rivals), 2),
                    "cpu_s": round(median(r.cpu_s for r in rivals), 2),
                    "peak_mb": round(max(r.peak_mb for r in rivals)),
                    "wall_ratio": round(median(b.wall_s / a.wall_s for a, b in zip(runs, rivals, strict=True)), 2),
                }
                line += "  | " + ", ".join(str(value) for value in row["codegraph"].values())
            target_s = TARGETS_S.get(row["files"])
            if target_s is not None:
                row["met"] = row["wall_s"] <= target_s and row["peak_mb"] <= TARGET_MB
                line += f"  | {target_s:.0f} s and {TARGET_MB:,} MB: {'met' if row['met'] else 'MISSED'}"
            print(line, flush=True)
            results[source.name] = row
    print(json.dumps(results))
    return int(any(row.get("met") is False for row in results.values()))


if __name__ == "__main__":
    raise SystemExit(main())
