r"""Our training on the CPU and on a CUDA card, interleaved, at several sizes: time, quality, memory.

    .venv/bin/python benchmarks/gpu.py
    .venv/bin/python benchmarks/gpu.py --graphs DIR/real-10k.npz DIR/real-100k.npz --rounds 3
    .venv/bin/python benchmarks/gpu.py --sizes 3000 30000 300000 1000000 --no-cpu-above 300000

Needs a torch with CUDA (the pinned wheels are for the CPU: `pip install torch==2.13.0` from the index of your CUDA in a
virtual environment of its own, then `pip install torch-geometric numpy`, and run with PYTHONPATH=src). The graphs are
generated from a seed, packages of 20 files with some hubs, or read from `.npz` files with `edge_index` and `num_nodes`.

Each run is a fresh process. `start` is what the first touch of the device costs, before any training: importing torch
and, on a card, its context and libraries. `train` is the median of the trainings after the first, which is reported as
`first` (the card loads kernels in it). AUC is of edges that no training saw. `same angles` is the mean overlap of the
ten nearest of a file between the two devices, beside that of two seeds on the CPU: from one seed a card draws other
walks, so it is no nearer. Planned and peak memory and the share of the card are what the training's own log says.
The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

HERE = Path(__file__).resolve().parent
Int64s = npt.NDArray[np.int64]
HELD_OUT = 0.05
COLUMNS = ("start s", "first s", "train s", "CPU s", "AUC")


def generated(files: int) -> Int64s:
    """Return edges, shape (2, ·): three within a package of 20, one anywhere, one to a hub, for each file."""
    rng = np.random.default_rng(files)
    importer = np.repeat(np.arange(files), 5)
    kind = np.tile(np.arange(5), files)
    near = np.minimum(importer // 20 * 20 + rng.integers(0, 20, importer.size), files - 1)
    hub = (rng.random(importer.size) ** 3 * max(1, files // 100)).astype(np.int64)
    imported = np.where(kind < 3, near, np.where(kind == 3, rng.integers(0, files, importer.size), hub))
    return np.stack([importer, imported]).astype(np.int64)


def split(edges: Int64s, files: int) -> tuple[Int64s, Int64s, Int64s]:
    """Return edges to train on, edges held out, and as many pairs that are no edges."""
    rng = np.random.default_rng(1)
    out = np.less(rng.random(edges.shape[1]), HELD_OUT)
    pairs = rng.integers(0, files, (2, int(np.count_nonzero(out))))
    known = np.unique(np.concatenate([edges[0] * files + edges[1], edges[1] * files + edges[0]]))
    return edges[:, ~out], edges[:, out], pairs[:, ~np.isin(pairs[0] * files + pairs[1], known)]


def one_run(path: str, device: str, out: str, *, seed: int, seeds: int, repeats: int) -> None:
    """Train in this process and print what it took as JSON; vectors go to `out`."""
    began = time.perf_counter()
    import torch  # noqa: PLC0415 - its import is part of what is measured

    from alexandria.adapters.pyg.settings import Node2VecSettings  # noqa: PLC0415
    from alexandria.adapters.pyg.training import train  # noqa: PLC0415

    if device == "cuda":
        torch.zeros(1, device="cuda")
    start_s = time.perf_counter() - began
    data = np.load(path)
    settings = Node2VecSettings(device="cuda" if device == "cuda" else "cpu", seeds=seeds)
    seconds, cpu = [], time.process_time()
    for _ in range(repeats):
        training = train(data["edges"], int(data["files"]), seed, settings)
        seconds.append(training.seconds)
    np.save(out, training.vectors)
    figures = {"start_s": start_s, "first_s": seconds[0], "train_s": median(seconds[1:] or seconds)}
    figures |= {"cpu_s": (time.process_time() - cpu) / repeats}
    print(json.dumps({**figures, "device": training.device, "loss": training.loss[-1], "notes": training.notes}))


def run(path: Path, device: str, out: Path, *, seed: int, seeds: int, repeats: int) -> dict[str, Any]:
    """Run `one_run` in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent / "src"), *sys.path])}
    asked = [str(path), device, str(out), str(seed), str(seeds), str(repeats)]
    command = [sys.executable, "-W", "ignore", __file__, "--one", *asked]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def auc(vectors: npt.NDArray[np.float32], edges: Int64s, others: Int64s) -> float:
    """Return the chance that a held-out edge scores above a non-edge, between files that have vectors."""
    from alexandria.adapters.pyg.quality import edge_auc  # noqa: PLC0415 - not needed by the child

    known = np.asarray(vectors.any(axis=1))
    edges, others = (np.compress(known[pairs].all(axis=0), pairs, axis=1) for pairs in (edges, others))
    value = edge_auc(vectors, edges, others)
    return float("nan") if value is None else value


