"""A way to the server over TCP that can be slow, and can break at a chosen moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from support.postgres import postgres_server

Cut = Callable[[bytes], bool]


def never(_: bytes) -> bool:
    """Let everything through."""
    return False


@dataclass
class Proxy:
    """Hands on what the client sends and what the server answers.

    Attributes:
        cut: Asked about every message of the client; True breaks this connection.
        after: The message is handed on first, and its answer kept back: the server has done it.
        delay_s: How long the first answer on each connection is kept back.
        port: Where it listens on the loopback.
        connections: How many were made.
        answered_bytes: What the server has sent.
    """

    cut: Cut = never
    after: bool = False
    delay_s: float = 0.0
    port: int = 0
    connections: int = 0
    answered_bytes: int = 0
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def dsn(self, database: str) -> str:
        """Return the address of a database by this way."""
        return postgres_server().dsn(database, host=f"127.0.0.1:{self.port}")

    async def connected(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            server, to_server = await asyncio.open_unix_connection(postgres_server().directory / ".s.PGSQL.5432")
        except OSError:
            to_client.close()
            return
        self._open |= {to_client, to_server}
        answering = asyncio.create_task(self._answer(server, to_client))
        with suppress(OSError):
            while message := await client.read(2**16):
                if self.cut(message):
                    if self.after:
                        answering.cancel()
                        await asyncio.wait([answering])
                        to_server.write(message)
                        await server.read(2**16)
                    break
                to_server.write(message)
                await to_server.drain()
        answering.cancel()
        for writer in (to_client, to_server):
            writer.transport.abort()

    async def _answer(self, server: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        first = True
        with suppress(OSError):
            while message := await server.read(2**16):
                self.answered_bytes += len(message)
                if first:
                    await asyncio.sleep(self.delay_s)
                    first = False
                to_client.write(message)
                await to_client.drain()
        to_client.close()

    async def close(self) -> None:
        """Break what is open."""
        for writer in self._open:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def proxy(cut: Cut = never, *, after: bool = False, delay_s: float = 0.0) -> AsyncIterator[Proxy]:
    """Open a way to the server of this run."""
    made = Proxy(cut, after, delay_s)
    server = await asyncio.start_server(made.connected, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await made.close()
        await server.wait_closed()
