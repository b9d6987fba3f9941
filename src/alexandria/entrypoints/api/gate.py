"""What every request passes first and every answer last: limits, identity, headers, log and metrics."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Callable, Collection
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, clear_contextvars

from alexandria.entrypoints.api.addresses import RateLimiter, TrustedProxies
from alexandria.entrypoints.api.metrics import Metrics
from alexandria.entrypoints.api.problems import ProblemError, internal_error, problem_response

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 16_384
MAX_PATH_BYTES = 4_096
MAX_QUERY_BYTES = 8_192
MAX_HEADERS = 100
MAX_HEADER_BYTES = 16_384
BODY_TIMEOUT_S = 10.0

LIVE = "/health/live"
_OPEN = frozenset({LIVE})
"""Not counted against the limit of an address: platforms ask it every few seconds."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REQUEST_ID_FORM = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_NO_STORE = (b"cache-control", b"no-store")
_CLOSE = (b"connection", b"close")
_CORS_METHODS = b"GET, POST, DELETE"
_CORS_HEADERS = b"Authorization, Content-Type, If-None-Match, X-Request-ID"
_CORS_EXPOSED = b"ETag, Location, Retry-After, X-Request-ID"


class Gate:
    """ASGI middleware, the outermost.

    Args:
        app: What answers.
        metrics: Where requests are counted.
        limiter: Of requests an address.
        proxies: Whose `X-Forwarded-For` is believed.
        hosts: Names in lower case that `Host` may have; empty for any. On loopback this keeps out
            pages that point a DNS name of theirs at this machine.
        cors_origins: Origins whose pages may call; `*` for any.
        is_stopping: Whether an answer is the last one of its connection.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: Metrics,
        limiter: RateLimiter,
        proxies: TrustedProxies,
        hosts: Collection[str] = (),
        cors_origins: Collection[str] = (),
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._limiter = limiter
        self._proxies = proxies
        self._hosts = frozenset(hosts)
        self._cors_origins = frozenset(origin.encode() for origin in cors_origins)
        self._is_stopping = is_stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        began = time.perf_counter()
        headers = dict(scope["headers"])  # of a header that comes twice the last one; enough for those looked at here
        request_id = _request_id(headers.get(b"x-request-id", b""))
        peer = self._proxies.client_of(scope)
        scope["state"] = {"request_id": request_id, "peer": peer, "is_head": scope["method"] == "HEAD"}
        clear_contextvars()
        bind_contextvars(request_id=request_id)  # in every line that is logged from here on; each request is a task
        answer = _Answer(
            send,
            [(b"x-request-id", request_id.encode()), *self._cors(headers.get(b"origin", b""))],
            self._is_stopping,
        )
        method = scope["method"]
        if method == "HEAD":
            # Answered as a GET; the server, which has the scope that it made, leaves the body out.
            scope = {**scope, "method": "GET"}
        try:
            await self._answer(scope, headers, receive, answer, peer)
        except Exception:
            logger.exception("a request failed")
            if answer.status and not answer.complete:
                raise  # half an answer is out: only an end without its last piece tells the client
            if not answer.status:
                await problem_response(internal_error(), request_id)(scope, receive, answer)
        finally:
            seconds = time.perf_counter() - began
            self._metrics.observe(method, _route(scope), answer.status, seconds)
            _log(scope, method, answer.status, seconds)

    async def _answer(
        self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, answer: _Answer, peer: str
    ) -> None:
        refusal = self._refusal(scope, headers, peer)
        if refusal is not None:
            await problem_response(refusal, scope["state"]["request_id"])(scope, receive, answer)
        elif scope["method"] == "OPTIONS" and answer.is_cross_origin and b"access-control-request-method" in headers:
            await _answer_preflight(answer)
        else:
            await self._app(scope, _limited(receive), answer)

    def _refusal(self, scope: Scope, headers: dict[bytes, bytes], peer: str) -> ProblemError | None:
        """Return why the request is not even looked at, or None."""
        if scope["path"] not in _OPEN and (wait_s := self._limiter.take(peer)):
            return ProblemError(
                429,
                "too many requests from this address: slow down",
                kind="too-many-requests",
                headers={"Retry-After": str(int(wait_s) + 1)},
            )
        if self._hosts and _host_name(headers.get(b"host", b"")) not in self._hosts:
            return ProblemError(421, "this server does not answer under the name in `Host`", kind="wrong-host")
        return _fault_of_form(scope, headers)

    def _cors(self, origin: bytes) -> list[tuple[bytes, bytes]]:
        if not self._cors_origins:
            return []
        if origin and (b"*" in self._cors_origins or origin.lower() in self._cors_origins):
            return [
                (b"access-control-allow-origin", origin),
                (b"access-control-expose-headers", _CORS_EXPOSED),
                (b"vary", b"Origin"),
            ]
        return [(b"vary", b"Origin")]


def _fault_of_form(scope: Scope, headers: dict[bytes, bytes]) -> ProblemError | None:
    if len(scope["raw_path"]) > MAX_PATH_BYTES or len(scope["query_string"]) > MAX_QUERY_BYTES:
        return ProblemError(
            414, f"a path may have {MAX_PATH_BYTES} bytes and a query {MAX_QUERY_BYTES}", kind="uri-too-long"
        )
    # The server's own limit is on a head that arrives in pieces.
    if len(scope["headers"]) > MAX_HEADERS or sum(len(n) + len(v) for n, v in scope["headers"]) > MAX_HEADER_BYTES:
        detail = f"a request may have {MAX_HEADERS} headers of {MAX_HEADER_BYTES} bytes together"
        return ProblemError(431, detail, kind="headers-too-large")
    if _CONTROL.search(scope["path"]) or b"%00" in scope["query_string"]:
        return ProblemError(400, "the address holds a control character", kind="invalid-request")
    announced = headers.get(b"content-length", b"0")
    return _too_large() if int(announced) > MAX_BODY_BYTES else None  # the server has seen that it is a number


class _Answer:
    """Sends an answer on, with the headers that each has, and remembers its status."""

    def __init__(self, send: Send, headers: list[tuple[bytes, bytes]], is_stopping: Callable[[], bool]) -> None:
        self._send = send
        self._headers = headers
        self._is_stopping = is_stopping
        self.is_cross_origin = any(name == b"access-control-allow-origin" for name, _ in headers)
        self.status = 0
        self.complete = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = message.get("headers", [])
            names = {name for name, _ in given}
            more = [header for header in (_POLICY, _NO_STORE) if header[0] not in names]
            if self._is_stopping():
                more.append(_CLOSE)  # or the client sends its next request on a connection that is about to end
            message = {**message, "headers": [*given, *self._headers, *_SECURITY_HEADERS, *more]}
        elif message["type"] == "http.response.body":
            self.complete = not message.get("more_body", False)
        await self._send(message)


async def _answer_preflight(answer: _Answer) -> None:
    allowed = [
        (b"access-control-allow-methods", _CORS_METHODS),
        (b"access-control-allow-headers", _CORS_HEADERS),
        (b"access-control-max-age", b"600"),
    ]
    await answer({"type": "http.response.start", "status": 204, "headers": allowed})
    await answer({"type": "http.response.body", "body": b""})


def _limited(receive: Receive) -> Receive:
    """Stop a body that is longer than it may be, or takes too long as a whole."""
    received, complete, deadline = 0, False, 0.0

    async def limited() -> Message:
        nonlocal received, complete, deadline
        if complete:
            return await receive()
        deadline = deadline or asyncio.get_running_loop().time() + BODY_TIMEOUT_S
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError:
            raise ProblemError(408, f"the body did not arrive within {BODY_TIMEOUT_S:g} s") from None
        received += len(message.get("body", b""))
        complete = not message.get("more_body", False)
        if received > MAX_BODY_BYTES:
            raise _too_large()
        return message

    return limited


def _too_large() -> ProblemError:
    return ProblemError(413, f"a body may have {MAX_BODY_BYTES} bytes", kind="body-too-large")


def _request_id(sent: bytes) -> str:
    text = sent.decode("latin-1")
    return text if _REQUEST_ID_FORM.fullmatch(text) else secrets.token_hex(16)


def _host_name(header: bytes) -> str:
    """Return the name in a `Host` header without its port, in lower case."""
    text = header.decode("latin-1").lower()
    return text.partition("]")[0] + "]" if text.startswith("[") else text.partition(":")[0]


def _log(scope: Scope, method: str, status: int, seconds: float) -> None:
    # The template of the route and never the address itself: what a client puts there may be a secret.
    fields: dict[str, Any] = {
        "method": method if method in _METHODS else "other",
        "route": _route(scope),
        "status": status,
        "duration_ms": round(seconds * 1000, 1),
        "peer": scope["state"]["peer"],
    }
    logger.info("%(method)s %(route)s %(status)d in %(duration_ms).1f ms", fields, extra=fields)


def _route(scope: Scope) -> str:
    return getattr(scope.get("route"), "path", "unmatched")
