"""How answers look: tables for people, JSON for programs. Nothing here asks a port."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from alexandria.application.index import IndexResult, languages_of
from alexandria.application.search import SimilarAnswer
from alexandria.domain.embedding import MIN_EDGE_AUC
from alexandria.domain.imports import EdgeKind, FileOutcome, ReadStatus, Resolved
from alexandria.domain.job import Job, JobRecord
from alexandria.domain.snapshot import Snapshot
from alexandria.entrypoints.shapes import most_imported
from alexandria.ports.catalog import Neighbors
from alexandria.ports.job_queue import RunningJob

MIN_GUESSED_AUC = 0.80
"""Edge AUC on held-back edges that a healthy training of a sparse graph reaches; PyG's own has .89 at 900 files."""


def plain(text: str) -> Text:
    """Return `text` for a table cell: no markup is read in it, and control characters are spelled out.

    A file name may hold both: `[id].tsx` is one, and so is an escape sequence that clears a screen.
    """
    return Text("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text))


def age_of(then: datetime, now: datetime) -> str:
    """Say how long ago `then` was, in one unit: `3 minutes`."""
    seconds = max(0, int((now - then).total_seconds()))
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'s' * (count != 1)}"
    return f"{seconds} second{'s' * (seconds != 1)}"


def commit_of(snapshot: Snapshot) -> str:
    """Name the commit in a few characters, and what is beside it."""
    if not snapshot.commit:
        return "no commit"
    return snapshot.commit[:10] + (" with uncommitted changes" if snapshot.dirty else "")


def print_jobs(
    console: Console,
    running: Sequence[RunningJob],
    waiting: Sequence[Job],
    ended: Sequence[JobRecord],
    now: datetime,
) -> None:
    """Show the jobs that run, those that wait and those that ended."""
    rows = [(str(one.job.state), _what(one.job), _progress_of(one, now), one.job.id) for one in running]
    rows += [(str(job.state), _what(job), f"submitted {age_of(job.submitted_at, now)} ago", job.id) for job in waiting]
    for record in ended:
        took = f"{record.duration_seconds:.1f} s, {age_of(record.timestamp, now)} ago"
        rows.append(
            (str(record.status), record.repo_url, took + (f": {record.reason}" if record.reason else ""), record.job_id)
        )
    print_rows(console, ("state", "repository", "", "job"), rows)


def _what(job: Job) -> str:
    return f"{job.repo.url} @ {job.ref}" if job.ref else job.repo.url


def _progress_of(running: RunningJob, now: datetime) -> str:
    phase = f"{running.phase} {running.fraction:.0%}, " if running.phase else ""
    text = f"{phase}claimed by {running.worker_id} {age_of(running.claimed_at, now)} ago"
    lost = ": its worker is not heard of; the next claim takes it back"
    return text + lost if running.lapsed else text


def print_index(console: Console, result: IndexResult) -> None:
    """Say what an index run found."""
    snapshot, code, report = result.snapshot, result.code, result.embeddings.report
    imports, seconds = snapshot.imports, code.seconds
    languages = ", ".join(f"{count:,} {language}" for language, count in languages_of(code.graph).items())
    auc = "nothing to measure" if report.edge_auc is None else f"edge AUC {report.edge_auc:.3f}"
    held = " on held-back edges" if report.edges_held_out else " on all edges" if report.edge_auc is not None else ""
    loss = "" if report.final_loss is None else f", final loss {report.final_loss:.3f}"
    table = Table.grid(padding=(0, 2))
    table.add_row("repository", plain(f"{snapshot.url} @ {commit_of(snapshot)}"))
    table.add_row("files", f"{snapshot.files:,} source files ({languages}), {code.source_bytes / 1e6:,.1f} MB")
    table.add_row(
        "imports",
        f"{imports.inside:,} inside, {imports.external:,} external, {imports.unresolved:,} unresolved, "
        f"{imports.dynamic:,} dynamic, {imports.unsupported:,} not code",
    )
    table.add_row("graph", f"{snapshot.edges:,} edges, {snapshot.files - snapshot.linked:,} files without one")
    table.add_row("vectors", f"{snapshot.files:,} × 64 by {report.method} on {report.device}, {auc}{held}{loss}")
    table.add_row("time", ", ".join(f"{phase} {spent:.1f} s" for phase, spent in seconds.items()))
    console.print(table)
    for line in warnings_of(result):
        console.print(Text("! ") + plain(line), style="yellow")
    hubs = most_imported(code.graph, 5)
    if hubs:
        console.print()
        print_rows(console, ("importers", "most imported files"), [(str(count), path) for path, count in hubs])


