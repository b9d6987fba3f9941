"""A proxy in front of a real Redis that fails when it is told to."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum, auto
from urllib.parse import urlsplit

from support.loopback import LoopbackServer, listening


class Fault(Enum):
    """What happens to one command."""

    DROP_BEFORE = auto()  # the connection breaks before the command ran
    DROP_AFTER = auto()  # the command ran, its answer is lost
    HANG = auto()  # the command ran, no answer ever comes
    TRICKLE = auto()  # the command ran, its answer comes a byte now and then and never ends
    HTML = auto()  # a web server answers in its place, the command did not run
    LOADING = auto()  # the server has only just started, the command did not run


_INSTEAD = {
    Fault.HTML: b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
    Fault.LOADING: b"-LOADING Redis is loading the dataset in memory\r\n",
}


class RedisProxy(LoopbackServer):
    """The proxy; `faults` are taken by the commands to come, one each, None for a good answer.

    `commands` are the names of those that it was sent, without what a client says of itself.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self.faults: deque[Fault | None] = deque()
        self.commands: list[str] = []
        self.url = ""
        self._target = urlsplit(url)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(self._target.hostname, self._target.port)
        try:
            while await self._pass_on(reader, writer, server_reader, server_writer):
                pass
        finally:
            server_writer.close()

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        server_reader: asyncio.StreamReader,
        server_writer: asyncio.StreamWriter,
    ) -> bool:
        """Pass on one command; return whether the connection lives on."""
        name, command = await _command(reader)
        fault = None
        if name != "CLIENT":
            self.commands.append(name)
            fault = self.faults.popleft() if self.faults else None
        if fault is Fault.DROP_BEFORE:
            return False
        if fault in _INSTEAD:
            writer.write(_INSTEAD[fault])
            return True
        server_writer.write(command)
        answer = await _answer(server_reader)
        if fault is Fault.DROP_AFTER:
            return False
        if fault is Fault.HANG:
            await asyncio.Event().wait()
        if fault is Fault.TRICKLE:
            writer.write(b"$1000000\r\n")
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.01)  # the pace of the fault itself; nothing is waited for
        writer.write(answer)
        return True


async def _command(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    head = await reader.readuntil(b"\r\n")
    whole, words = head, []
    for _ in range(int(head[1:])):
        size = await reader.readuntil(b"\r\n")
        word = await reader.readexactly(int(size[1:]) + 2)
        whole += size + word
        words.append(word[:-2])
    return words[0].decode().upper(), whole


async def _answer(reader: asyncio.StreamReader) -> bytes:
    line = await reader.readuntil(b"\r\n")
    count = int(line[1:]) if line[:1] in b"$*" else 0
    if line[:1] == b"$" and count >= 0:
        return line + await reader.readexactly(count + 2)
    if line[:1] == b"*":
        for _ in range(count):
            line += await _answer(reader)
    return line


@asynccontextmanager
async def redis_proxy(url: str) -> AsyncIterator[RedisProxy]:
    """Stand in front of the Redis at `url`, on a free port of this machine."""
    proxy = RedisProxy(url)
    async with listening(proxy) as port:
        proxy.url = f"redis://127.0.0.1:{port}"
        yield proxy
