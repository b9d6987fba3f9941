"""LOCAL mode: everything in one data directory, nothing to sign up for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from dependency_injector import providers

from alexandria.adapters.git import sweep_leftovers
from alexandria.adapters.sqlite.catalog import SqliteCatalog
from alexandria.adapters.sqlite.database import Database
from alexandria.adapters.sqlite.job_queue import SqliteJobQueue
from alexandria.adapters.sqlite.status_board import SqliteStatusBoard
from alexandria.adapters.sqlite.vector_store import SqliteVectorStore
from alexandria.entrypoints.containers.compute import ComputeContainer, scratch_dir
from alexandria.entrypoints.containers.rules import queue_rules
from alexandria.entrypoints.library import Alexandria
from alexandria.entrypoints.settings import Settings
from alexandria.entrypoints.vector_stores import DATABASE_NAME, open_vector_store
from alexandria.ports.vector_store import VectorStore


def database_path(settings: Settings) -> Path:
    """Return where the one file of LOCAL mode lies."""
    return settings.data_dir / DATABASE_NAME


class LocalContainer(ComputeContainer):
    """The adapters of LOCAL mode."""

    database = providers.Singleton(Database.open, providers.Callable(database_path, ComputeContainer.settings))
    queue = providers.Singleton(
        SqliteJobQueue, database, providers.Callable(queue_rules, ComputeContainer.settings), ComputeContainer.clock
    )
    board = providers.Singleton(SqliteStatusBoard, database, ComputeContainer.clock)
    catalog = providers.Singleton(SqliteCatalog, database)
    # In the same file unless VECTOR_STORE names another place.
    vectors: providers.Provider[VectorStore] = providers.Singleton(SqliteVectorStore, database)
    library = providers.Singleton(
        Alexandria,
        settings=ComputeContainer.settings,
        queue=queue,
        board=board,
        catalog=catalog,
        vectors=vectors,
        local_source=ComputeContainer.local_source,
        remote_source=ComputeContainer.remote_source,
        parser=ComputeContainer.parser,
        make_embedder=ComputeContainer.make_embedder.provider,
        clock=ComputeContainer.clock,
    )


@asynccontextmanager
async def open_stores(settings: Settings) -> AsyncIterator[Alexandria]:
    """Open LOCAL mode; leaving closes the file.

    Raises:
        CatalogError: The file cannot be opened; the leaf says why.
        SettingsError: `VECTOR_STORE` names nothing that can be opened.
    """
    container: Any = LocalContainer(settings=settings)
    sweep_leftovers(scratch_dir())
    async with AsyncExitStack() as stack:
        database: Database = container.database()
        stack.callback(database.close)
        if settings.chosen_vector_store != "sqlite":
            vectors = await stack.enter_async_context(open_vector_store(settings))
            container.vectors.override(providers.Object(vectors))
        yield container.library()
