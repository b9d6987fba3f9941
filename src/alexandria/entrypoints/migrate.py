"""`alexandria migrate`: bring the tables of a database up to date. Never done at import, nor by a worker or the API."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from alexandria.entrypoints.settings import Mode, Settings
from alexandria.entrypoints.vector_stores import open_postgres


@dataclass(frozen=True, slots=True)
class Migrated:
    """What became of a part of the tables.

    Attributes:
        part: Its name.
        version: What it has now.
        steps: How many steps were taken; 0 if it was up to date.
    """

    part: str
    version: int
    steps: int


async def migrate(settings: Settings) -> list[Migrated]:
    """Migrate every part that the settings use; safe to repeat, and by several programs at once.

    Returns:
        One entry a part in PostgreSQL; empty if none is used: the embedded file migrates itself when it is opened.

    Raises:
        AlexandriaError: The leaf says why; the part that failed is as it was.
    """
    schema = import_module("alexandria.adapters.postgres.schema")
    parts = []
    if settings.mode is not Mode.LOCAL:
        parts.append(schema.CATALOG)
    if settings.chosen_vector_store == "pgvector":
        parts.append(schema.VECTORS)
    if not parts:
        return []
    async with open_postgres(settings) as database:
        return [Migrated(part.name, part.version, await database.migrate(part)) for part in parts]
