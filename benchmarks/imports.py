#!/usr/bin/env python3
"""Is the file graph right, and how fast is it made?

    imports.py --truth BENCH TREES [--language L] [--only NAME ...] [--kinds N]
    imports.py TREE [TREE ...] --misses N
    imports.py TREE [TREE ...] [--rounds N] [--cores 1 2] [--dependency-cruiser 'node …/dependency-cruise.mjs']

With `--truth` every repository that has both a truth file (BENCH/*/NAME.json[.gz]) and a tree (TREES/NAME) is read,
and BENCH/score.py judges it: precision, recall and F1 of the written imports, and of the same-package edges where the
truth has them.

With `--misses` the imports that mean a file of the repository and did not find it, and those that are computed when
the program runs, are counted over all trees: the N most frequent, and all of them by cause.

Without either, each tree is timed in processes of its own, all of them once a round, in turn, so that a busy machine is
unfair to none: end to end (listing, reading, parsing, resolving, graph), bound to one core and to two, with a parser
process for each; the same of a directory with one empty file of each suffix, which is the start and the end of it all
(the parser process, the rules of the languages, threads) and no work; parsing alone, bound to one core, of the same
files from memory; and, where they are installed, grimp
on Python packages and dependency-cruiser on JavaScript and TypeScript, with all the cores. Times are the medians of the
rounds, memory is the largest sum of resident sizes of the measured process and its children. A ratio is the median of
those within each round: the speed of a shared machine changes by half from one second to the next, so small trees need
some fifteen rounds. Where other things run as well, the ratios of the CPU seconds say more than those of the times.

What is compared: parsing only is `Parser.parse` of tree-sitter, with the same grammars, over the same bytes of the same
files that the product parses (without those that are too large or minified), which are read before the clock starts.
End to end starts when the imports of this file are loaded, and holds everything from the listing to the graph.

The rivals:

    pip install grimp
    npm install --prefix /tmp/rival dependency-cruiser typescript
    imports.py TREE … --dependency-cruiser 'node /tmp/rival/node_modules/dependency-cruiser/bin/dependency-cruise.mjs'
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import compileall
import importlib.util
import json
import os
import re
import resource
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import alexandria
from alexandria.adapters.git.directory import DirectorySource
from alexandria.adapters.tree_sitter.parser import TreeSitterParser
from alexandria.application.index import CodeGraph, read_code_graph
from alexandria.domain.imports import EdgeKind, FileOutcome, RepoTree, Resolved, resolve_imports, wanted_manifests
from alexandria.domain.language import Language, language_of
from alexandria.domain.repo_url import LocalRepo
from alexandria.domain.selection import Selection

Measured = dict[str, Any]
_WATCH_EVERY_S = 0.1  # looking through /proc takes milliseconds of a core that is being measured
PLACES_IN_REASON = re.compile(r"\S*[./]\S*[\w)]|(?<=, )\w+(?= is not)")
Pair = tuple[str, str]
Miss = tuple[str, Resolved, str, str]  # repository, how it ended, specifier, reason


def graph_of(tree: Path) -> CodeGraph:
    """Read the graph of a directory as the product does."""
    return asyncio.run(
        read_code_graph(
            LocalRepo(tree.resolve()),
            source=DirectorySource(),
            parser=TreeSitterParser(),
            selection=Selection(),
        )
    )


# -- right? ------------------------------------------------------------------------------------------


def load_scorer(bench: Path) -> ModuleType:
    """Load BENCH/score.py, so that its rules and not ours decide what is right."""
    spec = importlib.util.spec_from_file_location("score", bench / "score.py")
    if spec is None or spec.loader is None:
        sys.exit(f"{bench} has no score.py")
    scorer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(scorer)
    return scorer


def truths(bench: Path, scorer: ModuleType, language: str, only: Sequence[str]) -> Iterator[tuple[str, Measured]]:
    for path in sorted(bench.glob("*/*.json*")):
        name = path.name.split(".json")[0]
        if only and name not in only:
            continue
        truth = scorer.load(path)
        if "edges" in truth and "files" in truth and language in {"", truth["language"]}:
            yield name, truth


def judge(scorer: ModuleType, truth: Measured, pairs: set[Pair], edges: str, kinds: int) -> Measured:
    options = argparse.Namespace(edges=edges, also="", strict=False, kinds=kinds)
    result, miss, wrong, tags = scorer.score(truth, {"edges": sorted(pairs)}, options)
    if kinds:
        scorer.report(result, miss, wrong, tags, options)
    judged: Measured = result
    return judged


def accuracy(bench: Path, trees: Path, arguments: argparse.Namespace) -> None:
    scorer = load_scorer(bench)
    rows: list[tuple[str, Measured, Measured | None]] = []
    for name, truth in truths(bench, scorer, arguments.language, arguments.only):
        if not (trees / name).is_dir():
            print(f"no tree of {name} in {trees}", file=sys.stderr)
            continue
        graph = graph_of(trees / name).graph
        kind_of = {
            (graph.files[a], graph.files[b]): kind
            for a, b, kind in zip(*graph.edges.tolist(), graph.kinds.tolist(), strict=True)
        }
        written = {pair for pair, kind in kind_of.items() if kind != EdgeKind.IMPLICIT}
        implicit = None
        if truth.get("edges_implicit"):
            # A pair that is imported as well has that kind; in the graph it stands once.
            same_package = {(importer, imported) for importer, imported, *_ in truth["edges_implicit"]}
            pairs = kind_of.keys() - written | written & same_package
            implicit = judge(scorer, truth, pairs, "edges_implicit", arguments.kinds)
        rows.append((name, judge(scorer, truth, written, "edges", arguments.kinds), implicit))
    print_accuracy(rows)


def print_accuracy(rows: list[tuple[str, Measured, Measured | None]]) -> None:
    print(
        f"\n{'language':11} {'repository':22} {'truth':>6} {'wrong':>5} {'miss':>5}  {'P':>6} {'R':>6} {'F1':>6}",
        end="",
    )
    print(f"   {'same package':>12}  {'P':>6} {'R':>6}")
    for language in sorted({row[1]["language"] for row in rows}):
        group = [row for row in rows if row[1]["language"] == language]
        for name, written, implicit in group:
            print(f"{language:11} {name:22} {score_columns(written)}   {implicit_columns(implicit)}")
        pooled = pool([written for _, written, _ in group])
        same_package = [implicit for _, _, implicit in group if implicit]
        worst = min(written["f1"] for _, written, _ in group)
        print(
            f"{language:11} {'all':22} {score_columns(pooled)}   "
            f"{implicit_columns(pool(same_package) if same_package else None)}   worst F1 {worst:.4f}\n"
        )


def score_columns(s: Measured) -> str:
    return f"{s['truth']:6} {s['wrong']:5} {s['miss']:5}  {s['precision']:.4f} {s['recall']:.4f} {s['f1']:.4f}"


def implicit_columns(s: Measured | None) -> str:
    return f"{s['truth']:12}  {s['precision']:.4f} {s['recall']:.4f}" if s else " " * 28


def pool(results: Sequence[Measured]) -> Measured:
    """Add the edges of several repositories up."""
    sums = {key: sum(result[key] for result in results) for key in ("truth", "hit", "wrong", "miss")}
    found, wanted = sums["hit"] + sums["wrong"], sums["hit"] + sums["miss"]
    precision = sums["hit"] / found if found else 0.0
    recall = sums["hit"] / wanted if wanted else 0.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return {**sums, "precision": precision, "recall": recall, "f1": f1}


# -- what is missing? --------------------------------------------------------------------------------


async def outcomes_of(tree: Path) -> list[FileOutcome]:
    """Return what became of every import of a tree, as `read_code_graph` finds it."""
    async with DirectorySource().open(LocalRepo(tree)) as opened:
        paths = Selection().select(opened.files)
        sources = [path for path in sorted(paths) if language_of(path) is not None]
        facts = sorted(TreeSitterParser().parse(opened.read(sources)), key=lambda file: file.path)
        repo = RepoTree(paths)
        while wanted := wanted_manifests(repo):
            read = {path: (text or b"").decode("utf-8", "replace") for path, text in opened.read(sorted(wanted))}
            repo = RepoTree(paths, {**repo.manifests, **read})
        return list(resolve_imports(repo, facts))


def print_misses(trees: Sequence[Path], count: int) -> None:
    """Print the most frequent misses, each with a place and its cause, and how many there are of each cause."""
    frequent: collections.Counter[Miss] = collections.Counter()
    causes: collections.Counter[tuple[Resolved, str]] = collections.Counter()
    places: dict[Miss, str] = {}
    imports = 0
    for tree in trees:
        for file in asyncio.run(outcomes_of(tree.resolve())):
            for outcome in file.outcomes:
                imports += bool(outcome.line)
                if outcome.resolved not in {Resolved.UNRESOLVED, Resolved.DYNAMIC}:
                    continue
                specifier = " ".join(outcome.specifier.split())[:60]
                key: Miss = (tree.name, outcome.resolved, specifier, outcome.reason)
                frequent[key] += 1
                places.setdefault(key, f"{file.path}:{outcome.line}")
                # What a reason names (a path, a package) differs from import to import; what it says does not.
                causes[outcome.resolved, PLACES_IN_REASON.sub("…", outcome.reason)] += 1
    total = sum(frequent.values())
    print(f"{total:,} of {imports:,} imports of {len(trees)} repositories lead to no file that they may mean\n")
    for miss, times in frequent.most_common(count):
        repository, how, specifier, reason = miss
        print(f"{times:4}  {repository:22} {how:10} {specifier:40}  {reason}  ({places[miss]})")
    print()
    for (how, cause), times in causes.most_common():
        print(f"{times:4}  {how:10} {cause}")


# -- fast? -------------------------------------------------------------------------------------------


class Stopwatch:
    """Wall time, and CPU time of this process and of its children that have ended."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), self._cpu_seconds()

    def read(self) -> Measured:
        """Return the seconds since it was made."""
        return {"seconds": time.perf_counter() - self._wall, "cpu_seconds": self._cpu_seconds() - self._cpu}

    @staticmethod
    def _cpu_seconds() -> float:
        return sum(
            usage.ru_utime + usage.ru_stime
            for usage in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
        )


