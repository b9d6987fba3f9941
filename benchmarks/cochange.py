r"""Are the vectors of use: given one file of a later commit, are the other files of that commit near it?

    .venv/bin/python benchmarks/cochange.py --truth BENCH --repositories DIR [--only NAME …] [--variants NAME …] \
        [--seeds 0 1 2] [--python INTERPRETER_WITH_SCIPY]

BENCH holds `repos.json`, `data/` and `score.py` of the co-change benchmark; DIR holds the repositories, bare or not, as
DIR/OWNER+NAME/repo or DIR/OWNER/NAME.git. Each is read at its pinned commit, learned with each variant of the settings,
and judged by BENCH/score.py beside import neighbours, personalised PageRank on the same graph, and the other baselines.
`--variants` without a name lists them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from alexandria.adapters.git import DirectorySource
from alexandria.adapters.pyg.embedder import Node2VecEmbedder
from alexandria.adapters.pyg.settings import Node2VecSettings
from alexandria.adapters.tree_sitter.parser import TreeSitterParser
from alexandria.application.index import CodeGraph, read_code_graph
from alexandria.domain.graph import DependencyGraph
from alexandria.domain.imports import EdgeKind
from alexandria.domain.repo_url import LocalRepo
from alexandria.domain.selection import Selection

K = EdgeKind
PLAIN = Node2VecSettings(window_decay=1.0, in_degree_exponent=0.0, negative_weight=0.65, learning_rate=0.0125)
"""node2vec's own: all pairs of a window and all edges alike. ADR 4 chose its rate and what its negatives weigh."""

VARIANTS: dict[str, Node2VecSettings] = {
    "default": Node2VecSettings(),
    "plain": PLAIN,
    "plain, decay 0.5": replace(PLAIN, window_decay=0.5),
    "plain, in-degree": replace(PLAIN, in_degree_exponent=0.5),
    "plain, negatives 0.04": replace(PLAIN, negative_weight=0.04),
    "plain, rate 0.02": replace(PLAIN, learning_rate=0.02),
    "decay 1": Node2VecSettings(window_decay=1.0),
    "decay 0.7": Node2VecSettings(window_decay=0.7),
    "decay 0.3": Node2VecSettings(window_decay=0.3),
    "no in-degree": Node2VecSettings(in_degree_exponent=0.0),
    "in-degree 0.25": Node2VecSettings(in_degree_exponent=0.25),
    "in-degree 1": Node2VecSettings(in_degree_exponent=1.0),
    "negatives 0.65": Node2VecSettings(negative_weight=0.65),
    "negatives 0.1": Node2VecSettings(negative_weight=0.1),
    "negatives 0.01": Node2VecSettings(negative_weight=0.01),
    "rate 0.0125": Node2VecSettings(learning_rate=0.0125),
    "import+implicit": Node2VecSettings(edge_kinds=frozenset({K.IMPORT, K.IMPLICIT})),
    "no implicit": Node2VecSettings(edge_kinds=frozenset({K.IMPORT, K.REEXPORT, K.TYPE_ONLY})),
    "no re-export": Node2VecSettings(edge_kinds=frozenset({K.IMPORT, K.TYPE_ONLY, K.IMPLICIT})),
    "implicit half": Node2VecSettings(edge_weights=((K.IMPLICIT, 0.5),)),
    "p 0.25": Node2VecSettings(p=0.25),
    "p 4": Node2VecSettings(p=4.0),
    "q 0.25": Node2VecSettings(q=0.25),
    "q 4": Node2VecSettings(q=4.0),
    "20 epochs": Node2VecSettings(epochs=20),
    "context 5": Node2VecSettings(context_size=5),
    "context 3": Node2VecSettings(context_size=3),
    "seeds 4": Node2VecSettings(seeds=4),
    "prone": Node2VecSettings(method="prone"),
}


def repository_of(folder: Path, name: str) -> Path | None:
    """Return where the repository `owner/name` lies below `folder`, or None."""
    owner, _, last = name.partition("/")
    places = (folder / f"{owner}+{last}" / "repo", folder / owner / f"{last}.git", folder / owner / last)
    return next((place for place in places if place.is_dir()), None)


def without_hubs(graph: DependencyGraph, most: int) -> DependencyGraph:
    """Return the graph without the edges into files that more than `most` files import."""
    importers = np.bincount(graph.edges[1], minlength=graph.num_files)
    kept = importers[graph.edges[1]] <= most
    return DependencyGraph(graph.files, graph.languages, graph.edges[:, kept], graph.kinds[kept])


