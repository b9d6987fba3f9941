"""What the test servers have in common: connections of this machine that are served until they break."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class LoopbackServer(ABC):
    """Serves connections; each is a task, so that hanging ones can be ended, too."""

    def __init__(self) -> None:
        self._connections: set[asyncio.Task[None]] = set()

    @abstractmethod
    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it breaks."""
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self.converse(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone: that ends a connection
        except asyncio.CancelledError:
            pass  # `stop` ended it; asyncio would write the trace of a handler that ends as cancelled
        finally:
            self._connections.discard(task)
            writer.close()

    async def stop(self) -> None:
        """End every connection, hanging ones included."""
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)


@asynccontextmanager
async def listening(server: LoopbackServer) -> AsyncIterator[int]:
    """Serve on a free port of this machine, in this event loop; give the port."""
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, limit=2**20)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        await server.stop()
        await listener.wait_closed()


def send_http(writer: asyncio.StreamWriter, status: int, kind: str, body: bytes, headers: str = "") -> bool:
    """Write an answer; return that the connection lives on."""
    head = f"HTTP/1.1 {status} Answer\r\nContent-Type: {kind}\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    return True
