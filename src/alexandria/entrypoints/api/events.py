"""Server-sent events: what becomes of a job or of the workers, told to any number of listeners.

The stores are asked by one task for all listeners, a topic a turn, so that what it costs does not grow
with the listeners: at most four calls an interval, and each topic once an interval while there are few.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from alexandria.domain.errors import AlexandriaError
from alexandria.entrypoints.api.problems import ProblemError, problem_of

logger = logging.getLogger(__name__)

MAX_LISTENERS = 200
HEARTBEAT_S = 15.0
_CALLS_PER_INTERVAL = 4


@dataclass(frozen=True, slots=True)
class Event:
    """One message of a stream.

    Attributes:
        name: Its kind.
        data: What it says, as JSON.
        last: Whether the stream ends after it.
    """

    name: str
    data: dict[str, Any]
    last: bool = False

    def encoded(self) -> bytes:
        """Return it as it is sent (HTML standard, section 9.2)."""
        return f"event: {self.name}\ndata: {json.dumps(self.data)}\n\n".encode()


Look = Callable[[], Coroutine[Any, Any, Event]]
"""Asks a store how a topic stands."""


@dataclass(slots=True, eq=False)
class _Topic:
    look: Look
    latest: Event | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    listeners: int = 0

    def say(self, event: Event) -> None:
        if event != self.latest:
            self.latest = event
            self.changed.set()
            self.changed = asyncio.Event()


class EventHub:
    """Every stream of this process.

    Args:
        interval_s: Seconds between two looks at one topic, while at most four are listened to.
        heartbeat_s: Seconds without an event after which a comment is sent, so that proxies keep the line.
        max_listeners: Streams at which a further one is refused.
    """

    def __init__(
        self, interval_s: float, *, heartbeat_s: float = HEARTBEAT_S, max_listeners: int = MAX_LISTENERS
    ) -> None:
        self._interval_s = interval_s
        self._heartbeat_s = heartbeat_s
        self._max_listeners = max_listeners
        self._topics: dict[str, _Topic] = {}
        self._polling: asyncio.Task[None] | None = None
        self._closed = asyncio.Event()

    async def subscribe(self, name: str, look: Look) -> AsyncIterator[bytes]:
        """Look once, and return the stream from there on.

        It ends after an event that is the last, and when the hub is closed.

        Args:
            name: Of the topic; who asks for the same one shares its looks.
            look: Asks how it stands.

        Raises:
            ProblemError: 503: as many listen as may.
            AlexandriaError: The first look failed.
        """
        if sum(topic.listeners for topic in self._topics.values()) >= self._max_listeners or self._closed.is_set():
            raise ProblemError(
                503, "as many event streams are open as may be: try again later", headers={"Retry-After": "30"}
            )
        topic = self._topics.setdefault(name, _Topic(look))
        topic.listeners += 1
        try:
            if topic.latest is None:
                topic.say(await look())
        except BaseException:
            self._leave(name, topic)
            raise
        if self._polling is None or self._polling.done():
            self._polling = asyncio.get_running_loop().create_task(self._poll())
        return self._stream(name, topic)

    async def close(self) -> None:
        """End every stream."""
        self._closed.set()
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.wait([self._polling])

    async def _stream(self, name: str, topic: _Topic) -> AsyncIterator[bytes]:
        told: Event | None = None
        try:
            while not self._closed.is_set():
                changed, event = topic.changed, topic.latest
                if event is not None and event is not told:
                    told = event
                    yield event.encoded()
                    if event.last:
                        return
                elif not await self._wait(changed):
                    yield b": still here\n\n"
        finally:
            self._leave(name, topic)

    async def _wait(self, changed: asyncio.Event) -> bool:
        """Wait for an event or the end; return False when it is time for a heartbeat."""
        waits = [asyncio.ensure_future(changed.wait()), asyncio.ensure_future(self._closed.wait())]
        try:
            done, _ = await asyncio.wait(waits, timeout=self._heartbeat_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return bool(done)

    def _leave(self, name: str, topic: _Topic) -> None:
        topic.listeners -= 1
        if not topic.listeners and self._topics.get(name) is topic:
            del self._topics[name]

    async def _poll(self) -> None:
        while self._topics:
            for topic in list(self._topics.values()):
                await asyncio.sleep(self._interval_s / min(max(len(self._topics), 1), _CALLS_PER_INTERVAL))
                if topic.listeners:
                    await self._turn(topic)

    @staticmethod
    async def _turn(topic: _Topic) -> None:
        try:
            topic.say(await topic.look())
        except AlexandriaError as error:
            problem = problem_of(error)
            logger.warning("an event stream: %s", error)
            # A job that is forgotten is gone for good; a store that is away comes back.
            gone = problem.status_code == 404
            topic.say(Event("error", {"status": problem.status_code, "detail": problem.detail}, last=gone))
        except Exception:
            logger.exception("an event stream could not look")
            with contextlib.suppress(KeyError):
                topic.say(Event("error", {"status": 500, "detail": "something went wrong here"}, last=True))
