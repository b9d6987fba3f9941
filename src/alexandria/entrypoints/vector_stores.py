"""Where vectors are kept, chosen by `VECTOR_STORE`: one of ours by name, or anybody's as `module:factory`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING

from alexandria.entrypoints.settings import Settings, SettingsError
from alexandria.ports.vector_store import VectorStore

if TYPE_CHECKING:
    from alexandria.adapters.postgres.database import PostgresDatabase

DATABASE_NAME = "alexandria.sqlite3"

VectorStoreFactory = Callable[[Settings], AbstractAsyncContextManager[VectorStore]]
"""Opens a store; leaving closes it. Opening may not wait for a server: the first call does."""


@asynccontextmanager
async def open_sqlite(settings: Settings) -> AsyncIterator[VectorStore]:
    """Open the file in `data_dir`."""
    database = import_module("alexandria.adapters.sqlite.database").Database.open(settings.data_dir / DATABASE_NAME)
    try:
        yield import_module("alexandria.adapters.sqlite.vector_store").SqliteVectorStore(database)
    finally:
        database.close()


@asynccontextmanager
async def open_memory(_: Settings) -> AsyncIterator[VectorStore]:
    """Open a store that ends with the process."""
    yield import_module("alexandria.adapters.memory.vector_store").MemoryVectorStore()


@asynccontextmanager
async def open_qdrant(settings: Settings) -> AsyncIterator[VectorStore]:
    """Open the Qdrant at `qdrant_url`."""
    store = import_module("alexandria.adapters.qdrant.vector_store").QdrantVectorStore(
        settings.qdrant_url,
        api_key=settings.qdrant_api_key.get_secret_value(),
        timeout_s=settings.store_timeout_seconds,
    )
    async with store:
        yield store


def open_postgres(settings: Settings) -> PostgresDatabase:
    """Return the PostgreSQL at `database_url`, for the vectors, the catalog or both; nothing is sent yet."""
    database = import_module("alexandria.adapters.postgres.database")
    unit_s = settings.store_timeout_seconds
    opened: PostgresDatabase = database.PostgresDatabase(
        settings.database_url.get_secret_value(),
        # A database that sleeps takes some 5 s to its first answer, and a transaction has several statements.
        patience=database.Patience(connect_s=1.5 * unit_s, statement_s=2 * unit_s, attempt_s=4 * unit_s),
    )
    return opened


@asynccontextmanager
async def open_pgvector(settings: Settings) -> AsyncIterator[VectorStore]:
    """Open the vectors in the PostgreSQL at `database_url`."""
    async with open_postgres(settings) as database:
        yield import_module("alexandria.adapters.postgres.vector_store").PgVectorStore(database)


BUILT_IN = {name: f"{__name__}:open_{name}" for name in ("sqlite", "qdrant", "pgvector", "memory")}


def load_factory(choice: str) -> VectorStoreFactory:
    """Return what opens the store that `choice` names.

    Args:
        choice: One of `BUILT_IN`, or `module:factory` of an importable module.

    Raises:
        SettingsError: It names nothing that can be called.
    """
    module_name, colon, name = BUILT_IN.get(choice, choice).partition(":")
    if not (module_name and colon and name):
        raise _fault(f"is one of {', '.join(BUILT_IN)}, or module:factory, not {choice!r}")
    try:
        factory = getattr(import_module(module_name), name)
    except (ImportError, TypeError, ValueError) as error:  # the last two: a relative name, an odd one
        raise _fault(f"{module_name} cannot be imported: {error}") from error
    except AttributeError as error:
        raise _fault(f"{module_name} has no {name}") from error
    if not callable(factory):
        raise _fault(f"{choice} cannot be called")
    found: VectorStoreFactory = factory
    return found


@asynccontextmanager
async def open_vector_store(settings: Settings) -> AsyncIterator[VectorStore]:
    """Open the store that the settings choose; leaving closes it.

    Raises:
        SettingsError: The choice names nothing, or what it names opens no `VectorStore`.
    """
    opened = load_factory(settings.chosen_vector_store)(settings)
    if not isinstance(opened, AbstractAsyncContextManager):
        raise _fault(f"{settings.vector_store} gives no asynchronous context manager")
    async with opened as store:
        # By name, not by shape: an adapter inherits its port, so that a half-made one cannot be opened at all.
        if VectorStore not in type(store).__mro__:
            raise _fault(f"{settings.vector_store} opens a {type(store).__name__}, which is no VectorStore")
        yield store


def _fault(text: str) -> SettingsError:
    return SettingsError([f"VECTOR_STORE: {text}"])
