"""The process: sockets, signals, a start that fails fast, and an end that drops nothing."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import socket
import struct
import sys
import threading
from array import array
from collections.abc import Iterator
from http import HTTPStatus

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from alexandria.domain.errors import AlexandriaError
from alexandria.entrypoints.api.access import Gatekeeper
from alexandria.entrypoints.api.app import create_app, gated
from alexandria.entrypoints.api.health import refusals
from alexandria.entrypoints.api.problems import MEDIA_TYPE, ProblemError, problem_document
from alexandria.entrypoints.api.state import ApiState
from alexandria.entrypoints.control_plane import ControlPlane

logger = logging.getLogger(__name__)

MAX_HEAD_BYTES = 32_768
OWED_TIMEOUT_S = 10.0
MAX_CONNECTIONS = 1_000
KEEP_ALIVE_S = 75
"""Seconds that a connection may be idle. Longer than clients and proxies keep theirs: who closes first must not be us,
or a request that is on its way meets a closed connection (of 48,000 under load, 15 did with uvicorn's 5 s)."""

GRACE_S = 25
"""Seconds that requests under way have when the process is told to stop; with the rest it is below 30."""

LINGER_S = 1.0
"""Seconds for which idle connections are kept when the process is told to stop: what a client has sent by then is
answered too, and the answer tells it that there will be no further one on this connection."""

_BPF_RETURN, _SO_ATTACH_FILTER = 0x06, 26  # linux/filter.h, asm-generic/socket.h

FIRST_S = 0.1
"""Seconds for the requests that waited for the start, before the stores are asked whether they let us in: that loads
their clients, which takes as long as a fifth of the start."""


class PortTakenError(AlexandriaError):
    """The address cannot be listened at."""


class _Protocol(H11Protocol):
    """HTTP/1.1 that answers what is no HTTP with a problem document too, and does not wait for ever for what is owed.

    What a client owes: the first head, the rest of a head that it has begun, and the rest of a body that was
    answered before it was there (a refusal), which is read and dropped so that the client sees the answer.
    """

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
            return
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_owed_more():
            self._watch()
        else:
            self._stop_watching()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._is_owed_more():
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_watching()

    def _is_owed_more(self) -> bool:
        if self.transport.is_closing():
            return False
        if self.conn.their_state is h11.IDLE:
            return bool(self.conn.trailing_data[0])
        return self.conn.their_state is h11.SEND_BODY and self.conn.our_state is h11.DONE

    def _watch(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(OWED_TIMEOUT_S, self.transport.close)

    def _stop_watching(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def send_400_response(self, msg: str) -> None:
        if self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            self.transport.close()
            return
        error = sys.exc_info()[1]  # we are called while it is handled; it knows whether the head was too long
        too_long = isinstance(error, h11.RemoteProtocolError) and error.error_status_hint == 431
        detail = f"request line and headers may have {MAX_HEAD_BYTES} bytes" if too_long else "this is not HTTP/1.1"
        problem = ProblemError(431 if too_long else 400, detail)
        body = json.dumps(problem_document(problem, os.urandom(16).hex())).encode()
        headers = [
            ("content-type", MEDIA_TYPE),
            ("content-length", str(len(body))),
            ("x-content-type-options", "nosniff"),
            ("connection", "close"),
        ]
        reason = HTTPStatus(problem.status_code).phrase.encode()
        for event in (
            h11.Response(status_code=problem.status_code, headers=headers, reason=reason),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


class _Server(uvicorn.Server):
    """Ends event streams before it waits for requests, and leaves the exit code to us."""

    def __init__(self, config: uvicorn.Config, state: ApiState) -> None:
        super().__init__(config)
        self._state = state
        self.exit_code = 0

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGINT and SIGTERM; the second one stops without waiting."""
        if threading.current_thread() is not threading.main_thread() or sys.platform == "win32":
            with super().capture_signals():
                yield
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._told_to_stop)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    def _told_to_stop(self) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True

    def give_up(self) -> None:
        """Stop, with an exit code that says so."""
        self.exit_code = 1
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, end the streams, and let every other request finish."""
        self._state.stopping = True
        await self._stop_listening(sockets or [])
        await self._state.events.close()
        await self._linger()
        await super().shutdown(sockets)

    async def _stop_listening(self, sockets: list[socket.socket]) -> None:
        """Close the sockets; whoever has connected by then is taken, where `close` alone would break the connection."""
        waiting: list[socket.socket] = []
        for listening in sockets:
            _let_nobody_connect(listening)
            with contextlib.suppress(BlockingIOError):
                while True:
                    waiting.append(listening.accept()[0])
        for server in self.servers:
            server.close()
        for accepted in waiting:
            accepted.setblocking(False)
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, accepted)

    def _protocol(self) -> _Protocol:
        return _Protocol(self.config, self.server_state, self.lifespan.state)

    async def _linger(self) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + LINGER_S
        while self.server_state.connections and not self.force_exit and loop.time() < until:  # noqa: ASYNC110  # no event
            await asyncio.sleep(0.02)


def _let_nobody_connect(listening: socket.socket) -> None:
    """Have the system ignore who wants to connect, until the socket is closed and refuses them.

    Else one who connects between the last `accept` and `close` is broken off. It is a filter (socket(7),
    SO_ATTACH_FILTER) of one instruction that drops every packet; connections that were made before have none.
    """
    if sys.platform != "linux":
        return
    drop_all = array("B", struct.pack("HBBI", _BPF_RETURN, 0, 0, 0))
    with contextlib.suppress(OSError):  # some sandboxes have no filters: the moment between the two stays
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", 1, drop_all.buffer_info()[0]))


async def serve(plane: ControlPlane, listening: socket.socket, *, loopback: bool) -> int:
    """Answer requests until a signal comes; return the exit code.

    Args:
        plane: The opened stores.
        listening: Where requests arrive.
        loopback: Whether only this machine reaches it: then `Host` must name this machine.

    Raises:
        SettingsError: A setting names what cannot be used.
    """
    settings = plane.settings
    gatekeeper = Gatekeeper(
        settings.pharos_admin_token.get_secret_value(), settings.alexandria_read_token.get_secret_value()
    )
    state = ApiState(plane, gatekeeper)
    app = gated(create_app(state), state, _own_names(listening) if loopback else ())
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=KEEP_ALIVE_S,
    )
    server = _Server(config, state)
    checking = asyncio.create_task(_check_access(plane, server))
    gc.freeze()  # what is loaded by now stays
    gc.enable()
    try:
        await server.serve(sockets=[listening])
    finally:
        checking.cancel()
        await asyncio.wait([checking])
        await state.close()
    return server.exit_code


async def _check_access(plane: ControlPlane, server: _Server) -> None:
    """Stop the server if a store refuses our credentials: no request would go better."""
    await asyncio.sleep(FIRST_S)
    for sentence in await refusals(plane):
        logger.error("a store does not let us in: %s", sentence)
        server.give_up()


def _own_names(listening: socket.socket) -> set[str]:
    address = str(listening.getsockname()[0])
    return {"localhost", "127.0.0.1", "[::1]", f"[{address}]" if ":" in address else address}


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens at `host`, where requests wait from now on.

    Raises:
        PortTakenError: It cannot.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        try:
            if os.name == "posix":
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(2048)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        raise PortTakenError(f"cannot listen at {host} port {port}: {error.strerror or error}") from error
    return listening
