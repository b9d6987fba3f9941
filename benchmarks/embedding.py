r"""Race our embedder against PyG's and others on real import graphs, interleaved, each run in a process of its own.

    python benchmarks/embedding.py --bench DIR --graphs real-260 real-1k real-10k \
        --gensim PYTHON --pecanpy PYTHON --grape PYTHON
    python benchmarks/embedding.py --only-ours --set '{"window_decay": 1.0}'    # an ablation
    python benchmarks/embedding.py --floor --graphs real-1k real-10k            # where the time goes
    python benchmarks/embedding.py --stability --graphs real-260 real-1k        # what combined seeds bring and cost
    python benchmarks/embedding.py --small                                      # many graphs of about 100 files

`DIR` is the folder of the node2vec bench (`bench.py`, `pyg_ref.py`, `graphs/`); `ALEXANDRIA_NODE2VEC_BENCH` names it
too. At real-100k PyG takes half an hour to seventy minutes: `--rounds 1 --no-repeat --limit 7000 --no-shipped
--only-default`. `--gensim`, `--pecanpy` and `--grape` are interpreters with these packages; without them they do not
run. The table's ratio is of wall time; the last table, printed here, is of CPU seconds, which suffer less from other
programs.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
BENCH = Path(os.environ.get("ALEXANDRIA_NODE2VEC_BENCH", HERE.parent.parent / "shared/bench/node2vec"))
FAIR = "pyg_ref:embed_fixed"
RIVALS = {
    "gensim": ["gensim"],
    "pecanpy": ["pecanpy"],
    "grape": ["grape", "grape_shipped_negatives", "grape_longer"],
}
QUALITY = ("auc", "hits10", "coh10", "stab")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", type=Path, default=BENCH)
    parser.add_argument("--graphs", nargs="+", default=["real-100", "real-260", "real-1k", "real-10k"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--no-repeat", action="store_true", help="leave out the last round, which repeats the first seed"
    )
    parser.add_argument("--limit", type=float, default=3600, help="seconds for one run")
    parser.add_argument("--gensim", help="an interpreter that has gensim")
    parser.add_argument("--pecanpy", help="an interpreter that has pecanpy")
    parser.add_argument("--grape", help="an interpreter that has ensmallen, the trainer of GRAPE")
    parser.add_argument("--no-shipped", action="store_true", help="leave out PyG with its own settings")
    parser.add_argument("--only-ours", action="store_true", help="no rivals, no PyG")
    parser.add_argument(
        "--only-default", action="store_true", help="of ours, not the combined seeds and the closed form"
    )
    parser.add_argument("--set", metavar="JSON", help="one more contender: ours with these settings")
    parser.add_argument("--floor", action="store_true", help="profile ours and PyG's trainer beside the bare products")
    parser.add_argument("--stability", action="store_true", help="how far two runs agree, by the number of seeds")
    parser.add_argument("--small", action="store_true", help="quality on the small packages of this environment")
    arguments = parser.parse_args()
    if arguments.small:
        for line in small_table(arguments.bench, arguments.rounds):
            print(line, flush=True)
        return
    if arguments.stability:
        print(stability_table(arguments.bench, arguments.graphs))
        return
    if arguments.floor:
        for name in arguments.graphs:
            print(floor_table(arguments.bench, name), flush=True)
        return
    ours = ["embedder:embed"]
    if not arguments.only_default:
        ours += ["embedder:embed_combined", "embedder:embed_prone"]
    if arguments.set:
        os.environ["ALEXANDRIA_BENCH_SETTINGS"] = arguments.set
        ours.append("embedder:embed_as_set")
    rivals = [] if arguments.no_shipped else ["pyg_ref:embed"]
    for package, contestants in RIVALS.items():
        if interpreter := getattr(arguments, package):
            rivals += [f"rivals:{name}@{interpreter}" for name in contestants]
    reference = "" if arguments.only_ours else FAIR
    contenders = ours if arguments.only_ours else ours + rivals
    graphs = [str(arguments.bench / "graphs" / f"{name}.npz") for name in arguments.graphs]
    results = race(arguments, graphs, contenders, reference)
    print(as_table(results))


def race(
    arguments: argparse.Namespace, graphs: list[str], contenders: list[str], reference: str
) -> dict[str, dict[str, dict[str, float]]]:
    """Run the bench, show what it says, and return its last line: figures by graph and contender."""
    environment = dict(os.environ, N2V_PATH=os.pathsep.join([str(HERE), str(HERE.parent / "src")]), OMP_NUM_THREADS="1")
    command = [sys.executable, str(arguments.bench / "bench.py"), *graphs, "--emb", *contenders, "--ref", reference]
    command += ["--rounds", str(arguments.rounds), "--limit", str(arguments.limit)]
    command += ["--no-repeat"] if arguments.no_repeat else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None  # noqa: S101 - for the type checker: it was asked for
        last = ""
        for line in process.stdout:
            last = line
            if not line.startswith("{"):
                print(line, end="", flush=True)
    if process.returncode:
        raise SystemExit(process.returncode)
    figures: dict[str, dict[str, dict[str, float]]] = json.loads(last)
    return figures


def as_table(results: dict[str, dict[str, dict[str, float]]]) -> str:
    """Return a Markdown table: CPU seconds, their ratio to the fair PyG, peak memory, quality."""
    lines = ["| graph | embedder | CPU s | × fixed PyG | MB | " + " | ".join(QUALITY) + " | same bytes |"]
    lines.append("|---|---|--:|--:|--:|" + "--:|" * len(QUALITY) + "---|")
    for graph, contenders in results.items():
        fair = contenders.get(FAIR, {}).get("cpu")
        for name, figures in contenders.items():
            if "error" in figures:
                lines.append(f"| {graph} | {name} | {figures['error']} |")
                continue
            ratio = f"{fair / figures['cpu']:.1f}" if fair else ""
            quality = " | ".join(f"{figures.get(key, float('nan')):.3f}" for key in QUALITY)
            cells = f"{figures['cpu']:.2f} | {ratio} | {figures['rss_mb']:.0f} | {quality} | {figures.get('det')}"
            lines.append(f"| {graph} | {name} | {cells} |")
    return "\n".join(lines)


SEEDS = (1, 2, 4, 8)


def stability_table(bench: Path, names: list[str]) -> str:
    """Return a Markdown table: how far two runs with no seed in common agree, by the number of seeds of a run.

    Both runs see the training edges of the bench, and its functions measure: the overlap of the ten nearest of the
    two runs, and the quality of each.
    """
    import numpy as np  # noqa: PLC0415 - the race itself needs neither

    sys.path[:0] = [str(HERE), str(HERE.parent / "src"), str(bench)]
    metrics = importlib.import_module("metrics")
    from alexandria.adapters.pyg.settings import Node2VecSettings  # noqa: PLC0415
    from alexandria.adapters.pyg.training import train  # noqa: PLC0415

    train(np.array([[0, 1, 2], [1, 2, 3]]), 4, 0)  # lazy imports
    lines = ["| graph | files | seeds | same of the 10 nearest | auc | hits10 | coh10 | CPU s of a run |"]
    lines.append("|---|--:|--:|--:|--:|--:|--:|--:|")
    for name in names:
        data = np.load(bench / "graphs" / f"{name}.npz")
        edges, label, nodes = data["edge_index"], data["label"], int(data["num_nodes"])
        seen, held = metrics.split(edges, nodes)
        for seeds in SEEDS:
            began = time.process_time()
            runs = [train(seen, nodes, run, Node2VecSettings(device="cpu", seeds=seeds)).vectors for run in (0, 1)]
            taken = (time.process_time() - began) / len(runs)
            quality = [metrics.quality(vectors, edges, seen, held, label, nodes) for vectors in runs]
            means = [np.mean([of_run[key] for of_run in quality]) for key in ("auc", "hits10", "coh10")]
            cells = " | ".join(f"{value:.3f}" for value in (metrics.overlap(*runs, seen, nodes), *means))
            lines.append(f"| {name} | {nodes} | {seeds} | {cells} | {taken:.2f} |")
    return "\n".join(lines)


SMALL_FILES, SMALL_EDGES = range(60, 221), 80


def small_table(bench: Path, splits: int) -> Iterator[str]:
    """Yield the lines of a Markdown table: quality of ours and of the fair PyG on the small packages installed here.

    One graph of 100 files has some 40 edges to hold out, which says nothing within a hundredth; many graphs and splits
    do. The last line is the mean difference and its standard error over packages.
    """
    import numpy as np  # noqa: PLC0415 - as above

    sys.path[:0] = [str(HERE), str(HERE.parent / "src"), str(bench)]
    embedder, fair, graphs, metrics = map(importlib.import_module, ("embedder", "pyg_ref", "graphs", "metrics"))
    keys = ("auc", "hits10", "coh10")
    yield "| package | files | pairs held out | ours: " + " / ".join(keys) + " | PyG fixed |"
    yield "|---|--:|--:|---|---|"
    differences = []
    for folder in sorted(Path(sysconfig.get_path("purelib")).iterdir()):
        files = sorted(folder.rglob("*.py")) if folder.is_dir() else []
        if len(files) not in SMALL_FILES:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            packed = Path(scratch) / "package.zip"
            with zipfile.ZipFile(packed, "w") as archive:
                for file in files:
                    archive.write(file, file.relative_to(folder.parent))
            edges, folders = graphs.import_graph(str(packed))
        if edges.shape[1] < SMALL_EDGES:
            continue
        label, nodes = np.unique(folders, return_inverse=True)[1], len(folders)
        means, held_out = [], 0
        for embed in (embedder.embed, fair.embed_fixed):
            rows = []
            for split in range(splits):
                seen, held = metrics.split(edges, nodes, split)
                quality = metrics.quality(embed(seen, nodes, split), edges, seen, held, label, nodes)
                rows.append([quality[key] for key in keys])
                held_out = len(held)
            means.append(np.mean(rows, axis=0))
        differences.append(means[0] - means[1])
        both = " | ".join(" / ".join(f"{value:.3f}" for value in mean) for mean in means)
        yield f"| {folder.name} | {nodes} | {splits} x {held_out} | {both} |"
    mean = np.mean(differences, axis=0)
    error = np.std(differences, axis=0, ddof=1) / len(differences) ** 0.5
    apart = ", ".join(f"{key} {a:+.3f} ± {b:.3f}" for key, a, b in zip(keys, mean, error, strict=True))
    yield f"\nours less PyG fixed, mean and standard error of {len(differences)} packages: {apart}"


PHASES = {
    "products": ("aten::bmm", "aten::baddbmm", "aten::mm"),
    "σ, log": ("aten::sigmoid_", "aten::sigmoid", "aten::softplus", "aten::log"),
    "gather rows": ("aten::index_select", "aten::index"),
    "add up gradients": (
        "aten::scatter_add_",
        "aten::index_add_",
        "aten::_coalesce",
        "autograd::engine::evaluate_function: EmbeddingBackward0",
    ),
    "fill, copy": ("aten::fill_", "aten::zero_", "aten::copy_", "aten::index_fill_"),
    "mul, add, sum, sqrt": (
        "aten::mul",
        "aten::mul_",
        "aten::add",
        "aten::add_",
        "aten::sum",
        "aten::sqrt",
        "aten::lerp_",
    ),
}
"""Operators of torch, as the profiler names them, by what they are for."""


def floor_table(bench: Path, name: str) -> str:
    """Return where the CPU seconds of one training go, of ours and of PyG's trainer, and how far the products are.

    The floor is a loop of the two batched products of a step and nothing else, on the shapes of `fit`, as often as
    the training does them: no trainer that computes all pairs of a walk can be faster on this machine.
    """
    import numpy as np  # noqa: PLC0415 - the other modes need neither
    import torch  # noqa: PLC0415

    sys.path[:0] = [str(HERE), str(HERE.parent / "src"), str(bench)]
    torch.set_num_threads(1)
    data = np.load(bench / "graphs" / f"{name}.npz")
    edges, nodes = data["edge_index"], int(data["num_nodes"])
    from alexandria.adapters.pyg.settings import Node2VecSettings  # noqa: PLC0415

    linked = np.unique(edges[:, edges[0] != edges[1]]).size
    settings = Node2VecSettings()
    walks = linked * settings.walks_per_node * settings.epochs
    flop = walks * 2 * 2 * settings.walk_length**2 * settings.dimension
    floor = products(torch, walks, settings.walk_length, settings.dimension)
    lines = [f"\n{name}: {linked} linked files, {flop / 1e9:.0f} GFLOP in the products of walks, one thread", ""]
    lines += [
        f"| | CPU s | GFLOP/s | × the floor | {' | '.join(PHASES)} | rest |",
        "|---|" + "--:|" * (len(PHASES) + 4),
    ]
    lines.append(f"| products alone | {floor:.2f} | {flop / floor / 1e9:.1f} | 1.0 |" + " |" * (len(PHASES) + 1))
    for label, module, function in (("ours", "embedder", "embed"), ("PyG fixed", "pyg_ref", "embed_fixed")):
        embed = getattr(importlib.import_module(module), function)
        embed(np.array([[0, 1, 2], [1, 2, 3]]), 4, 0)  # lazy imports
        began = time.process_time()
        embed(edges, nodes, 0)
        taken = time.process_time() - began
        shares = shares_of_operators(torch, functools.partial(embed, edges, nodes, 0))
        cells = " | ".join(f"{share:.0%}" for share in shares)
        lines.append(f"| {label} | {taken:.2f} | {flop / taken / 1e9:.1f} | {taken / floor:.1f} | {cells} |")
    return "\n".join(lines)


def products(torch: Any, walks: int, length: int, dimension: int) -> float:
    """Return the CPU seconds of E·Eᵀ and scores·E for so many walks, in chunks as `fit` has them."""
    from alexandria.adapters.pyg.model import CHUNK  # noqa: PLC0415 - as above

    rows = torch.randn(CHUNK, length, dimension)
    scores, gradient = torch.empty(CHUNK, length, length), torch.empty(CHUNK, length, dimension)
    began = time.process_time()
    for _ in range(max(1, walks // CHUNK)):
        torch.bmm(rows, rows.transpose(1, 2), out=scores)
        torch.bmm(scores, rows, out=gradient)
    return time.process_time() - began


def shares_of_operators(torch: Any, run: Callable[[], object]) -> list[float]:
    """Return the share of the self time of each of `PHASES`, and of all else, under torch's profiler."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], acc_events=False) as profiler:
        run()
    by_name = {event.key: event.self_cpu_time_total for event in profiler.key_averages()}
    total = sum(by_name.values())
    shares = [sum(by_name.get(name, 0) for name in names) / total for names in PHASES.values()]
    return [*shares, 1 - sum(shares)]


if __name__ == "__main__":
    main()
