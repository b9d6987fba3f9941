"""The memory of a worker over thousands of jobs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from alexandria.domain.job import JobState
from alexandria.entrypoints.containers import open_for
from alexandria.entrypoints.settings import Settings
from support.command import environment
from support.trees import commit_all, write_tree
from support.worker_nursery import open_nursery

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")

JOBS = 2_000
AT_ONCE = 10
WARM_UP = 200
PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


@pytest.mark.long
async def test_memory_is_flat_over_two_thousand_jobs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tmp").mkdir()
    keys = [f"github.com/test/tiny{number}" for number in range(AT_ONCE)]
    for key in keys:
        commit_all(write_tree(tmp_path / "mirror" / key, {"a.py": "import b\n", "b.py": "import c\n", "c.py": ""}))
    variables = environment(
        tmp_path / "data",
        TMPDIR=str(tmp_path / "tmp"),
        REPO_MIRROR=str(tmp_path / "mirror"),
        POLL_INTERVAL_SECONDS="0.05",
        WORKER_ID="w",
        LOG_FORMAT="json",
    )
    jobs: list[int] = []
    sizes: list[int] = []
    with open_nursery() as nursery:
        async with open_for(Settings.load(data_dir=tmp_path / "data")) as stores:
            worker = nursery.start(variables, tmp_path / "log")
            for done in range(AT_ONCE, JOBS + 1, AT_ONCE):
                for key in keys:
                    await stores.submit(key)
                while await stores.pending_jobs() or await stores.running_jobs():  # noqa: ASYNC110 (another process)
                    await asyncio.sleep(0.05)
                jobs.append(done)
                sizes.append(resident_bytes(worker.pid))
            assert {record.status for record in await stores.job_history()} == {JobState.COMPLETE}
            worker.kill(signal.SIGTERM)
            assert await asyncio.to_thread(worker.wait) == 0
    warm = np.array(jobs) > WARM_UP
    slope = float(np.polyfit(np.array(jobs)[warm], np.array(sizes)[warm], 1)[0])
    with capsys.disabled():
        sys.stdout.write(
            f"\n{JOBS:,} jobs: {sizes[0] / 1e6:.1f} MB after {jobs[0]}, {sizes[-1] / 1e6:.1f} MB at the end, "
            f"slope {slope:,.0f} bytes a job after {WARM_UP}\n"
        )
    assert slope < 5_000  # 50 MB after ten thousand jobs; half a year of an edge machine
