"""The schema of the file, as the steps that lead to it.

Step i takes a file from version i to version i + 1 (`PRAGMA user_version`). A step that was ever
released is never edited: what comes later is one more step at the end.
"""

from __future__ import annotations

from alexandria.adapters.sqlite.queue_schema import QUEUE

CATALOG_AND_VECTORS = (
    # One row a repository, packed: see `alexandria.ports.catalog_row`. `generation` and what follows are
    # NULL until a run is activated, and again after a delete. `announced` is the largest generation that was
    # ever seen and `fence` the smallest that may still be activated; both outlive a delete.
    """
    CREATE TABLE repositories (
        repo TEXT PRIMARY KEY,
        announced INTEGER NOT NULL,
        fence INTEGER NOT NULL,
        generation INTEGER,
        snapshot TEXT,
        paths BLOB,
        languages BLOB,
        out_degrees BLOB,
        targets BLOB,
        kinds BLOB
    )
    """,
    # AUTOINCREMENT: the id of a set that was deleted never comes back, so a reader that still holds its
    # matrix cannot take another set for it.
    """
    CREATE TABLE vector_sets (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        repo TEXT NOT NULL,
        generation INTEGER NOT NULL,
        repo_url TEXT NOT NULL,
        commit_hash TEXT NOT NULL,
        writes INTEGER NOT NULL,
        UNIQUE (repo, generation)
    )
    """,
    # `paths` and `languages` stand before `vectors`, whose pages SQLite then need not touch to read them.
    """
    CREATE TABLE vector_chunks (
        set_id INTEGER NOT NULL REFERENCES vector_sets (id) ON DELETE CASCADE,
        first_row INTEGER NOT NULL,
        num_rows INTEGER NOT NULL,
        paths BLOB NOT NULL,
        languages BLOB NOT NULL,
        vectors BLOB NOT NULL,
        PRIMARY KEY (set_id, first_row)
    )
    """,
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (CATALOG_AND_VECTORS, QUEUE)
"""Statements of each step, in order; the version of this program is their number."""