def measure_end_to_end(tree: Path) -> Measured:
    import numpy  # noqa: F401, PLC0415 - loads when it is first used; like the rest of this process' start it is not timed

    stopwatch = Stopwatch()
    code = graph_of(tree)
    return {
        **stopwatch.read(),
        "files": code.graph.num_files,
        "bytes": code.source_bytes,
        "edges": code.graph.num_edges,
    }


def measure_start(tree: Path) -> Measured:
    """Time the graph of as many empty files as the tree has suffixes of source files."""
    suffixes = {path.suffix for path in tree.rglob("*") if language_of(path.name) is not None}
    with tempfile.TemporaryDirectory() as directory:
        for suffix in suffixes:
            Path(directory, f"empty{suffix}").touch()
        return measure_end_to_end(Path(directory))


def measure_parsing(tree: Path) -> Measured:
    """Time tree-sitter alone, in this process, over files that are in memory already."""
    import tree_sitter  # noqa: PLC0415 - each measurement loads only what it measures

    contents = asyncio.run(read_all(LocalRepo(tree)))
    parsers = {suffix: tree_sitter.Parser(grammar) for suffix, grammar in grammars()}
    stopwatch = Stopwatch()
    for path, content in contents:
        parsers[path[path.rfind(".") :]].parse(content)
    return {**stopwatch.read(), "files": len(contents), "bytes": sum(len(content) for _, content in contents)}


