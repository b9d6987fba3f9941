"""How the vendor's client, which speaks through httpx, gets its requests to the server: HTTP/1.1, lines that are kept.

In place of httpx's own transport, which spends 2 ms of processor on a request (a search took 7 ms in all): it asks all
its connections whether they are well, before and after each request, through three layers. This one does not watch
the clock: a deadline for the request as a whole is its caller's.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import h11
import httpx

_READ_BYTES = 65_536

Origin = tuple[str, str, int]


class _Line:
    """One connection, for one request at a time; after any error it is of no more use."""

    def __init__(self, origin: Origin, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.origin = origin
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.CLIENT)
        self._unused_since_s = time.monotonic()

    async def ask(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return the whole answer."""
        # In one piece: a head and a body apart are two ways through the kernel, and often two packets.
        self._writer.write(_written(self._http, request, await request.aread()))
        # Who is sent more than he takes may answer so and close: the answer is there to be read.
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()
        head, body = None, bytearray()
        while not isinstance(event := await self._next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
        if head is None:
            raise AssertionError("h11 ends no message that has not begun")
        self._unused_since_s = time.monotonic()
        # As a stream, which is decoded when it is read, if it is compressed.
        return httpx.Response(head.status_code, headers=head.headers.raw_items(), stream=httpx.ByteStream(bytes(body)))

    async def _next_event(self) -> h11.Event:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._reader.read(_READ_BYTES))
        if isinstance(event, h11.ConnectionClosed) or not isinstance(event, h11.Event):
            raise h11.RemoteProtocolError("the server closed the connection without an answer")
        return event

    def is_ready_again(self) -> bool:
        """Whether both sides are done with the request and keep the connection."""
        try:
            self._http.start_next_cycle()
        except h11.LocalProtocolError:
            return False
        return True

    def is_alive(self, kept_s: float) -> bool:
        """Whether it may be used once more: not closed by the server, nor unused for longer than `kept_s`."""
        left = self._reader.at_eof() or self._reader.exception() is not None or self._writer.is_closing()
        return not left and time.monotonic() - self._unused_since_s <= kept_s

    def close(self) -> None:
        """Close it, without a farewell, for which a server that does not answer would be waited for."""
        self._writer.transport.abort()


class LineTransport(httpx.AsyncBaseTransport):
    """Keeps as many connections as were in use at once, for `kept_s` each.

    Args:
        kept_s: Seconds after which an unused connection is not used again.
    """

    def __init__(self, kept_s: float) -> None:
        self._kept_s = kept_s
        self._unused: list[_Line] = []
        self._is_closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request.

        Raises:
            httpx.TransportError: The leaf says why there is no answer.
        """
        line = await self._line(_origin(request.url))
        try:
            response = await line.ask(request)
        except h11.RemoteProtocolError as error:
            line.close()
            raise httpx.RemoteProtocolError(str(error), request=request) from error
        except h11.LocalProtocolError as error:
            line.close()
            raise httpx.LocalProtocolError(str(error), request=request) from error
        except OSError as error:
            line.close()
            raise httpx.ReadError(str(error), request=request) from error
        except BaseException:  # cancelled: its answer may come yet, and must not be taken for that of the next request
            line.close()
            raise
        if line.is_ready_again() and not self._is_closed:
            self._unused.append(line)
        else:
            line.close()
        return response

    async def _line(self, origin: Origin) -> _Line:
        while self._unused:
            line = self._unused.pop()  # the last one used: the others grow old, and are closed here one day
            if line.origin == origin and line.is_alive(self._kept_s):
                return line
            line.close()
        scheme, host, port = origin
        try:
            if scheme == "https":
                # A thread reads the certificates, as that takes 20 ms; once a connection, which lasts for thousands.
                tls = await asyncio.to_thread(httpx.create_ssl_context)
                tls.set_alpn_protocols(["http/1.1"])
                streams = await asyncio.open_connection(host, port, ssl=tls, happy_eyeballs_delay=0.25)
            else:
                streams = await asyncio.open_connection(host, port, happy_eyeballs_delay=0.25)
        except OSError as error:
            raise httpx.ConnectError(str(error)) from error
        return _Line(origin, *streams)

    async def aclose(self) -> None:
        """Close every connection, those in use when their answer has come."""
        self._is_closed = True
        while self._unused:
            self._unused.pop().close()
        await asyncio.sleep(0)  # in which the loop closes them


def is_proxied(url: str, *, proxies: Callable[[], dict[str, str]] = getproxies) -> bool:
    """Whether the environment names a proxy for `url`, which httpx's own transport goes through."""
    parts = urlsplit(url)
    return not {parts.scheme, "all"}.isdisjoint(proxies()) and not proxy_bypass(parts.hostname or "")


def _origin(url: httpx.URL) -> Origin:
    return url.scheme, url.raw_host.decode("ascii"), url.port or (443 if url.scheme == "https" else 80)


def _written(http: h11.Connection, request: httpx.Request, body: bytes) -> bytes:
    events: list[h11.Event] = [
        h11.Request(method=request.method, target=request.url.raw_path, headers=request.headers.raw),
        *([h11.Data(data=body)] if body else []),
        h11.EndOfMessage(),
    ]
    return b"".join(http.send(event) or b"" for event in events)
