"""A server that speaks Upstash's REST protocol in front of a real Redis, and fails when it is told to.

`POST /` with a JSON array, `/pipeline` and `/multi-exec` with an array of them; `Authorization:
Bearer`, `Upstash-Encoding: base64`; answers are `{"result": …}` or `{"error": …}`.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum, auto
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from support.loopback import LoopbackServer, listening, send_http

TOKEN = "a-token"


class Fault(Enum):
    """What happens to one request."""

    DROP_BEFORE = auto()  # the connection breaks before the command ran
    DROP_AFTER = auto()  # the command ran, its answer is lost
    BAD_GATEWAY = auto()  # HTML with status 502, the command did not run
    QUOTA = auto()  # the month's requests are used up
    OTHER_JSON = auto()  # a gateway answers with JSON of its own
    BAD_BASE64 = auto()  # a proxy answers with a body of its own
    HANG = auto()  # the command ran, no answer ever comes


_QUOTA = b'{"error": "ERR max requests limit exceeded. Limit: 500000, Usage: 500000."}'
_INSTEAD: dict[Fault | None, tuple[int, str, bytes]] = {
    Fault.BAD_GATEWAY: (502, "text/html", b"<html>502 Bad Gateway</html>"),
    Fault.QUOTA: (400, "application/json", _QUOTA),
    Fault.OTHER_JSON: (200, "application/json", b'["maintenance"]'),
    Fault.BAD_BASE64: (200, "application/json", b'{"result": "%%%"}'),
}


class RestServer(LoopbackServer):
    """The server; `faults` are taken by the requests to come, one each, None for a good answer.

    `requests` are the latest bodies that it was sent.
    """

    def __init__(self, redis: Redis) -> None:
        super().__init__()
        self.faults: deque[Fault | None] = deque()
        self.requests: list[list[Any]] = []
        self.url = ""
        self._redis = redis

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await self._answer(reader, writer):
            await writer.drain()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; return whether the connection lives on."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        path = head[0].split(" ")[1]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        if headers.get("authorization") != f"Bearer {TOKEN}":
            return self._send(writer, 401, {"error": "Unauthorized"})
        self.requests.append(body)
        del self.requests[:-1000]  # the latest: tests of memory run tens of thousands
        fault = self.faults.popleft() if self.faults else None
        if fault is Fault.DROP_BEFORE:
            return False
        if fault in _INSTEAD:
            return send_http(writer, *_INSTEAD[fault])
        answer = await self._run_all(path, body, headers.get("upstash-encoding") == "base64")
        if fault is Fault.HANG:
            await asyncio.Event().wait()
        if fault is Fault.DROP_AFTER:
            return False
        return self._send(writer, 400 if "error" in answer else 200, answer)

    async def _run_all(self, path: str, body: list[Any], encoded: bool) -> Any:
        if path in {"/pipeline", "/multi-exec"}:
            return await self._run_several(body, path == "/multi-exec", encoded)
        return await self._run(body, encoded)

    async def _run(self, words: list[Any], encoded: bool) -> dict[str, Any]:
        try:
            return {"result": _as_json(await self._redis.execute_command(*words), encoded)}  # type: ignore[no-untyped-call]
        except ResponseError as error:
            return {"error": f"ERR {error}"}

    async def _run_several(self, commands: list[list[Any]], atomic: bool, encoded: bool) -> Any:
        if not atomic:
            return [await self._run(words, encoded) for words in commands]
        async with self._redis.pipeline(transaction=True) as pipeline:
            for words in commands:
                pipeline.execute_command(*words)
            try:
                return [{"result": _as_json(result, encoded)} for result in await pipeline.execute()]
            except ResponseError as error:
                return {"error": f"EXECABORT {error}"}

    def _send(self, writer: asyncio.StreamWriter, status: int, answer: Any) -> bool:
        return send_http(writer, status, "application/json", json.dumps(answer).encode())


def _as_json(reply: Any, encoded: bool) -> Any:
    if isinstance(reply, list):
        return [_as_json(one, encoded) for one in reply]
    if isinstance(reply, bytes):
        # Simple strings such as OK are never encoded.
        return base64.b64encode(reply).decode() if encoded and reply != b"OK" else reply.decode()
    return reply


@asynccontextmanager
async def rest_server(redis_url: str) -> AsyncIterator[RestServer]:
    """Serve the Redis at `redis_url` on a free port of this machine."""
    redis = Redis.from_url(redis_url, protocol=2)
    redis.response_callbacks.clear()
    server = RestServer(redis)
    try:
        async with listening(server) as port:
            server.url = f"http://127.0.0.1:{port}"
            yield server
    finally:
        await redis.aclose()