async def read_all(tree: LocalRepo) -> list[tuple[str, bytes]]:
    """Return the files that the product parses, with the same rules of what is left out."""
    from alexandria.adapters.tree_sitter.parser import MAX_FILE_BYTES  # noqa: PLC0415
    from alexandria.adapters.tree_sitter.reading import is_minified  # noqa: PLC0415

    bundled = {Language.JAVASCRIPT, Language.TYPESCRIPT}
    async with DirectorySource().open(tree) as opened:
        paths = [path for path in sorted(Selection().select(opened.files)) if language_of(path) is not None]
        return [
            (path, content)
            for path, content in opened.read(paths)
            if content is not None
            and len(content) <= MAX_FILE_BYTES
            and not (language_of(path) in bundled and is_minified(content))
        ]


def grammars() -> Iterator[tuple[str, Any]]:
    import tree_sitter as ts  # noqa: PLC0415
    import tree_sitter_go as go  # noqa: PLC0415
    import tree_sitter_java as java  # noqa: PLC0415
    import tree_sitter_javascript as javascript  # noqa: PLC0415
    import tree_sitter_python as python  # noqa: PLC0415
    import tree_sitter_typescript as typescript  # noqa: PLC0415

    by_suffixes = {
        ".py .pyi": python.language(),
        ".js .jsx .mjs .cjs": javascript.language(),
        ".ts .mts .cts": typescript.language_typescript(),
        ".tsx": typescript.language_tsx(),
        ".java": java.language(),
        ".go": go.language(),
    }
    for suffixes, pointer in by_suffixes.items():
        grammar = ts.Language(pointer)
        yield from ((suffix, grammar) for suffix in suffixes.split())


