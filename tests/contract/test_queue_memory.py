"""Thousands of short jobs leave nothing behind in the process that handles them."""

from __future__ import annotations

import gc
import sys

import pytest

from alexandria.ports.job_queue import QueueRules
from contract.queues import STORES, WORKERS, short_job

WARM = WORKERS + 200  # each worker has been there, and pools and caches are filled


@pytest.mark.parametrize("jobs", [200, pytest.param(2000, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", STORES)
async def test_memory_is_flat_over_short_jobs(name: str, jobs: int, capsys: pytest.CaptureFixture[str]) -> None:
    if name == "upstash" and jobs < 2000:
        pytest.skip("it runs the code of redis, with a request for every call: in the long form")
    async with STORES[name](QueueRules(history_length=20)) as store:
        for number in range(WARM):
            await short_job(store, number)
        held = []
        for number in range(WARM, WARM + jobs):
            await short_job(store, number)
            if number % (jobs // 10) == 0:
                gc.collect()
                held.append(sys.getallocatedblocks())
    slope = (held[-1] - held[0]) / (jobs * 0.9)
    with capsys.disabled():
        print(f"  {name}: {slope:+.2f} blocks of memory a job over {jobs} jobs")  # noqa: T201 (a figure to report)
    assert slope < 0.5  # what is kept for each job takes a block at least
