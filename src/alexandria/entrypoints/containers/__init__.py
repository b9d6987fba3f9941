"""The wiring: one module a mode, imported by name, so that no mode loads what only another needs."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from importlib import import_module

from alexandria.entrypoints.control_plane import ControlPlane
from alexandria.entrypoints.settings import Settings


def open_for(settings: Settings) -> AbstractAsyncContextManager[ControlPlane]:
    """Open the stores of `settings.mode`; leaving closes them.

    In LOCAL and EDGE the result is an `Alexandria`, which can index as well.

    Raises:
        CatalogError: The store of LOCAL mode cannot be opened. Remote ones are first spoken to when used.
    """
    # The only place that asks for the mode. By name and late: the containers name what only their mode has installed.
    module = import_module(f"alexandria.entrypoints.containers.{settings.mode.lower()}")
    opened: AbstractAsyncContextManager[ControlPlane] = module.open_stores(settings)
    return opened
