"""EDGE mode: the stores of CLOUD, and what reads code and learns from it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from dependency_injector import providers

from alexandria.adapters.git import sweep_leftovers
from alexandria.entrypoints.containers.compute import ComputeContainer, scratch_dir
from alexandria.entrypoints.containers.remote import RemoteContainer, opened
from alexandria.entrypoints.library import Alexandria
from alexandria.entrypoints.settings import Settings


class EdgeContainer(RemoteContainer):
    """The adapters of EDGE mode."""

    compute = providers.Container(ComputeContainer, settings=RemoteContainer.settings)
    library = providers.Singleton(
        Alexandria,
        settings=RemoteContainer.settings,
        queue=RemoteContainer.queue,
        board=RemoteContainer.board,
        catalog=RemoteContainer.catalog,
        vectors=RemoteContainer.vectors,
        local_source=compute.local_source,
        remote_source=compute.remote_source,
        parser=compute.parser,
        make_embedder=compute.make_embedder.provider,
        clock=RemoteContainer.clock,
    )


@asynccontextmanager
async def open_stores(settings: Settings) -> AsyncIterator[Alexandria]:
    """Open EDGE mode; leaving closes every connection. No store is spoken to before it is used.

    Raises:
        SettingsError: `VECTOR_STORE` names nothing that can be opened.
    """
    container: Any = EdgeContainer(settings=settings)
    sweep_leftovers(scratch_dir())
    async with opened(settings, container):
        yield container.library()
