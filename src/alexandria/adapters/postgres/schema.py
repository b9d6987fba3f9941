"""The tables, as the steps that lead to them.

They stand in a schema of the database that is ours alone, in two parts with a version each: the
catalog needs no extension, the vectors need pgvector. Step i takes a part from version i to
version i + 1. A step that was ever released is never edited: what comes later is one more step at
the end.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SchemaPart:
    """Tables that are migrated together.

    Attributes:
        name: A plain word.
        steps: Statements of each step, in order; the version of this program is their number.
    """

    name: str
    steps: tuple[tuple[str, ...], ...]

    @property
    def version(self) -> int:
        """What this program knows."""
        return len(self.steps)


CATALOG = SchemaPart(
    "catalog",
    (
        (
            # One row a repository, packed: see `alexandria.ports.catalog_row`. `generation` and what follows
            # are NULL until a run is activated, and again after a delete. `announced` is the largest
            # generation that was ever seen and `fence` the smallest that may still be activated; both outlive
            # a delete. Collation "C" is the order of code points, whatever that of the database is.
            """
            CREATE TABLE alexandria.repositories (
                repo text COLLATE "C" PRIMARY KEY,
                announced bigint NOT NULL,
                fence bigint NOT NULL,
                generation bigint,
                snapshot text,
                paths bytea,
                languages bytea,
                out_degrees bytea,
                targets bytea,
                kinds bytea
            )
            """,
        ),
    ),
)

VECTORS = SchemaPart(
    "vectors",
    (
        (
            "CREATE EXTENSION IF NOT EXISTS vector",
            # The id of a set that was deleted never comes back: identities only grow.
            """
            CREATE TABLE alexandria.vector_sets (
                id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                repo text COLLATE "C" NOT NULL,
                generation bigint NOT NULL,
                repo_url text NOT NULL,
                commit_hash text NOT NULL,
                UNIQUE (repo, generation)
            )
            """,
            # No foreign key: its trigger would look for the set once a row. Every transaction that adds or
            # removes rows holds the row of their set, so none is left over.
            """
            CREATE TABLE alexandria.vectors (
                set_id bigint NOT NULL,
                path text COLLATE "C" NOT NULL,
                language text NOT NULL,
                isolated boolean NOT NULL,
                embedding vector(64) NOT NULL,
                PRIMARY KEY (set_id, path)
            )
            """,
        ),
    ),
)
