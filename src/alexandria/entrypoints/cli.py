"""The command line: `alexandria …`."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import io
import posixpath
import re
import shlex
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, ParamSpec, TypeVar

import numpy as np
import typer
from rich.console import Console

from alexandria.application.index import CodeGraph, IndexProgress, IndexResult, ignore_progress
from alexandria.application.search import SimilarAnswer, UnknownFileError, close_paths
from alexandria.domain.errors import AlexandriaError
from alexandria.domain.imports import FileOutcome
from alexandria.domain.job import Job, JobRecord
from alexandria.domain.language import Language
from alexandria.domain.repo_url import LocalRepo
from alexandria.entrypoints import presentation as show
from alexandria.entrypoints import shapes
from alexandria.entrypoints.containers import open_for
from alexandria.entrypoints.control_plane import ControlPlane
from alexandria.entrypoints.doctor import Verdict, examine
from alexandria.entrypoints.library import MAX_SEED, Alexandria
from alexandria.entrypoints.logs import configure_logs
from alexandria.entrypoints.migrate import migrate as migrate_database
from alexandria.entrypoints.progress import watched
from alexandria.entrypoints.settings import Settings, check_training
from alexandria.entrypoints.worker import worker
from alexandria.ports.catalog import MAX_DEPTH, Direction, Neighbors
from alexandria.ports.job_queue import RunningJob

INTERRUPTED = 130  # what a shell says of a program that Ctrl-C ended: 128 + SIGINT

PIPE_WIDTH = 100_000
TERMINATED = 143  # the same for SIGTERM

app = typer.Typer(
    name="alexandria",
    help="Learn the structure of code, and ask which files play the same part, and what hangs on a file.\n\n"
    "Start with `alexandria index .`, then `alexandria similar PATH`. Tables and progress are for people; "
    "`--json` on any command writes one JSON document to stdout. Exit codes: 0 done, 1 it failed, 2 wrong use.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

P = ParamSpec("P")
T = TypeVar("T")

SourceArgument = Annotated[
    str, typer.Argument(help="A folder, or a repository: https://github.com/u/r, github.com/u/r, git@github.com:u/r.")
]
PathArgument = Annotated[str, typer.Argument(help="A source file, relative to the root of its repository or to here.")]
RepoOption = Annotated[
    str, typer.Option("--repo", help="Which repository: its key or the end of it. Default: the one that you are in.")
]
RefOption = Annotated[str, typer.Option("--ref", help="Branch, tag or commit. Default: the default branch.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr; errors and warnings stay.")]
IncludeOption = Annotated[
    list[str] | None, typer.Option("--include", help="Glob of files that count although a rule leaves them out.")
]
ExcludeOption = Annotated[list[str] | None, typer.Option("--exclude", help="Glob of files that do not count.")]


class GraphFormat(StrEnum):
    """What `graph` can write."""

    JSON = "json"
    GRAPHML = "graphml"
    DOT = "dot"


class Method(StrEnum):
    """How vectors are made."""

    NODE2VEC = "node2vec"
    PRONE = "prone"


class Directions(StrEnum):
    """Which way `neighbors` looks."""

    IMPORTS = "imports"
    IMPORTERS = "importers"
    BOTH = "both"


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"alexandria {version('alexandria')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def _errors_told(command: Callable[P, T]) -> Callable[P, T]:
    """Turn what a command raises into a sentence on stderr (or JSON) and an exit code."""

    @functools.wraps(command)
    def told(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            result = command(*args, **kwargs)
            sys.stdout.flush()
        except AlexandriaError as error:
            if kwargs.get("as_json"):
                typer.echo(shapes.dumps({"error": _error_json(error)}))
            _say_error(str(error))
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            _stderr().print("interrupted: what is indexed is whole, as it was before or as it is new", style="yellow")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # `alexandria graph . | head`: the reader has seen enough. Python would complain once more at exit.
            sys.stdout = None
            raise typer.Exit(0) from None
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF}:
                raise
            sys.stdout = None
            _say_error(f"the output cannot be written: {error.strerror}")
            raise typer.Exit(1) from None
        return result

    return told


def _say_error(message: str) -> None:
    # Line breaks in a message are ours: names from outside are kept on one line where they are put into it.
    for line in ("error: " + message).split("\n"):
        _stderr().print(show.plain(line), style="red", soft_wrap=True)


def _error_json(error: AlexandriaError) -> shapes.Json:
    shape: shapes.Json = {"type": type(error).__name__, "message": str(error)}
    if isinstance(error, UnknownFileError):
        shape["suggestions"] = list(error.suggestions)
    return shape


def _stderr() -> Console:
    return Console(stderr=True, highlight=False)


class _Terminal(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to the command's own handling; rich would exit with 1."""
        raise BrokenPipeError


