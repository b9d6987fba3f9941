"""One example for each answer in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from alexandria.entrypoints.api.models import FLASK, JOB_ID, TIME

RECORD: dict[str, Any] = {
    "job_id": JOB_ID,
    "repo_url": FLASK,
    "status": "complete",
    "timestamp": TIME,
    "started_at": "2026-11-21T09:29:48+00:00",
    "duration_seconds": 11.7,
    "reason": "",
    "commit": "6a649690e4b1f34b1d4f4c2a9a2d4a4e5d1c9f0b",
    "files_processed": 83,
    "files_failed": 0,
    "edges": 196,
    "imports_unresolved": 0,
    "embeddings_generated": 83,
    "final_loss": 0.91,
    "edge_auc": 0.957,
    "device": "cpu",
    "worker_id": "edge-1",
    "attempt": 1,
}
JOB: dict[str, Any] = {
    "id": JOB_ID,
    "repo_url": FLASK,
    "ref": "",
    "state": "running",
    "attempt": 1,
    "submitted_at": "2026-11-21T09:29:40+00:00",
}
JOB_NOW = JOB | {
    "position": 0,
    "phase": "training",
    "fraction": 0.4,
    "percentage": 40.0,
    "worker_id": "edge-1",
    "cancel_requested": False,
    "record": None,
}
JOBS: dict[str, Any] = {
    "running": [
        JOB
        | {
            "worker_id": "edge-1",
            "phase": "training",
            "fraction": 0.4,
            "claimed_at": "2026-11-21T09:29:48+00:00",
            "lease_until": "2026-11-21T09:34:48+00:00",
            "lapsed": False,
        }
    ],
    "pending": [],
    "history": [RECORD],
}
DISPATCHED: dict[str, Any] = {
    "status": "dispatched",
    "job_id": JOB_ID,
    "queue_position": 1,
    "queue_size": 1,
    "max_queue_size": 10,
    "target": FLASK,
    "ref": "",
    "state": "queued",
    "created": True,
}
WORKERS: dict[str, Any] = {
    "status": f"Training Graph on {FLASK}",
    "workers": [
        {
            "worker_id": "edge-1",
            "status": f"Training Graph on {FLASK}",
            "job_id": JOB_ID,
            "phase": "training",
            "fraction": 0.4,
            "percentage": 40.0,
            "seen_at": TIME,
        }
    ],
}
REPOSITORY: dict[str, Any] = {
    "repo": "github.com/pallets/flask",
    "url": FLASK,
    "commit": "6a649690e4b1f34b1d4f4c2a9a2d4a4e5d1c9f0b",
    "generation": 7,
    "indexed_at": TIME,
    "files": 83,
    "linked": 66,
    "edges": 196,
    "files_failed": 0,
    "imports": {
        "inside": 289,
        "external": 512,
        "unresolved": 0,
        "dynamic": 3,
        "unsupported": 0,
        "unresolved_share": 0.0,
    },
    "method": "node2vec",
    "seed": 0,
    "device": "cpu",
    "final_loss": 0.91,
    "edge_auc": 0.957,
    "ref": "",
    "dirty": False,
    "age_seconds": 61.5,
    "converged": True,
}
REPOSITORIES = {"repositories": [REPOSITORY], "next": None}
FILES = {
    "repository": REPOSITORY,
    "files": [
        {"path": "src/flask/app.py", "language": "python", "imports": 17, "importers": 9, "isolated": False},
    ],
    "next": "WyI3Iiwic3JjL2ZsYXNrL2FwcC5weSJd",
}
SIMILAR = {
    "repository": REPOSITORY,
    "path": "src/flask/app.py",
    "similar": [{"path": "src/flask/sansio/app.py", "language": "python", "similarity": 0.934211}],
}
NEIGHBORS = {
    "repository": REPOSITORY,
    "path": "src/flask/app.py",
    "imports": [{"path": "src/flask/cli.py", "language": "python", "depth": 1}],
    "importers": [{"path": "src/flask/__init__.py", "language": "python", "depth": 1}],
}
GRAPH = {
    "commit": REPOSITORY["commit"],
    "files": ["src/flask/__init__.py", "src/flask/app.py"],
    "languages": ["python", "python"],
    "edges": [["src/flask/__init__.py", "src/flask/app.py"]],
    "edge_kinds": ["import"],
    "unresolved": [],
    "imports": REPOSITORY["imports"],
    "not_read": {},
}
GRAPHML = '<?xml version="1.0" encoding="UTF-8"?>\n<graphml xmlns="http://graphml.graphdrawing.org/xmlns">…</graphml>\n'
HEALTH = {
    "status": "healthy",
    "services": {
        "queue": {"status": "up", "latency_ms": 3.1},
        "vector_store": {"status": "up", "latency_ms": 8.4},
        "database": {"status": "up", "latency_ms": 2.2},
    },
}