def measure_grimp(tree: Path) -> Measured:
    """Time grimp on the top-level packages of the root, `src/` and `lib/`, without its cache."""
    import grimp  # noqa: PLC0415

    places = [place for place in (tree / "src", tree / "lib", tree) if place.is_dir()]
    packages = {
        init.parent.name: place for place in reversed(places) for init in place.glob("*/__init__.py") if place.is_dir()
    }
    sys.path[:0] = [str(place) for place in places]
    found = {}
    for name in sorted(packages):
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None and Path(spec.origin).is_relative_to(tree):
            found[name] = packages[name]
    if not found:
        return {}
    stopwatch = Stopwatch()
    graph = grimp.build_graph(*found, cache_dir=None)
    return {**stopwatch.read(), "files": len(graph.modules)}


def measure_dependency_cruiser(command: str, tree: Path) -> Measured:
    options = ["--no-config", "--ts-pre-compilation-deps", "--do-not-follow", "node_modules", "--output-type", "json"]
    stopwatch = Stopwatch()
    done = subprocess.run([*shlex.split(command), *options, "."], cwd=tree, capture_output=True, check=False)
    times = stopwatch.read()
    if done.returncode:
        print(f"dependency-cruiser failed: {done.stderr.decode()[-200:]}", file=sys.stderr)
        return {}
    return {**times, "files": len(json.loads(done.stdout)["modules"])}


MEASURES: dict[str, Callable[[Path, str], Measured]] = {
    "end-to-end": lambda tree, _: measure_end_to_end(tree),
    "start": lambda tree, _: measure_start(tree),
    "parsing": lambda tree, _: measure_parsing(tree),
    "grimp": lambda tree, _: measure_grimp(tree),
    "dependency-cruiser": lambda tree, command: measure_dependency_cruiser(command, tree),
}


