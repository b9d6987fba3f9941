"""The ways to a Qdrant: its REST interface, or the local mode of its client; every error is translated here.

The vendor's client waits five seconds a phase and never tries again, and raises whatever HTTP, JSON and
its own assertions raise: deadline, repetition and errors are ours.
"""

from __future__ import annotations

import asyncio
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import httpx
import stamina
from qdrant_client import AsyncQdrantClient
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from alexandria.adapters.qdrant.transport import LineTransport, is_proxied
from alexandria.ports.vector_store import (
    VectorStoreAccessError,
    VectorStoreError,
    VectorStoreFullError,
    VectorStoreMismatchError,
    VectorStoreUnavailableError,
)

T = TypeVar("T")
Call = Callable[[AsyncQdrantClient], Awaitable[T]]
"""One request. All that we make may be repeated: points have fixed ids, and what is removed stays removed."""

TRIES = 3
MAX_RETRY_AFTER_S = 30.0
"""A server that asks to be left alone for longer is not waited for."""

_CONNECTIONS = 10
_KEPT_S = 30.0
_LIMITS = httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS, keepalive_expiry=_KEPT_S)
"""Connections are kept: the client's own choice for a server on this machine is a new one for every request.
For half a minute, where httpx takes 5 s, as a new one over TLS is three ways there and back; one that the
server has closed meanwhile is noticed before it is used, and if it closes just then, the request is repeated.
Ten, as of the database, and no more requests at once: behind a proxy, where the transport is httpx's own, it looks at
each connection, and at each request that waits for one, before and after every request."""

_SAID_CHARACTERS = 300
_LATER = frozenset({httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_MANY_REQUESTS})
# What Qdrant says when the disk is full, and when a limit of strict mode is reached (its sources, version 1.19).
_NO_ROOM = ("no space left", "storage size limit of", "points count limit of", "disk is full")


class CollectionMissingError(Exception):
    """Nothing has been stored yet, or somebody removed the collection."""


class PointMissingError(Exception):
    """The point whose neighbours were asked for is not there."""


class CollectionExistsError(Exception):
    """Another process was faster, or the answer to our own first try was lost."""


class ForeignCollectionError(VectorStoreMismatchError):
    """The collection was made by another program: its vectors are not as ours."""


class MissingIndexError(VectorStoreMismatchError):
    """The collection lacks a payload index that a filter needs; the next upload makes it."""


class TooSlowError(VectorStoreUnavailableError):
    """No answer within the time that a try has."""


