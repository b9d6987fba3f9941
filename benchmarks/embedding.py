r"""Race our embedder against PyG's and others on real import graphs, interleaved, each run in a process of its own.

    python benchmarks/embedding.py --bench DIR --graphs real-260 real-1k real-10k \
        --gensim PYTHON --pecanpy PYTHON

`DIR` is the folder of the node2vec bench (`bench.py`, `pyg_ref.py`, `graphs/`); `ALEXANDRIA_NODE2VEC_BENCH` names it
too. `--gensim` and `--pecanpy` are interpreters with these packages; without them they do not run. The table's ratio
is of wall time; the last table, printed here, is of CPU seconds, which suffer less from other programs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BENCH = Path(os.environ.get("ALEXANDRIA_NODE2VEC_BENCH", HERE.parent.parent / "shared/bench/node2vec"))
FAIR = "pyg_ref:embed_fixed"
QUALITY = ("auc", "hits10", "coh10", "stab")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", type=Path, default=BENCH)
    parser.add_argument("--graphs", nargs="+", default=["real-100", "real-260", "real-1k", "real-10k"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=3600, help="seconds for one run")
    parser.add_argument("--gensim", help="an interpreter that has gensim")
    parser.add_argument("--pecanpy", help="an interpreter that has pecanpy")
    parser.add_argument("--no-shipped", action="store_true", help="leave out PyG with its own settings")
    parser.add_argument("--only-ours", action="store_true", help="no rivals, no PyG")
    arguments = parser.parse_args()
    ours = ["embedder:embed", "embedder:embed_combined", "embedder:embed_prone"]
    rivals = [] if arguments.no_shipped else ["pyg_ref:embed"]
    rivals += [
        f"rivals:{name}@{getattr(arguments, name)}" for name in ("gensim", "pecanpy") if getattr(arguments, name)
    ]
    reference = "" if arguments.only_ours else FAIR
    contenders = ours if arguments.only_ours else ours + rivals
    graphs = [str(arguments.bench / "graphs" / f"{name}.npz") for name in arguments.graphs]
    results = race(arguments.bench, graphs, contenders, reference, rounds=arguments.rounds, limit=arguments.limit)
    print(as_table(results))


def race(
    bench: Path, graphs: list[str], contenders: list[str], reference: str, *, rounds: int, limit: float
) -> dict[str, dict[str, dict[str, float]]]:
    """Run the bench, show what it says, and return its last line: figures by graph and contender."""
    environment = dict(os.environ, N2V_PATH=os.pathsep.join([str(HERE), str(HERE.parent / "src")]), OMP_NUM_THREADS="1")
    command = [sys.executable, str(bench / "bench.py"), *graphs, "--emb", *contenders, "--ref", reference]
    command += ["--rounds", str(rounds), "--limit", str(limit)]
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


if __name__ == "__main__":
    main()