def warnings_of(result: IndexResult) -> Iterator[str]:
    """Yield what a person should know before trusting the index."""
    snapshot, code, report = result.snapshot, result.code, result.embeddings.report
    if snapshot.files and not snapshot.edges:
        yield "no import resolves to a file of this repository: the graph is empty and no file has a neighbour"
    if report.edge_auc is not None and not report.converged:
        yield _below_the_mark(report.edge_auc, held_out=report.edges_held_out)
    by_status: dict[ReadStatus, list[str]] = {}
    for path, status in code.not_read.items():
        by_status.setdefault(status, []).append(path)
    for status, paths in by_status.items():
        yield f"{len(paths):,} not read whole ({status.replace('_', ' ')}): {paths[0]}" + (
            " …" if len(paths) > 1 else ""
        )
    for reason, count in code.skipped.items():
        yield f"{count:,} left out ({reason.replace('_', ' ')})"
    if snapshot.imports.unresolved:
        first = code.graph.unresolved[0]
        yield (
            f"{snapshot.imports.unresolved:,} imports unresolved, the first is {first.specifier!r} "
            f"in {first.path}:{first.line} ({first.reason})"
        )
    yield from report.notes


def _below_the_mark(edge_auc: float, *, held_out: bool) -> str:
    """Say what an edge AUC below the mark means: which, depends on what was asked of the vectors (ADR 16)."""
    if not held_out:
        return (
            f"the training did not converge: it tells edges of its own from other pairs in {edge_auc:.0%} of cases, "
            f"below {MIN_EDGE_AUC:.0%}. Take similarities with care"
        )
    guessed = f"edges kept from the training were told from other pairs in {edge_auc:.0%} of cases"
    if edge_auc >= MIN_GUESSED_AUC:
        return (
            f"{guessed}, below the mark of {MIN_EDGE_AUC:.0%}: usual on a sparse graph. "
            "Near files are near, but do not count on guessed links"
        )
    return (
        f"{guessed}, far below the mark of {MIN_EDGE_AUC:.0%}: nearly all imports go to a few files, which leaves "
        "little to guess by, or the training failed. Take similarities with care"
    )


def print_similar(console: Console, answer: SimilarAnswer, now: datetime) -> None:
    """Show what is near a file."""
    _print_heading(console, answer.snapshot, now)
    rows = [(f"{hit.similarity:.3f}", hit.path, str(hit.language)) for hit in answer.hits]
    print_rows(console, ("similarity", f"near {answer.path}", "language"), rows)


def print_neighbors(console: Console, answer: Neighbors, now: datetime) -> None:
    """Show what a file imports and what imports it."""
    _print_heading(console, answer.snapshot, now)
    rows = [("imports", str(file.depth), file.path) for file in answer.imports]
    rows += [("imported by", str(file.depth), file.path) for file in answer.importers]
    print_rows(console, (answer.path, "depth", "file"), rows)


def print_repos(console: Console, snapshots: Sequence[Snapshot], now: datetime) -> None:
    """Show what is indexed."""
    rows = [
        (s.repo, commit_of(s), age_of(s.indexed_at, now), f"{s.files:,}", f"{s.edges:,}", _auc(s.edge_auc))
        for s in snapshots
    ]
    print_rows(console, ("repository", "commit", "age", "files", "edges", "edge AUC"), rows)


def print_explained(console: Console, file: FileOutcome) -> None:
    """Show how the imports of a file were resolved, and what was tried."""
    rows = []
    for outcome in file.outcomes:
        became = ", ".join(outcome.targets) if outcome.resolved is Resolved.INSIDE else str(outcome.resolved)
        reason = outcome.reason + (f"; tried {', '.join(outcome.tried)}" if outcome.tried else "")
        kind = "" if outcome.kind is EdgeKind.IMPORT else f" [{outcome.kind.name.lower()}]"
        rows.append((str(outcome.line) if outcome.line else "–", outcome.specifier, became + kind, reason))
    print_rows(console, ("line", "import", "became", "by"), rows)


def print_rows(console: Console, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table without lines; cells are plain text and are never cut off."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in headings:
        table.add_column(plain(heading), overflow="fold")
    for row in rows:
        table.add_row(*map(plain, row))
    console.print(table)


def _print_heading(console: Console, snapshot: Snapshot, now: datetime) -> None:
    age = age_of(snapshot.indexed_at, now)
    console.print(plain(f"{snapshot.repo} @ {commit_of(snapshot)}, indexed {age} ago"), style="dim")


def _auc(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