def overlap(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32], most: int = 500) -> float:
    """Return the mean share of the ten nearest that two sets of vectors have in common, on `most` files."""
    known = np.flatnonzero(a.any(axis=1))
    asked = np.random.default_rng(2).choice(known, min(most, known.size), replace=False)
    nearest = []
    for vectors in (a, b):
        unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
        cosine = unit[asked] @ unit.T
        cosine[np.arange(asked.size), asked] = -2
        nearest.append(np.argpartition(-cosine, 10, axis=1)[:, :10])
    return float(np.mean([np.intersect1d(x, y).size for x, y in zip(*nearest, strict=True)]) / 10)


def compare(
    name: str, edges: Int64s, files: int, scratch: Path, *, devices: list[str], rounds: int, seeds: int, repeats: int
) -> dict[str, Any]:
    """Run all devices on one graph, interleaved round by round, print a line for each, and return the figures."""
    trained, held_out, others = split(edges, files)
    graph = scratch / "graph.npz"
    np.savez(graph, edges=trained, files=files)
    runs: dict[str, list[dict[str, Any]]] = {device: [] for device in devices}
    for seed in range(rounds):
        for device in devices:
            out = scratch / f"{device}-{seed}.npy"
            figures = run(graph, device, out, seed=seed, seeds=seeds, repeats=repeats)
            figures["auc"] = auc(np.load(out), held_out, others)
            runs[device].append(figures)
    vectors = {device: np.load(scratch / f"{device}-0.npy") for device in devices}
    for device, rows in runs.items():
        means = {key: median(row[key] for row in rows) for key in ("start_s", "first_s", "train_s", "cpu_s", "auc")}
        print(f"{name:<14}{files:>9}  {device:<6}" + "".join(f"{value:>10.3f}" for value in means.values()), flush=True)
        for note in rows[0]["notes"]:
            print(f"{'':<25}{note}")
    if len(devices) == 2:
        line = f"{'':<25}same angles on both devices: {overlap(vectors['cpu'], vectors['cuda']):.3f}"
        if rounds > 1:
            line += f"; of two seeds on the CPU: {overlap(vectors['cpu'], np.load(scratch / 'cpu-1.npy')):.3f}"
        print(line)
    return runs


def main() -> int:
    """Run the benchmark."""
    if sys.argv[1:2] == ["--one"]:
        path, device, out, *numbers = sys.argv[2:]
        seed, seeds, repeats = map(int, numbers)
        one_run(path, device, out, seed=seed, seeds=seeds, repeats=repeats)
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="*", type=int, default=[1_000, 10_000, 30_000, 100_000])
    parser.add_argument("--graphs", nargs="*", type=Path, default=[], help=".npz files, instead of generated graphs")
    parser.add_argument("--rounds", type=int, default=3, help="round r uses seed r")
    parser.add_argument("--seeds", type=int, default=1, help="trainings that are combined into one")
    parser.add_argument("--repeats", type=int, default=2, help="trainings in a process, the first apart")
    parser.add_argument("--no-cpu-above", type=int, default=10**9, metavar="FILES", help="leave out long CPU runs")
    parser.add_argument("--cpu-only", action="store_true", help="to try the benchmark without a card")
    arguments = parser.parse_args()
    asked = "import torch; print(torch.cuda.get_device_name(0) if torch.cuda.is_available() else '')"
    card = subprocess.run([sys.executable, "-c", asked], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    if not card and not arguments.cpu_only:
        print("no CUDA card, or a torch without CUDA; --cpu-only runs the CPU's half", file=sys.stderr)
        return 1
    graphs = [(path.stem, np.load(path)) for path in arguments.graphs]
    loaded = [(name, data["edge_index"], int(data["num_nodes"])) for name, data in graphs]
    loaded = loaded or [(f"generated-{size}", generated(size), size) for size in arguments.sizes]
    print(f"card: {card or 'none'}")
    print(f"{'graph':<14}{'files':>9}  {'device':<6}" + "".join(f"{h:>10}" for h in COLUMNS))
    results = {}
    for name, edges, files in loaded:
        devices = ["cpu"] * (files <= arguments.no_cpu_above) + ["cuda"] * (not arguments.cpu_only)
        with tempfile.TemporaryDirectory() as folder:
            results[name] = compare(
                name,
                edges,
                files,
                Path(folder),
                devices=devices,
                rounds=arguments.rounds,
                seeds=arguments.seeds,
                repeats=arguments.repeats,
            )
    print(json.dumps({"card": card, "runs": results}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
