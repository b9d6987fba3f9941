"""The documented JSON shapes of answers, and the formats of a graph; the command line and the API share them."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from alexandria.application.index import CodeGraph, IndexResult, languages_of
from alexandria.application.search import SimilarAnswer
from alexandria.domain.arrays import np
from alexandria.domain.embedding import MIN_EDGE_AUC
from alexandria.domain.graph import DependencyGraph
from alexandria.domain.imports import EdgeKind, Outcome
from alexandria.domain.job import Job, JobRecord
from alexandria.domain.snapshot import Snapshot
from alexandria.ports.catalog import Neighbors
from alexandria.ports.job_queue import Enqueued, JobView, RunningJob

Json = dict[str, Any]


def snapshot_json(snapshot: Snapshot, now: datetime) -> Json:
    """Return the documented shape of a repository."""
    shape = asdict(snapshot)
    shape["indexed_at"] = snapshot.indexed_at.isoformat()
    shape["age_seconds"] = max(0.0, (now - snapshot.indexed_at).total_seconds())
    shape["converged"] = None if snapshot.edge_auc is None else snapshot.edge_auc >= MIN_EDGE_AUC
    shape["imports"]["unresolved_share"] = snapshot.imports.unresolved_share
    return shape


def index_json(result: IndexResult, now: datetime) -> Json:
    """Return the documented shape of an index run."""
    return {
        "repository": snapshot_json(result.snapshot, now),
        "languages": {str(language): count for language, count in languages_of(result.code.graph).items()},
        "not_read": {path: str(status) for path, status in result.code.not_read.items()},
        "skipped": result.code.skipped,
        "most_imported": [{"path": p, "importers": n} for p, n in most_imported(result.code.graph, 10)],
        "loss": list(result.embeddings.report.loss),
        "notes": list(result.embeddings.report.notes),
        "seconds": {str(phase): round(seconds, 3) for phase, seconds in result.code.seconds.items()},
    }


def similar_json(answer: SimilarAnswer, now: datetime) -> Json:
    """Return the documented shape of a search."""
    return {
        "repository": snapshot_json(answer.snapshot, now),
        "path": answer.path,
        "similar": [
            {"path": hit.path, "language": str(hit.language), "similarity": round(hit.similarity, 6)}
            for hit in answer.hits
        ],
    }


def neighbors_json(answer: Neighbors, now: datetime) -> Json:
    """Return the documented shape of a walk along the edges."""
    return {
        "repository": snapshot_json(answer.snapshot, now),
        "path": answer.path,
        **{
            name: [{"path": file.path, "language": str(file.language), "depth": file.depth} for file in files]
            for name, files in (("imports", answer.imports), ("importers", answer.importers))
        },
    }


def enqueued_json(answer: Enqueued) -> Json:
    """Return the documented shape of a submission."""
    return {
        "job": job_json(answer.job),
        "created": answer.created,
        "position": answer.position,
        "pending": answer.pending,
    }


def job_json(job: Job) -> Json:
    """Return the documented shape of a job."""
    return {
        "id": job.id,
        "repo_url": job.repo.url,
        "ref": job.ref,
        "state": str(job.state),
        "attempt": job.attempt,
        "submitted_at": job.submitted_at.isoformat(),
    }


def job_view_json(view: JobView) -> Json:
    """Return the documented shape of a job as an onlooker sees it."""
    return {
        **job_json(view.job),
        "position": view.position,
        "phase": view.phase and str(view.phase),
        "fraction": view.fraction,
        "worker_id": view.worker_id,
        "cancel_requested": view.cancel_requested,
        "record": None if view.record is None else record_json(view.record),
    }


def running_json(running: RunningJob) -> Json:
    """Return the documented shape of a job that runs."""
    return job_json(running.job) | {
        "worker_id": running.worker_id,
        "phase": running.phase and str(running.phase),
        "fraction": running.fraction,
        "claimed_at": running.claimed_at.isoformat(),
        "lease_until": running.lease_until.isoformat(),
        "lapsed": running.lapsed,
    }


def record_json(record: JobRecord) -> Json:
    """Return the documented shape of how a job ended."""
    started = record.started_at.isoformat() if record.started_at else None
    times = {"timestamp": record.timestamp.isoformat(), "started_at": started}
    return asdict(record) | {"status": str(record.status)} | times


def jobs_json(running: Sequence[RunningJob], waiting: Sequence[Job], ended: Sequence[JobRecord]) -> Json:
    """Return the documented shape of the queue and its history."""
    return {
        "running": [running_json(job) for job in running],
        "pending": [job_json(job) for job in waiting],
        "history": [record_json(record) for record in ended],
    }


def most_imported(graph: DependencyGraph, limit: int) -> list[tuple[str, int]]:
    """Return (path, number of importers) of the files with the most importers, best first."""
    importers = np.bincount(graph.edges[1], minlength=graph.num_files)
    order = np.lexsort((np.arange(graph.num_files), -importers))[:limit]
    return [(graph.files[i], int(importers[i])) for i in order.tolist() if importers[i]]


def graph_json(code: CodeGraph) -> Json:
    """Return the documented shape of a graph; benchmarks read it."""
    graph = code.graph
    return {
        "commit": code.commit,
        "files": list(graph.files),
        "languages": [str(language) for language in graph.languages],
        "edges": [[graph.files[importer], graph.files[imported]] for importer, imported in graph.edges.T.tolist()],
        "edge_kinds": [kind_name(kind) for kind in graph.kinds.tolist()],
        "unresolved": [asdict(unresolved) for unresolved in graph.unresolved],
        "imports": {**asdict(graph.counts), "unresolved_share": graph.counts.unresolved_share},
        "not_read": {path: str(status) for path, status in code.not_read.items()},
    }


def kind_name(kind: int) -> str:
    """Return the name of an edge kind in JSON."""
    return EdgeKind(kind).name.lower()


def graph_dot(graph: DependencyGraph) -> Iterator[str]:
    """Yield the lines of a Graphviz file."""
    yield "digraph imports {"
    for path in graph.files:
        yield f"  {_dot(path)};"
    for (importer, imported), kind in zip(graph.edges.T.tolist(), graph.kinds.tolist(), strict=True):
        yield f"  {_dot(graph.files[importer])} -> {_dot(graph.files[imported])} [kind={kind_name(kind)}];"
    yield "}"


def _dot(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def graph_graphml(graph: DependencyGraph) -> str:
    """Return a GraphML document: nodes with path and language, edges with kind."""
    root = ET.Element("graphml", xmlns="http://graphml.graphdrawing.org/xmlns")
    for name, of in (("path", "node"), ("language", "node"), ("kind", "edge")):
        ET.SubElement(root, "key", {"id": name, "for": of, "attr.name": name, "attr.type": "string"})
    element = ET.SubElement(root, "graph", edgedefault="directed")
    for i, (path, language) in enumerate(zip(graph.files, graph.languages, strict=True)):
        node = ET.SubElement(element, "node", id=f"n{i}")
        ET.SubElement(node, "data", key="path").text = _xml(path)
        ET.SubElement(node, "data", key="language").text = str(language)
    for (importer, imported), kind in zip(graph.edges.T.tolist(), graph.kinds.tolist(), strict=True):
        edge = ET.SubElement(element, "edge", source=f"n{importer}", target=f"n{imported}")
        ET.SubElement(edge, "data", key="kind").text = kind_name(kind)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _xml(text: str) -> str:
    # XML 1.0 has no way to write most control characters, not even escaped (section 2.2).
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def outcome_json(outcome: Outcome) -> Json:
    """Return the documented shape of what became of an import."""
    return {
        "line": outcome.line or None,
        "specifier": outcome.specifier,
        "resolved": str(outcome.resolved),
        "kind": outcome.kind.name.lower(),
        "targets": list(outcome.targets),
        "reason": outcome.reason,
        "tried": list(outcome.tried),
    }


def dumps(shape: object) -> str:
    """Return JSON for stdout; names that are no valid Unicode are escaped, so that every reader can take it."""
    return json.dumps(shape, indent=2, ensure_ascii=True)
