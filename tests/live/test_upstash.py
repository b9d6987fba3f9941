"""The suites of queue and status board over the Redis at `UPSTASH_REDIS_REST_URL` and `UPSTASH_REDIS_REST_TOKEN`.

Every key gets a prefix of this run, so a queue that is in use there is not touched; the keys are removed at
the end of each test. It takes some ten thousand commands of the account's month.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from alexandria.adapters.memory.clock import ManualClock
from alexandria.adapters.redis.job_queue import KEYS
from alexandria.adapters.redis.status_board import STATUS_KEY, WORKERS_KEY
from alexandria.adapters.upstash.rest import UpstashScriptStore
from alexandria.ports.job_queue import QueueRules
from alexandria.ports.script_store import Reply
from contract import test_job_queue, test_status_board
from contract.queues import Opener, OpenStore, UpstashScriptStoreAt, open_scripts
from live.suites import cases_that_take

URL = os.environ.get("UPSTASH_REDIS_REST_URL", "")
TOKEN = os.environ.get("UPSTASH_REDIS_REST_TOKEN", "")
PREFIX = f"alexandria-live-{uuid4().hex[:12]}:"
OURS = frozenset({*KEYS, STATUS_KEY, WORKERS_KEY})
WITHOUT_KEYS = frozenset({"PING", "TIME"})

if not URL:
    pytest.skip("UPSTASH_REDIS_REST_URL is not set", allow_module_level=True)

pytestmark = pytest.mark.live

BOARD = cases_that_take(test_status_board, "store")
globals().update(cases_that_take(test_job_queue, "store") | cases_that_take(test_job_queue, "opener"))
globals().update({f"test_board_{name.removeprefix('test_')}": test for name, test in BOARD.items()})


class PrefixedScriptStore(UpstashScriptStore):
    """The way to the account, where each key stands under the prefix of this run; its scripts are told the time."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(URL, TOKEN, timeout_s=60.0)
        self._clock = clock

    async def now_us(self) -> int:
        return (self._clock.now() - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)

    async def command(self, *words: str | int) -> Reply:
        if words[0] == "FLUSHALL":  # what the suites say to begin with an empty store
            return await super().command("DEL", *(PREFIX + key for key in sorted(OURS)))
        return await super().command(*prefixed(words))


def prefixed(words: tuple[str | int, ...]) -> list[str | int]:
    """Return a command with the prefix before each of its keys; refuse one whose keys are not known to be ours."""
    if words[0] in WITHOUT_KEYS:
        return list(words)
    count = int(words[2]) if words[0] == "EVAL" else len(words) - 1 if words[0] in {"EXISTS", "DEL"} else 1
    first = 3 if words[0] == "EVAL" else 1
    keys = words[first : first + count]
    assert OURS.issuperset(keys), f"{words[0]} has a key that is not one of ours"
    return [*words[:first], *(f"{PREFIX}{key}" for key in keys), *words[first + count :]]


@asynccontextmanager
async def open_live(rules: QueueRules) -> AsyncIterator[OpenStore]:
    try:
        nobody = "http://127.0.0.1:1"
        async with open_scripts(
            rules, PrefixedScriptStore, lambda clock: UpstashScriptStoreAt(nobody, clock)
        ) as opened:
            yield opened
    finally:
        async with UpstashScriptStore(URL, TOKEN, timeout_s=60.0) as way:
            await way.command("DEL", *(PREFIX + key for key in sorted(OURS)))


@pytest.fixture
def opener() -> Opener:
    return open_live


@pytest.fixture
async def store(opener: Opener, request: pytest.FixtureRequest) -> AsyncIterator[OpenStore]:
    rules = QueueRules() if request.node.name.startswith("test_board_") else test_job_queue.RULES
    async with opener(rules) as opened:
        yield opened
