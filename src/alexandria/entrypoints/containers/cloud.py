"""CLOUD mode: the stores, and nothing that reads code."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from dependency_injector import providers

from alexandria.entrypoints.containers.remote import RemoteContainer, opened
from alexandria.entrypoints.control_plane import ControlPlane
from alexandria.entrypoints.settings import Settings


class CloudContainer(RemoteContainer):
    """The adapters of CLOUD mode."""

    control_plane = providers.Singleton(
        ControlPlane,
        settings=RemoteContainer.settings,
        queue=RemoteContainer.queue,
        board=RemoteContainer.board,
        catalog=RemoteContainer.catalog,
        vectors=RemoteContainer.vectors,
        clock=RemoteContainer.clock,
    )


@asynccontextmanager
async def open_stores(settings: Settings) -> AsyncIterator[ControlPlane]:
    """Open CLOUD mode; leaving closes every connection. No store is spoken to before it is used.

    Raises:
        SettingsError: `VECTOR_STORE` names nothing that can be opened.
    """
    container: Any = CloudContainer(settings=settings)
    async with opened(settings, container):
        yield container.control_plane()
