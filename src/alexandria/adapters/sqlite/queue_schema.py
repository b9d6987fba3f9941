"""The tables of the queue and of the status board; times are microseconds since 1970, UTC."""

from __future__ import annotations

QUEUE = (
    # Every job that is known. `place` orders those that may run and is NULL for the others, `due_us` is
    # set for delayed retries alone; `token` and `ended_by` outlive their claim.
    """
    CREATE TABLE jobs (
        id TEXT PRIMARY KEY,
        repo TEXT NOT NULL,
        ref TEXT NOT NULL,
        submitted_us INTEGER NOT NULL,
        ttl_s INTEGER NOT NULL,
        attempt INTEGER NOT NULL DEFAULT 0,
        state TEXT NOT NULL DEFAULT 'queued',
        place INTEGER,
        due_us INTEGER,
        token INTEGER,
        ended_by TEXT,
        worker_id TEXT NOT NULL DEFAULT '',
        started_us INTEGER,
        lease_until_us INTEGER,
        phase TEXT,
        fraction REAL NOT NULL DEFAULT 0,
        cancel_requested INTEGER NOT NULL DEFAULT 0
    )
    """,
    # Two jobs of one repository and ref can never be active at once, whoever writes.
    "CREATE UNIQUE INDEX active_jobs ON jobs (repo, ref) WHERE state IN ('queued', 'running')",
    "CREATE TABLE job_history (number INTEGER PRIMARY KEY, job_id TEXT NOT NULL UNIQUE, record TEXT NOT NULL)",
    "CREATE TABLE last_token (token INTEGER NOT NULL)",
    "INSERT INTO last_token VALUES (0)",
    """
    CREATE TABLE worker_reports (
        worker_id TEXT PRIMARY KEY,
        number INTEGER NOT NULL,
        status TEXT NOT NULL,
        job_id TEXT NOT NULL,
        phase TEXT,
        fraction REAL NOT NULL,
        seen_us INTEGER NOT NULL,
        until_us INTEGER NOT NULL
    )
    """,
)
