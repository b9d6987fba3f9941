"""The stores that CLOUD and EDGE share: a queue, a catalog and vectors that both halves reach."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from typing import Any

from dependency_injector import containers, providers

from alexandria.adapters.postgres.catalog import PostgresCatalog
from alexandria.adapters.redis.job_queue import RedisJobQueue
from alexandria.adapters.redis.status_board import RedisStatusBoard
from alexandria.adapters.system.clock import SystemClock
from alexandria.domain.job import job_id_at
from alexandria.entrypoints.containers.rules import queue_rules
from alexandria.entrypoints.settings import Settings
from alexandria.entrypoints.vector_stores import open_postgres, open_vector_store
from alexandria.ports.clock import Clock
from alexandria.ports.script_store import ScriptStore
from alexandria.ports.vector_store import VectorStore


def open_script_store(settings: Settings) -> ScriptStore:
    """Return the way to the Redis server that the settings name; nothing is sent yet."""
    # By name: only the client that is used is loaded, in a process of 512 MB.
    if url := settings.redis_url.get_secret_value():
        way = import_module("alexandria.adapters.redis.tcp").TcpScriptStore(
            url, timeout_s=settings.store_timeout_seconds
        )
    else:
        way = import_module("alexandria.adapters.upstash.rest").UpstashScriptStore(
            settings.upstash_redis_rest_url,
            settings.upstash_redis_rest_token.get_secret_value(),
            timeout_s=settings.store_timeout_seconds,
        )
    store: ScriptStore = way
    return store


def new_job_id(clock: Clock) -> str:
    """Return an id for a job that another program pushed without one."""
    return job_id_at(clock.now(), secrets.token_bytes(10))


class RemoteContainer(containers.DeclarativeContainer):
    """The adapters of the three remote stores."""

    settings: providers.Dependency[Settings] = providers.Dependency(instance_of=Settings)

    clock = providers.Singleton(SystemClock)
    scripts = providers.Singleton(open_script_store, settings)
    queue = providers.Singleton(
        RedisJobQueue,
        scripts,
        providers.Callable(queue_rules, settings),
        new_id=providers.Callable(new_job_id, clock).provider,
        allowed_hosts=settings.provided.allowed_repo_hosts,
    )
    board = providers.Singleton(RedisStatusBoard, scripts)
    database = providers.Singleton(open_postgres, settings)
    catalog = providers.Singleton(PostgresCatalog, database)
    vectors: providers.Dependency[VectorStore] = providers.Dependency()


@asynccontextmanager
async def opened(settings: Settings, container: Any) -> AsyncIterator[None]:
    """Give `container` its vector store, and close all of its stores at the end.

    Raises:
        SettingsError: `VECTOR_STORE` names nothing that can be opened.
    """
    async with AsyncExitStack() as stack:
        container.vectors.override(providers.Object(await stack.enter_async_context(open_vector_store(settings))))
        await stack.enter_async_context(container.scripts())
        await stack.enter_async_context(container.database())
        yield
