"""The way to a Redis or Valkey server over TCP, with the client of the vendor."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self, cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, ReadOnlyError, RedisError, ResponseError, TryAgainError
from redis.exceptions import TimeoutError as RedisTimeoutError

from alexandria.ports.script_store import (
    Reply,
    ScriptStore,
    ScriptStoreRefusedError,
    ScriptStoreUnavailableError,
)

# Answers that say "not now": the script or the command did not run.
_LATER = ("BUSY ", "OOM ", "MISCONF ", "NOREPLICAS ", "CLUSTERDOWN ", "MASTERDOWN ", "max number of clients")


class TcpScriptStore(ScriptStore):
    """A pool of connections to one server.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with credentials.
        timeout_s: For each command as a whole, the making of a connection included.
    """

    def __init__(self, url: str, *, timeout_s: float = 10.0) -> None:
        # The client would repeat by itself what it may not: an INCR whose answer was lost.
        self._client = Redis.from_url(
            url,
            socket_timeout=None,  # one deadline for all that a command takes, below
            socket_connect_timeout=None,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
            encoding_errors="replace",
            protocol=2,
        )
        self._timeout_s = timeout_s
        self._client.response_callbacks.clear()  # they make dates and dicts of some answers; the port wants them plain

    async def command(self, *words: str | int) -> Reply:
        """See the port."""
        try:
            async with asyncio.timeout(self._timeout_s):
                # The client has no types for this method.
                return cast(Reply, await self._client.execute_command(*words))  # type: ignore[no-untyped-call]
        except TimeoutError as error:
            raise ScriptStoreUnavailableError(
                f"no answer from the Redis server within {self._timeout_s:g} s"
            ) from error
        except (InvalidResponse, UnicodeDecodeError) as error:
            raise ScriptStoreUnavailableError(f"what answers is not a Redis server: {error!r:.200}") from error
        except (RedisConnectionError, RedisTimeoutError, ReadOnlyError, TryAgainError) as error:
            raise ScriptStoreUnavailableError(f"the Redis server does not answer: {error}") from error
        except ResponseError as error:
            if str(error).startswith(_LATER):
                raise ScriptStoreUnavailableError(f"the Redis server cannot serve now: {error}") from error
            raise ScriptStoreRefusedError(f"the Redis server refused a command: {error}") from error
        except RedisError as error:
            raise ScriptStoreRefusedError(f"the Redis server refused a command: {error}") from error

    async def now_us(self) -> int | None:
        """See the port: scripts read the time themselves."""
        return None

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