def read(place: Path, commit: str) -> CodeGraph:
    """Read the graph of a repository at a commit, as the product does."""
    return asyncio.run(
        read_code_graph(
            LocalRepo(place.resolve()),
            ref=commit,
            source=DirectorySource(),
            parser=TreeSitterParser(),
            selection=Selection(),
        )
    )


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--repositories", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--variants", nargs="*", default=["default"])
    parser.add_argument("--hub-caps", nargs="*", type=int, default=[], help="variants without edges into larger hubs")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="more than one: the mean over them")
    parser.add_argument("--python", default=sys.executable, help="interpreter for score.py, which needs SciPy")
    arguments = parser.parse_args()
    if not arguments.variants:
        print("\n".join(VARIANTS))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        labels = [*arguments.variants, *(f"hubs up to {cap}" for cap in arguments.hub_caps)]
        (out / "graphs").mkdir()
        runs = {f"{label} #{seed}": (label, seed) for label in labels for seed in arguments.seeds}
        for run in runs:
            (out / run).mkdir()
        for entry in json.loads((arguments.truth / "repos.json").read_text()):
            name = entry["name"]
            place = repository_of(arguments.repositories, entry["repo"])
            if arguments.only and name not in arguments.only:
                continue
            if place is None:
                print(f"{name}: not below {arguments.repositories}, left out", file=sys.stderr)
                continue
            graph = read(place, entry["commit"]).graph
            shape = {"files": list(graph.files), "edges": graph.edges.T.tolist()}
            (out / "graphs" / f"{name}.json").write_text(json.dumps(shape))
            for run, (label, seed) in runs.items():
                capped = label.startswith("hubs up to ")
                learned = without_hubs(graph, int(label.rsplit(" ", 1)[1])) if capped else graph
                settings = VARIANTS["default" if capped else label]
                began = time.process_time()
                made = Node2VecEmbedder(settings).embed(learned, seed=seed)
                print(
                    f"{name:<12}{run:<28}{graph.num_files:>6} files {learned.num_edges:>6} edges, "
                    f"edge AUC {made.report.edge_auc or 0:.3f}, {time.process_time() - began:.1f} CPU s",
                    file=sys.stderr,
                )
                np.savez(
                    out / run / f"{name}.npz",
                    paths=np.array(made.paths, dtype=np.str_),
                    vectors=made.vectors,
                    isolated=made.isolated,
                )
        candidates = [f"--candidate={run}={out / run}" for run in runs]
        command = [
            arguments.python,
            str(arguments.truth / "score.py"),
            *arguments.only,
            "--graphs",
            str(out / "graphs"),
        ]
        judged = subprocess.run([*command, *candidates, "--quiet"], check=True, stdout=subprocess.PIPE, text=True)
    tasks = json.loads(judged.stdout.splitlines()[-1])
    print_table(tasks)
    print_means(tasks, labels, arguments.seeds)
    return 0


def print_table(tasks: dict[str, Any]) -> None:
    """Print recall@10 of every method: each repository, the mean, and its 95 % interval."""
    for task, result in tasks.items():
        names = list(result["repos"])
        print(f"\n{task}: recall@10".ljust(30) + "".join(f"{name:>10}" for name in [*names, "mean"]) + "  95 %")
        for method, mean in result["mean"]["all"].items():
            values = [result["repos"][name][method]["recall@10"] for name in names] + [mean["recall@10"]]
            low, high = mean["ci95"]
            print(f"  {method:<27}" + "".join(f"{value:>10.3f}" for value in values) + f"  {low:.3f} to {high:.3f}")


def print_means(tasks: dict[str, Any], labels: list[str], seeds: list[int]) -> None:
    """Print recall@10 of every variant as Markdown, mean of all repositories and seeds."""
    print("\n| variant | " + " | ".join(tasks) + " |\n|---|" + "--:|" * len(tasks))
    for label in labels:
        values = [
            np.mean([result["mean"]["all"][f"{label} #{seed}"]["recall@10"] for seed in seeds])
            for result in tasks.values()
        ]
        print(f"| {label} | " + " | ".join(f"{value:.3f}" for value in values) + " |")


if __name__ == "__main__":
    raise SystemExit(main())