@contextlib.contextmanager
def _stdout() -> Iterator[Console]:
    """Give a console for tables: as wide as the terminal, or, in a pipe, as wide as the longest line."""
    if sys.stdout.isatty():
        yield _Terminal(highlight=False)
        return
    with io.StringIO() as text:
        # A pipe has no width of its own; rich would take 80 and fold paths that somebody wants to grep.
        yield Console(highlight=False, file=text, width=PIPE_WIDTH)
        lines = [line.rstrip() + "\n" for line in text.getvalue().splitlines()]
    sys.stdout.write("".join(lines))


def _now() -> datetime:
    return datetime.now(UTC)


class WrongModeError(AlexandriaError):
    """The command needs what only another mode has."""


def _with_alexandria(work: Callable[[Alexandria], Coroutine[None, None, T]]) -> T:
    async def checked(opened: ControlPlane) -> T:
        if not isinstance(opened, Alexandria):
            raise WrongModeError("this command reads code, which MODE=CLOUD cannot: unset MODE, or use MODE=EDGE")
        return await work(opened)

    return _with_stores(checked)


def _with_stores(work: Callable[[ControlPlane], Coroutine[None, None, T]]) -> T:
    terminated = False

    async def run() -> T:
        task = asyncio.current_task()

        def terminate() -> None:
            nonlocal terminated
            terminated = True
            if task is not None:
                task.cancel()

        if sys.platform != "win32":  # so that a clone is removed when a service manager stops us, too
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
        async with open_for(_settings()) as opened:
            return await work(opened)

    try:
        return asyncio.run(run())
    except asyncio.CancelledError:
        if not terminated:
            raise
        _stderr().print("terminated: what is indexed is whole, as it was before or as it is new", style="yellow")
        raise typer.Exit(TERMINATED) from None


def _settings() -> Settings:
    """Read the settings, and send what is logged to stderr, for a person: only what is amiss unless LOG_LEVEL is set.

    Left to themselves, libraries write of their retries to stdout, into the JSON.
    """
    settings = Settings.load()
    said = {"log_format": "text"} | ({} if "log_level" in settings.model_fields_set else {"log_level": "WARNING"})
    configure_logs(settings.model_copy(update=said))
    return settings


def _check_training(training: str) -> None:
    try:
        check_training(_settings().training, training)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--training") from None


@contextlib.contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[IndexProgress], None]]:
    if quiet:
        yield ignore_progress
        return
    with watched(_stderr()) as listener:
        yield listener


