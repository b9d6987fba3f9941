"""The three engines that CLOUD and EDGE share, running on this machine, and the environment that names them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from redis.asyncio import Redis

from support import postgres, qdrant_rest, upstash_rest, valkey

ADMIN_TOKEN = "0123456789abcdef-admin"


@dataclass(frozen=True)
class Engines:
    """What runs, and how to reach it.

    Attributes:
        queue: Upstash's protocol in front of a real Valkey.
        vectors: The stand-in for Qdrant.
        database_url: A database of the real PostgreSQL, not migrated yet.
    """

    queue: upstash_rest.RestServer
    vectors: qdrant_rest.QdrantServer
    database_url: str

    def environment(self, mode: str, **more: str) -> dict[str, str]:
        """Return the variables of one half."""
        return {
            "MODE": mode,
            "UPSTASH_REDIS_REST_URL": self.queue.url,
            "UPSTASH_REDIS_REST_TOKEN": upstash_rest.TOKEN,
            "QDRANT_URL": self.vectors.url,
            "QDRANT_API_KEY": qdrant_rest.API_KEY,
            "DATABASE_URL": self.database_url,
            **({"PHAROS_ADMIN_TOKEN": ADMIN_TOKEN} if mode == "CLOUD" else {}),
            **more,
        }


@asynccontextmanager
async def running_engines(name: str) -> AsyncIterator[Engines]:
    """Start all three, empty; `name` is that of the database.

    Other processes speak to those servers that live in this event loop: it must not be blocked.
    """
    database_url = await postgres.make_database(name)
    redis = Redis.from_url(valkey.valkey_url())
    await redis.flushall()
    await redis.aclose()
    async with upstash_rest.rest_server(valkey.valkey_url()) as queue, qdrant_rest.rest_server() as vectors:
        yield Engines(queue, vectors, database_url)
    await postgres.drop_database(name)
