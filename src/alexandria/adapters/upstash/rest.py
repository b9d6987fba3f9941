"""The way to a Redis of Upstash over HTTPS, with the client of the vendor.

That client waits for ever, repeats a request whose answer was lost (an INCR counts twice) and
raises whatever HTTP, JSON and base64 raise: so it is told not to repeat, gets a deadline here, and
every error is translated.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address
from types import TracebackType
from typing import TYPE_CHECKING, Self, cast
from urllib.parse import urlsplit

from alexandria.domain.late import LateModule
from alexandria.ports.script_store import (
    Reply,
    ScriptStore,
    ScriptStoreRefusedError,
    ScriptStoreUnavailableError,
)

if TYPE_CHECKING:
    import httpx
    from upstash_redis import errors
    from upstash_redis.asyncio import Redis
else:
    httpx, errors = LateModule("httpx"), LateModule("upstash_redis.errors")

# What the service says when it serves others first, or nobody until the month is over or room is made.
_LATER = ("limit exceeded", "connections exceeded", "quota exceeded", "busy ", "loading ", "oom ", "try again")
_MEASURE_AGAIN_S = 600.0
_ASLEEP_S = 5.0  # more than a clock is corrected by in ten minutes


@dataclass(frozen=True, slots=True)
class _Measured:
    """The server's time, and what the two clocks of this machine showed then."""

    server_us: int
    at_s: float
    wall_s: float

    def holds(self, now_s: float, wall_s: float) -> bool:
        """Whether the time may be counted on from here: not for too long, and not through a machine's sleep."""
        passed_s = now_s - self.at_s
        return passed_s <= _MEASURE_AGAIN_S and abs(wall_s - self.wall_s - passed_s) <= _ASLEEP_S


class UpstashScriptStore(ScriptStore):
    """One HTTP client; each command is one request.

    Args:
        url: The REST URL, https (loopback may go without).
        token: The REST token.
        timeout_s: For each request as a whole.
        monotonic: Seconds that only grow, between two measurements of the server's time.
        wall: Seconds of this machine's clock, right or not: where it went another way than `monotonic`, the
            machine slept, during which the latter may stand still.

    Raises:
        ValueError: `url` would send the token in the clear.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        timeout_s: float = 10.0,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        if not _is_private(url):
            raise ValueError("the REST URL of Upstash must begin with https://: the token would travel in the clear")
        self._url, self._token = url.rstrip("/"), token
        self._timeout_s = timeout_s
        self._monotonic = monotonic
        self._wall = wall
        self._measured: _Measured | None = None

    @cached_property
    def _client(self) -> Redis:
        from upstash_redis.asyncio import Redis  # noqa: PLC0415  # with the first command

        return Redis(self._url, self._token, rest_retries=0, allow_telemetry=False)

    async def command(self, *words: str | int) -> Reply:
        """See the port."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return cast(Reply, await self._client.execute(list(words)))
        except TimeoutError as error:
            raise ScriptStoreUnavailableError(f"Upstash did not answer within {self._timeout_s:g} s") from error
        except errors.UpstashError as error:
            if any(words in str(error).lower() for words in _LATER):
                raise ScriptStoreUnavailableError(f"Upstash cannot serve now: {error}") from error
            raise ScriptStoreRefusedError(f"Upstash refused a command: {error}") from error
        except httpx.HTTPError as error:
            raise ScriptStoreUnavailableError(f"Upstash cannot be reached: {error!r:.200}") from error
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            # A gateway answered in place of Upstash: HTML, or JSON of another shape, which the client takes as it is.
            raise ScriptStoreUnavailableError(f"what answers is not Upstash: {error!r:.200}") from error

    async def now_us(self) -> int | None:
        """See the port: Upstash asks for scripts without a clock, so its TIME is measured every ten minutes.

        And after the machine slept: a lid that was closed for a night would put every lease a night back.
        """
        measured, now_s, wall_s = self._measured, self._monotonic(), self._wall()
        if measured is not None and measured.holds(now_s, wall_s):
            return measured.server_us + round((now_s - measured.at_s) * 1e6)
        reply = await self.command("TIME")
        try:
            seconds, micros = cast(tuple[int, int], reply)
            server_us = int(seconds) * 1_000_000 + int(micros)
        except (TypeError, ValueError) as error:
            raise ScriptStoreUnavailableError(f"Upstash's TIME answered with {reply!r:.50}") from error
        # The answer is as old as half the way, which is far below what a lease is judged by.
        self._measured = _Measured(server_us, self._monotonic(), self._wall())
        return server_us

    async def close(self) -> None:
        """Close every connection."""
        if "_client" in vars(self):  # else none was opened
            await self._client.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _is_private(url: str) -> bool:
    """Whether nobody on the way can read along: https, or this machine itself."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        return True
    try:
        return parts.hostname == "localhost" or ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False