class RateLimitedError(VectorStoreUnavailableError):
    """The server answers that it is asked too often.

    Attributes:
        retry_after_s: When it wants to be asked again, if it has said so.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Connection(ABC):
    """How a request gets to a Qdrant and its answer back."""

    is_local: bool

    @abstractmethod
    async def run(self, call: Call[T]) -> T:
        """Make a request and return its answer.

        Raises:
            VectorStoreError: The leaf says what happened.
            CollectionMissingError: It was about a collection that is not there.
            PointMissingError: It was to search near a point that is not there.
            CollectionExistsError: It was to make a collection that is there.
        """
        ...

    @abstractmethod
    async def close(self) -> None:
        """End every connection."""
        ...


class RemoteConnection(Connection):
    """HTTP; what was not answered, or answered with "later", is tried three times.

    The waits between double, with jitter; a `Retry-After` of up to 30 s is obeyed instead.

    Args:
        url: Where the server listens; port 6333 if it names none, as everywhere with Qdrant.
        api_key: Empty for none.
        timeout_s: For each try as a whole.
    """

    is_local = False

    def __init__(self, url: str, api_key: str, timeout_s: float) -> None:
        self._api_key = api_key
        self._timeout_s = timeout_s
        self._free = asyncio.Semaphore(_CONNECTIONS)
        # The key goes in as a header: as `api_key` it is warned about on loopback, where it is safe.
        self._client = AsyncQdrantClient(
            url=url.rstrip("/"),
            headers={"api-key": api_key} if api_key else {},
            timeout=math.ceil(timeout_s),
            prefer_grpc=False,
            limits=_LIMITS,
            transport=None if is_proxied(url) else LineTransport(_KEPT_S),
            check_compatibility=False,  # it asks from a thread of its own, and answers with a warning
        )

    async def run(self, call: Call[T]) -> T:
        """See `Connection.run`."""
        async for attempt in stamina.retry_context(
            on=wait_before_next_try, attempts=TRIES, timeout=None, wait_initial=0.25, wait_max=4.0, wait_jitter=0.5
        ):
            with attempt:
                return await self._try(call)
        raise AssertionError("the last try returns or raises")

    async def _try(self, call: Call[T]) -> T:
        try:
            async with asyncio.timeout(self._timeout_s), self._free:
                return await call(self._client)
        except TimeoutError as error:
            raise TooSlowError(f"Qdrant did not answer within {self._timeout_s:g} s") from error
        except UnexpectedResponse as error:
            # Without its cause, which prints the answer as it came: a gateway may show the headers it got.
            raise self._answer(error) from None
        except ResponseHandlingException as error:
            raise _no_answer(error.source) from error
        except ResourceExhaustedResponse as error:
            wait_s = float(error.retry_after_s)
            raise RateLimitedError(
                f"Qdrant limits the rate: {self._said(str(error))}; ask in {wait_s:g} s", wait_s
            ) from error
        except (QdrantException, ApiException) as error:
            raise RateLimitedError(f"Qdrant limits the rate: {self._said(str(error))}") from error
        except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
            # A gateway answered in place of Qdrant, with JSON that the client takes as it is.
            raise VectorStoreUnavailableError(f"what answers is not Qdrant: {type(error).__name__}") from error

    def _answer(self, response: UnexpectedResponse) -> Exception:
        """Translate an answer that is no success."""
        status, words = response.status_code or 0, _status_error(response.content)
        said = self._said(words) or "no reason given"
        if status == httpx.codes.NOT_FOUND and words.startswith("Not found: Collection"):
            return CollectionMissingError(said)
        if status == httpx.codes.NOT_FOUND and words.startswith("Not found: No point with id"):
            return PointMissingError(said)
        if status == httpx.codes.CONFLICT:
            return CollectionExistsError(said)
        if status == httpx.codes.REQUEST_ENTITY_TOO_LARGE:
            return VectorStoreMismatchError(f"what stands before Qdrant takes no request of our size ({status})")
        if not words and status not in _LATER and status < httpx.codes.INTERNAL_SERVER_ERROR:
            return VectorStoreMismatchError(f"what answers at the address of Qdrant is not Qdrant ({status})")
        return _fault(status, said)

    def _said(self, words: str) -> str:
        """Shorten what a server said; it might echo a header."""
        return words.replace(self._api_key, "***")[:_SAID_CHARACTERS] if self._api_key else words[:_SAID_CHARACTERS]

    async def close(self) -> None:
        """See `Connection.close`."""
        await self._client.close()


class LocalConnection(Connection):
    """The engine that comes with the client: NumPy over lists, for one process and some ten thousand vectors.

    Its methods are coroutines that never wait, so they run in a thread of their own: heartbeats go on,
    and the file of each collection is used by the thread that opened it.
    """

    is_local = True

    def __init__(self, location: str) -> None:
        self._location = location
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="qdrant-local")
        self._runner: asyncio.Runner | None = None
        self._client: AsyncQdrantClient | None = None

    async def run(self, call: Call[T]) -> T:
        """See `Connection.run`."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._work, call)

    def _work(self, call: Call[T]) -> T:
        try:
            if self._client is None or self._runner is None:
                self._runner = asyncio.Runner()
                where = {"location": ":memory:"} if self._location == ":memory:" else {"path": self._location}
                self._client = AsyncQdrantClient(**where)  # type: ignore[arg-type]  # two of many arguments
            return self._runner.run(_awaited(call, self._client))
        except Exception as error:
            raise _local_fault(error) from error

    def _end(self) -> None:
        if self._client is not None and self._runner is not None:
            self._runner.run(self._client.close())
            self._runner.close()

    async def close(self) -> None:
        """See `Connection.close`."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._end)
        self._thread.shutdown()


async def _awaited(call: Call[T], client: AsyncQdrantClient) -> T:
    return await call(client)


def _fault(status: int, said: str) -> VectorStoreError:
    if status == httpx.codes.INSUFFICIENT_STORAGE or any(phrase in said.lower() for phrase in _NO_ROOM):
        return VectorStoreFullError(f"Qdrant has no room left ({said}); what was visible has not changed")
    if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        return VectorStoreAccessError(f"Qdrant does not let us in ({status}: {said}): check the API key and its rights")
    if status in _LATER or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return _later(status, said)
    if "Index required" in said:
        return MissingIndexError(f"the collection lacks an index, which the next upload makes: {said}")
    return VectorStoreMismatchError(f"Qdrant refused a request ({status}): {said}")


def _later(status: int, said: str) -> VectorStoreUnavailableError:
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return RateLimitedError(f"Qdrant limits the rate ({status}): {said}")
    if status == httpx.codes.REQUEST_TIMEOUT:
        return TooSlowError(f"Qdrant did not answer in its own time ({status}): {said}")
    return VectorStoreUnavailableError(f"Qdrant cannot serve now ({status}): {said}")


def wait_before_next_try(error: Exception) -> bool | float:
    """Say whether the same request may be made again, and in how many seconds if the server has said so."""
    if isinstance(error, RateLimitedError) and error.retry_after_s is not None:
        return error.retry_after_s if error.retry_after_s <= MAX_RETRY_AFTER_S else False
    return isinstance(error, VectorStoreUnavailableError)


def _status_error(content: bytes) -> str:
    """Return the reason that an answer of Qdrant gives, or nothing if it is not in Qdrant's words."""
    try:
        answer = json.loads(content)
        return str(answer["status"]["error"])
    except (ValueError, LookupError, TypeError):
        # A refused key is answered in plain text; whoever answers in HTML is somebody else.
        text = content.decode(errors="replace").strip()
        return "" if text.startswith(("<", "{", "[")) else text


def _no_answer(source: Exception) -> VectorStoreError:
    if isinstance(source, httpx.TimeoutException):
        return TooSlowError(f"Qdrant did not answer in time: {source!r:.200}")
    if isinstance(source, httpx.HTTPError | httpx.InvalidURL | OSError):
        return VectorStoreUnavailableError(f"Qdrant cannot be reached: {source!r:.200}")
    return VectorStoreUnavailableError(f"what answers is not Qdrant: {type(source).__name__}")


def _local_fault(error: Exception) -> Exception:
    said = str(error)
    if isinstance(error, ValueError) and said.startswith("Point ") and "not found" in said:
        return PointMissingError(said)
    if isinstance(error, ValueError) and "not found" in said:
        return CollectionMissingError(said)
    if isinstance(error, ValueError) and "already exists" in said:
        return CollectionExistsError(said)
    if any(phrase in said.lower() for phrase in _NO_ROOM):
        return VectorStoreFullError(f"there is no room for the local Qdrant: {said:.200}")
    if "already accessed" in said:
        return VectorStoreUnavailableError("another process has the local Qdrant open, which is for one at a time")
    return VectorStoreUnavailableError(f"the local Qdrant failed: {error!r:.200}")