@app.command()
@_errors_told
def index(
    source: SourceArgument = ".",
    ref: RefOption = "",
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of the training.")] = 0,
    method: Annotated[Method, typer.Option(help="How vectors are made; prone is instant and a little worse.")] = (
        Method.NODE2VEC
    ),
    training: Annotated[
        str,
        typer.Option(metavar="NAME=VALUE,…", help="What to change of the training (see TRAINING in docs/settings.md)."),
    ] = "",
    include: IncludeOption = None,
    exclude: ExcludeOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Index a folder or a repository: read its imports, learn its structure, make it searchable.

    Indexing again replaces what was there in one step; until then searches see the old index.

    Example: alexandria index https://github.com/pallets/flask

    Example: alexandria index . --training epochs=20,seeds=4
    """
    _check_training(training)

    async def run(alexandria: Alexandria) -> tuple[IndexResult, SimilarAnswer | None]:
        with _progress(quiet) as progress:
            result = await alexandria.index_with_details(
                source,
                ref=ref,
                seed=seed,
                method=method.value,
                training=training,
                include=include or (),
                exclude=exclude or (),
                progress=progress,
            )
        hubs = shapes.most_imported(result.code.graph, 1)
        if as_json or not hubs:
            return result, None
        with contextlib.suppress(AlexandriaError):  # it is indexed; the taste of it may fail, as when a newer run ends
            return result, await alexandria.similar(result.snapshot.repo, hubs[0][0], k=5)
        return result, None

    result, taste = _with_alexandria(run)
    _note_on_a_part(source, result.code)
    if as_json:
        typer.echo(shapes.dumps(shapes.index_json(result, _now())))
        return
    with _stdout() as console:
        show.print_index(console, result)
        if taste is not None:
            console.print()
            show.print_similar(console, taste, _now())
            command = f"alexandria similar {shlex.quote(taste.path)} --repo {shlex.quote(taste.snapshot.repo)}"
            console.print()
            console.print(show.plain(f"next: {command}"), style="dim", soft_wrap=True)


@app.command()
@_errors_told
def similar(
    path: PathArgument,
    repo: RepoOption = "",
    k: Annotated[int, typer.Option("-k", "--top", min=1, help="How many files.")] = 10,
    language: Annotated[list[Language] | None, typer.Option(help="Only files of this language.")] = None,
    prefix: Annotated[str, typer.Option(help="Only files whose path starts with this.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Show the files that stand where this one stands in the structure, nearest first.

    Similarity is the cosine between two vectors, from -1 to 1; it compares within one repository.

    Example: alexandria similar src/flask/app.py --repo flask
    """

    async def ask(opened: ControlPlane) -> SimilarAnswer:
        key, relative = await _locate(opened, repo, path)
        return await opened.similar(key, relative, k=k, languages=language or (), path_prefix=prefix)

    answer = _with_stores(ask)
    if as_json:
        typer.echo(shapes.dumps(shapes.similar_json(answer, _now())))
    else:
        with _stdout() as console:
            show.print_similar(console, answer, _now())


@app.command()
@_errors_told
def neighbors(
    path: PathArgument,
    repo: RepoOption = "",
    direction: Annotated[Directions, typer.Option(help="What it imports, what imports it, or both.")] = Directions.BOTH,
    depth: Annotated[int, typer.Option(min=1, max=MAX_DEPTH, help="How many edges away at most.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Show what a file imports and what hangs on it.

    Example: alexandria neighbors src/flask/app.py --direction importers --depth 2
    """
    directions = tuple(Direction) if direction is Directions.BOTH else (Direction(direction.value),)

    async def ask(opened: ControlPlane) -> Neighbors:
        key, relative = await _locate(opened, repo, path)
        return await opened.neighbors(key, relative, directions=directions, depth=depth)

    answer = _with_stores(ask)
    if as_json:
        typer.echo(shapes.dumps(shapes.neighbors_json(answer, _now())))
    else:
        with _stdout() as console:
            show.print_neighbors(console, answer, _now())


@app.command()
@_errors_told
def graph(
    source: SourceArgument = ".",
    ref: RefOption = "",
    graph_format: Annotated[GraphFormat, typer.Option("--format", help="What to write.")] = GraphFormat.JSON,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write here instead of stdout.")] = None,
    explain: Annotated[
        str, typer.Option(metavar="FILE[:LINE]", help="Say instead how each import of this file was resolved.")
    ] = "",
    include: IncludeOption = None,
    exclude: ExcludeOption = None,
    quiet: QuietOption = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --explain: write JSON. Alone: the same as --format json.")
    ] = False,
) -> None:
    """Write the file dependency graph of a folder or a repository; nothing is stored.

    Example: alexandria graph . --format dot | dot -Tsvg > imports.svg
    """
    file, line = _file_and_line(explain)
    file = _relative(str(Path(source).expanduser().resolve()), Path.cwd(), file) if file else ""
    with _progress(quiet) as progress:
        code = _with_alexandria(
            lambda alx: alx.read_graph(
                source, ref=ref, explain=file, include=include or (), exclude=exclude or (), progress=progress
            )
        )
    _note_on_a_part(source, code)
    if file:
        _explain(code, file, line, as_json)
        return
    if code.graph.num_files and not code.graph.num_edges:
        _stderr().print("warning: no import resolves to a file of this repository: the graph is empty", style="yellow")
    if graph_format is GraphFormat.JSON or as_json:
        text = shapes.dumps(shapes.graph_json(code)) + "\n"
    elif graph_format is GraphFormat.DOT:
        text = "\n".join(shapes.graph_dot(code.graph)) + "\n"
    else:
        text = shapes.graph_graphml(code.graph)
    if output is None:
        typer.echo(text, nl=False)
    else:
        _write_file(output, text.encode())


def _file_and_line(explain: str) -> tuple[str, int]:
    """Split `FILE`, `FILE:LINE`, or what editors and compilers write, `FILE:LINE:COLUMN`."""
    found = re.fullmatch(r"(.+?):(\d+)(?::\d*)?:?", explain)
    if found is None or int(found[2]) == 0:
        return explain.removesuffix(":"), 0
    return found[1], int(found[2])


def _explain(code: CodeGraph, file: str, line: int, as_json: bool) -> None:
    if code.explained is None:
        raise NotInThisGraphError(file, close_paths(file, code.graph.files))
    outcomes = tuple(o for o in code.explained.outcomes if not line or o.line == line)
    if as_json:
        typer.echo(shapes.dumps({"path": file, "imports": [shapes.outcome_json(o) for o in outcomes]}))
        return
    if status := code.not_read.get(file):
        _stderr().print(f"this file was not read whole: {status.replace('_', ' ')}", style="yellow")
    if outcomes:
        with _stdout() as console:
            show.print_explained(console, FileOutcome(file, outcomes))
        return
    lines = sorted({o.line for o in code.explained.outcomes if o.line})
    some = f" at line {line}; it has some at {', '.join(map(str, lines[:10]))}" if line and lines else ""
    _stderr().print(show.plain(f"{file} has no import{some}"), soft_wrap=True)


class NotInThisGraphError(AlexandriaError):
    """The file to explain is no source file of the folder or repository that was read."""

    def __init__(self, file: str, suggestions: Sequence[str]) -> None:
        hint = f". Did you mean {' or '.join(suggestions)}?" if suggestions else ""
        super().__init__(f"{file} is not among the source files that were read{hint}")


def _note_on_a_part(source: str, code: CodeGraph) -> None:
    """Say so when less was read than may be meant: a glob hit nothing, or the folder is a part of a repository.

    Of a part, the ties to what lies above are not seen.
    """
    for glob in code.unmatched_globs:
        _stderr().print(show.plain(f"warning: the glob {glob!r} matches no file"), style="yellow", soft_wrap=True)
    path = Path(source).expanduser().resolve()
    if not code.commit or not path.is_dir() or (path / ".git").exists():
        return
    top = next((folder for folder in path.parents if (folder / ".git").exists()), None)
    if top is not None:
        note = (
            f"note: this folder is a part of {top} and was read alone: imports of what lies above it count as external"
        )
        _stderr().print(show.plain(note), style="yellow", soft_wrap=True)


@app.command()
@_errors_told
def export(
    repo: Annotated[str, typer.Argument(help="Which repository: its key or the end of it.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write, ending in .npz.")],
    as_json: JsonOption = False,
) -> None:
    """Write all vectors of a repository to a NumPy file: paths, vectors float32 [N, 64], isolated.

    Example: alexandria export flask -o flask.npz
    """
    if output.suffix != ".npz":
        raise typer.BadParameter("the file must end in .npz", param_hint="--output")
    answer = _with_stores(lambda opened: opened.export(repo))
    stored = answer.vectors
    with _fresh_file(output) as partial, partial.open("wb") as file:
        np.savez_compressed(
            file, paths=np.array(stored.paths, dtype=np.str_), vectors=stored.vectors, isolated=stored.isolated
        )
    if as_json:
        shape = {"repository": shapes.snapshot_json(answer.snapshot, _now()), "file": str(output)}
        typer.echo(shapes.dumps(shape))
    else:
        typer.echo(show.plain(f"{len(stored.paths):,} vectors of {answer.snapshot.repo} in {output}").plain)


@app.command()
@_errors_told
def repos(as_json: JsonOption = False) -> None:
    """Show the repositories that are indexed, with commit and age."""
    snapshots = _with_stores(lambda opened: opened.repos())
    if as_json:
        typer.echo(shapes.dumps({"repositories": [shapes.snapshot_json(snapshot, _now()) for snapshot in snapshots]}))
    elif snapshots:
        with _stdout() as console:
            show.print_repos(console, snapshots, _now())
    else:
        _stderr().print("nothing is indexed yet: run `alexandria index SOURCE`")


@app.command()
@_errors_told
def remove(
    repo: Annotated[str, typer.Argument(help="Which repository: its key or the end of it.")],
    as_json: JsonOption = False,
) -> None:
    """Forget a repository: its graph, its vectors, everything that is stored of it."""
    snapshot = _with_stores(lambda opened: opened.remove(repo))
    if as_json:
        typer.echo(shapes.dumps({"removed": snapshot.repo}))
    else:
        typer.echo(show.plain(f"removed {snapshot.repo}").plain)


@app.command()
@_errors_told
def submit(
    url: Annotated[str, typer.Argument(help="A repository: https://github.com/u/r, github.com/u/r.")],
    ref: RefOption = "",
    as_json: JsonOption = False,
) -> None:
    """Put a repository into the queue; a worker (`alexandria worker`) indexes it."""
    answer = _with_stores(lambda opened: opened.submit(url, ref=ref))
    if as_json:
        typer.echo(shapes.dumps(shapes.enqueued_json(answer)))
    else:
        what = "queued" if answer.created else f"already {answer.job.state}"
        where = f" at position {answer.position} of {answer.pending}" if answer.position else ""
        typer.echo(show.plain(f"{answer.job.repo} is {what}{where} as job {answer.job.id}").plain)


@app.command()
@_errors_told
def jobs(as_json: JsonOption = False) -> None:
    """Show the jobs that run and those that wait, and how the latest ones ended."""

    async def ask(opened: ControlPlane) -> tuple[Sequence[RunningJob], Sequence[Job], Sequence[JobRecord]]:
        # In the order of a job's life: one that goes on meanwhile is seen twice rather than not at all.
        waiting = await opened.pending_jobs()
        running = await opened.running_jobs()
        return running, waiting, await opened.job_history()

    running, waiting, ended = _with_stores(ask)
    if as_json:
        typer.echo(shapes.dumps(shapes.jobs_json(running, waiting, ended)))
    elif running or waiting or ended:
        with _stdout() as console:
            show.print_jobs(console, running, waiting, ended, _now())
    else:
        _stderr().print("no job was submitted yet: run `alexandria submit URL`")


@app.command()
@_errors_told
def cancel(
    job_id: Annotated[str, typer.Argument(metavar="JOB", help="The id that `submit` and `jobs` show.")],
    as_json: JsonOption = False,
) -> None:
    """Cancel a job: at once if it waits; if it runs, its worker stops at the next heartbeat."""
    view = _with_stores(lambda opened: opened.cancel(job_id))
    if as_json:
        typer.echo(shapes.dumps(shapes.job_view_json(view)))
    else:
        what = "will be cancelled at the worker's next heartbeat" if view.cancel_requested else f"is {view.job.state}"
        typer.echo(show.plain(f"job {view.job.id} of {view.job.repo} {what}").plain)


@app.command()
@_errors_told
def status(as_json: JsonOption = False) -> None:
    """Show what the workers do: Idle, Training Graph on …, Error: … or Offline."""
    text = str(_with_stores(lambda opened: opened.worker_status()))
    if as_json:
        typer.echo(shapes.dumps({"status": text}))
    else:
        typer.echo(show.plain(text).plain)


app.command("worker")(_errors_told(worker))


@app.command()
@_errors_told
def migrate(as_json: JsonOption = False) -> None:
    """Bring the tables of DATABASE_URL up to date; run it once before the first start and after each upgrade.

    Safe to repeat. The embedded file of LOCAL mode needs no command: it migrates itself when it is opened.

    Example: MODE=CLOUD alexandria migrate
    """
    parts = asyncio.run(migrate_database(_settings()))
    if as_json:
        typer.echo(shapes.dumps({"parts": [asdict(part) for part in parts]}))
    elif not parts:
        typer.echo("nothing to do: these settings keep nothing in PostgreSQL")
    for part in () if as_json else parts:
        did = f"{part.steps} step{'s' * (part.steps != 1)} taken" if part.steps else "was up to date"
        typer.echo(f"{part.part}: version {part.version}, {did}")


HostOption = Annotated[
    str | None, typer.Option("--host", help="Where to listen. Default: this machine only; everywhere in MODE=CLOUD.")
]
PortOption = Annotated[
    int | None, typer.Option("--port", min=0, max=65_535, help="Default: the variable PORT, else 8000.")
]


@app.command()
@_errors_told
def serve(host: HostOption = None, port: PortOption = None) -> None:
    """Serve the HTTP API over the embedded store, with a worker beside it, until Ctrl-C.

    Without PHAROS_ADMIN_TOKEN a token for submitting jobs is made in the data directory.
    """
    _serve(host, port, worker=True)


@app.command()
@_errors_told
def api(host: HostOption = None, port: PortOption = None) -> None:
    """Serve the HTTP API alone: in MODE=CLOUD over the remote stores, else over the embedded one."""
    _serve(host, port, worker=False)


def _serve(host: str | None, port: int | None, *, worker: bool) -> None:
    run = import_module("alexandria.entrypoints.api.command").run  # the server is loaded for these commands only
    if code := run(host, port, worker=worker):
        raise typer.Exit(code)


@app.command()
@_errors_told
def doctor(as_json: JsonOption = False) -> None:
    """Check this installation: settings, data directory, git, parsers, PyTorch, GPU; with a hint for each fault."""
    findings = asyncio.run(examine())
    if as_json:
        typer.echo(shapes.dumps({"checks": [finding.shape() for finding in findings]}))
    else:
        rows = [(f.verdict, f.name, f.detail + (f" — {f.hint}" if f.hint else "")) for f in findings]
        with _stdout() as console:
            show.print_rows(console, ("", "check", "found"), rows)
    if any(finding.verdict is Verdict.FAULT for finding in findings):
        raise typer.Exit(1)


async def _locate(opened: ControlPlane, repo: str, path: str) -> tuple[str, str]:
    """Return (key, path relative to the root) of what the user means from where they stand."""
    here = Path.cwd()
    if not repo:
        keys = {snapshot.repo for snapshot in await opened.repos()}
        repo = next((key for folder in (here, *here.parents) if (key := LocalRepo(folder).key) in keys), "")
    key = (await opened.repo(repo)).repo
    return key, _relative(key, here, path)


def _relative(key: str, here: Path, path: str) -> str:
    """Return `path` relative to the root of repository `key`, if it names a file of it that lies on disk."""
    root = Path(key)
    if root.is_absolute() and (here / path).is_file():
        found = (here / path).resolve()
        if found.is_relative_to(root):
            return found.relative_to(root).as_posix()
    return posixpath.normpath(path) if path else path


class OutputError(AlexandriaError):
    """The file that was asked for cannot be written."""


@contextlib.contextmanager
def _fresh_file(path: Path) -> Iterator[Path]:
    """Give a name beside `path` to write to, and move it there when all went well: never half a file."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        try:
            yield partial
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error


def _write_file(path: Path, content: bytes) -> None:
    with _fresh_file(path) as partial:
        partial.write_bytes(content)