def bind_to_cores(count: int) -> None:
    """Let this process and its children use only the first `count` cores that it may use now."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def in_own_process(what: str, tree: Path, cores: int = 1, rival: str = "") -> Measured:
    """Measure in a fresh interpreter, and watch the memory of it and its children from here."""
    options = ["--measure", what, "--cores", str(cores), "--dependency-cruiser", rival]
    command = [sys.executable, __file__, *options, "--", str(tree)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        peak = 0
        while process.poll() is None:
            peak = max(peak, resident_bytes(process.pid))
            time.sleep(_WATCH_EVERY_S)
        out = process.stdout.read() if process.stdout else ""
    measured: Measured = json.loads(out) if process.returncode == 0 else {}
    return {**measured, "peak_bytes": peak} if measured else {}


def resident_bytes(root: int) -> int:
    """Return the resident size of a process and all its descendants; 0 where there is no /proc."""
    parent_of: dict[int, int] = {}
    size_of: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended while we looked
            continue
        pid = int(stat.parent.name)
        parent_of[pid], size_of[pid] = int(fields[1]), int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    family = {root}
    grown = True
    while grown:
        more = {pid for pid, parent in parent_of.items() if parent in family} - family
        family |= more
        grown = bool(more)
    return sum(size_of.get(pid, 0) for pid in family)


def speed(trees: Sequence[Path], arguments: argparse.Namespace) -> None:
    # As pip does when it installs: an editable install under PYTHONDONTWRITEBYTECODE would be compiled at every start.
    compileall.compile_dir(Path(alexandria.__file__).parent, quiet=1)
    cruiser = arguments.dependency_cruiser or shutil.which("depcruise") or ""
    has_grimp = importlib.util.find_spec("grimp") is not None
    header = f"{'repository':22} {'what':26} {'files':>6} {'MB':>6} {'s':>7} {'CPU s':>7} {'files/s':>8}"
    print(f"{header} {'MB/s':>6} {'peak MB':>8}")
    for tree in trees:
        times: dict[str, list[Measured]] = collections.defaultdict(list)
        for _ in range(arguments.rounds):
            times["parsing only, 1 core"].append(in_own_process("parsing", tree))
            times["start and end, 1 core"].append(in_own_process("start", tree))
            for cores in arguments.cores:
                label = f"end to end, {cores} core{'s' * (cores > 1)}"
                times[label].append(in_own_process("end-to-end", tree, cores))
            if has_grimp and any(tree.rglob("*.py")):
                times["grimp"].append(in_own_process("grimp", tree, max(arguments.cores)))
            if cruiser and any(tree.rglob("package.json")):
                measured = in_own_process("dependency-cruiser", tree, max(arguments.cores), cruiser)
                times["dependency-cruiser"].append(measured)
        print_speed(tree.name, {what: rounds for what, rounds in times.items() if all(rounds)})
    if not has_grimp:
        print("grimp is not installed: left out")
    if not cruiser:
        print("dependency-cruiser was not given and is not on the path: left out")


def print_speed(name: str, times: dict[str, list[Measured]]) -> None:
    for what, rounds in times.items():
        files, seconds = rounds[0]["files"], statistics.median(one["seconds"] for one in rounds)
        cpu_seconds = statistics.median(one["cpu_seconds"] for one in rounds)
        megabytes = rounds[0].get("bytes", 0) / 1e6
        peak = max(one.get("peak_bytes", 0) for one in rounds) / 1e6
        print(
            f"{name:22} {what:26} {files:6} {megabytes:6.1f} {seconds:7.2f} {cpu_seconds:7.2f} {files / seconds:8.0f} "
            f"{megabytes / seconds:6.1f} {peak:8.0f}"
        )
    ends = [what for what in times if what.startswith("end to end")]
    parsing, start, first, last = (
        times[w] for w in ("parsing only, 1 core", "start and end, 1 core", ends[0], ends[-1])
    )

    def ratio(kind: str, above: list[Measured], below: list[Measured], less: list[Measured] | None = None) -> float:
        without = [0.0] * len(above) if less is None else [one[kind] for one in less]
        return float(statistics.median((a[kind] - w) / b[kind] for a, b, w in zip(above, below, without, strict=True)))

    ratios = f"{ratio('seconds', first, parsing):.2f} (CPU {ratio('cpu_seconds', first, parsing):.2f})"
    without = f"{ratio('seconds', first, parsing, start):.2f} (CPU {ratio('cpu_seconds', first, parsing, start):.2f})"
    print(f"{name:22} {ends[0]}: {ratios} times parsing only, {without} without start and end")
    print(f"{name:22} {ends[-1]}: {ratio('seconds', first, last):.2f} times faster than {ends[0]}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trees", nargs="+", type=Path, help="directories to time; with --truth the one that holds them")
    parser.add_argument("--truth", type=Path, metavar="BENCH", help="folder of score.py and the truth files")
    parser.add_argument("--language", default="", help="judge only this language")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="judge only these repositories")
    parser.add_argument("--kinds", type=int, default=0, metavar="N", help="print the N most frequent kinds of error")
    parser.add_argument("--misses", type=int, default=0, metavar="N", help="print the N most frequent misses")
    parser.add_argument("--rounds", type=int, default=3, help="how often each measurement is repeated (default 3)")
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2], help="cores to be bound to (default 1 2)")
    parser.add_argument("--dependency-cruiser", metavar="COMMAND", help="how to run dependency-cruiser")
    parser.add_argument("--measure", choices=sorted(MEASURES), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        bind_to_cores(arguments.cores[0])
        print(json.dumps(MEASURES[arguments.measure](arguments.trees[0].resolve(), arguments.dependency_cruiser or "")))
    elif arguments.misses:
        print_misses(arguments.trees, arguments.misses)
    elif arguments.truth:
        accuracy(arguments.truth, arguments.trees[0], arguments)
    else:
        speed(arguments.trees, arguments)


if __name__ == "__main__":
    main()
