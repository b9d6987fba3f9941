"""LOCAL mode: everything in one data directory, nothing to sign up for."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from dependency_injector import containers, providers

from alexandria.adapters.git import DirectorySource, GitSource, SourceLimits, sweep_leftovers
from alexandria.adapters.pyg.settings import Device, Method, Node2VecSettings
from alexandria.adapters.sqlite.catalog import SqliteCatalog
from alexandria.adapters.sqlite.database import Database
from alexandria.adapters.sqlite.job_queue import SqliteJobQueue
from alexandria.adapters.sqlite.status_board import SqliteStatusBoard
from alexandria.adapters.sqlite.vector_store import SqliteVectorStore
from alexandria.adapters.system.clock import SystemClock
from alexandria.adapters.tree_sitter.parser import TreeSitterParser
from alexandria.entrypoints.library import Alexandria
from alexandria.entrypoints.settings import Settings
from alexandria.ports.graph_embedder import GraphEmbedder
from alexandria.ports.job_queue import QueueRules

DATABASE_NAME = "alexandria.sqlite3"


def scratch_dir() -> Path:
    """Return where clones are kept while they are read."""
    return Path(tempfile.gettempdir())


def database_path(settings: Settings) -> Path:
    """Return where the one file of LOCAL mode lies."""
    return settings.data_dir / DATABASE_NAME


def load_embedder(method: Method, device: Device, threads: int) -> GraphEmbedder:
    """Import PyTorch, which takes seconds, and make the embedder; meant to run in a thread."""
    embedder: GraphEmbedder = import_module("alexandria.adapters.pyg.embedder").Node2VecEmbedder(
        Node2VecSettings(method=method, device=device, threads=threads)
    )
    return embedder


class LocalContainer(containers.DeclarativeContainer):
    """The adapters of LOCAL mode."""

    settings: providers.Dependency[Settings] = providers.Dependency(instance_of=Settings)

    clock = providers.Singleton(SystemClock)
    database = providers.Singleton(Database.open, providers.Callable(database_path, settings))
    rules = providers.Singleton(
        QueueRules,
        cap=settings.provided.queue_cap,
        ttl_s=settings.provided.job_ttl_seconds,
        lease_s=settings.provided.lease_seconds,
        max_attempts=settings.provided.max_attempts,
    )
    queue = providers.Singleton(SqliteJobQueue, database, rules, clock)
    board = providers.Singleton(SqliteStatusBoard, database, clock)
    catalog = providers.Singleton(SqliteCatalog, database)
    vectors = providers.Singleton(SqliteVectorStore, database)
    limits = providers.Singleton(
        SourceLimits,
        clone_timeout_s=settings.provided.clone_timeout_seconds,
        clone_bytes=settings.provided.clone_max_bytes,
        files=settings.provided.repo_max_files,
    )
    local_source = providers.Singleton(DirectorySource, limits=limits, scratch=providers.Callable(scratch_dir))
    remote_source = providers.Singleton(
        GitSource,
        limits=limits,
        scratch=providers.Callable(scratch_dir),
        mirror=settings.provided.repo_mirror,
        proxy=settings.provided.repo_proxy,
        ca_file=settings.provided.repo_ca_file,
    )
    parser = providers.Singleton(TreeSitterParser, max_file_bytes=settings.provided.source_max_bytes)
    make_embedder = providers.Callable(
        load_embedder, device=settings.provided.device, threads=settings.provided.threads
    )
    library = providers.Singleton(
        Alexandria,
        settings=settings,
        queue=queue,
        board=board,
        catalog=catalog,
        vectors=vectors,
        local_source=local_source,
        remote_source=remote_source,
        parser=parser,
        make_embedder=make_embedder.provider,
        clock=clock,
    )


@asynccontextmanager
async def open_local(settings: Settings) -> AsyncIterator[Alexandria]:
    """Open LOCAL mode; leaving closes the file.

    Raises:
        CatalogError: The file cannot be opened; the leaf says why.
    """
    container: Any = LocalContainer(settings=settings)
    sweep_leftovers(scratch_dir())
    database: Database = container.database()
    try:
        yield container.library()
    finally:
        database.close()
