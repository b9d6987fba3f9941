"""A worker from its first line in the log to its last, as a process."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from alexandria.entrypoints.hardware import NO_GPU, describe_machine, describe_training
from alexandria.entrypoints.library import Alexandria
from alexandria.entrypoints.worker import check_worker
from support.command import PROGRAM, environment
from support.trees import SHOP, commit_all, write_tree

ROOT = Path(__file__).resolve().parents[3]
WORKER_PY = [sys.executable, str(ROOT / "worker.py")]
URL = "https://github.com/test/shop"


def run(command: list[str], variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=dict(variables), capture_output=True, text=True, timeout=300, check=False)


def events_in(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_worker_py_and_the_command_offer_the_same(tmp_path: Path) -> None:
    variables = environment(tmp_path)
    file, command = run([*WORKER_PY, "--help"], variables), run([*PROGRAM, "worker", "--help"], variables)
    assert (file.returncode, command.returncode) == (0, 0)
    head = re.compile(r"Usage: .*")
    assert head.sub("", file.stdout) == head.sub("", command.stdout)
    assert {"--once", "--test"} <= set(re.findall(r"--[a-z]+", file.stdout))


def test_each_wrong_setting_is_one_line_and_the_exit_code_is_1(tmp_path: Path) -> None:
    done = run([*WORKER_PY, "--once"], environment(tmp_path, QUEUE_CAP="x", DEVICE="abacus"))
    assert done.returncode == 1
    faults = [event["event"] for event in events_in(done.stderr) if event["level"] == "error"]
    assert [fault.split(": ")[1] for fault in faults] == ["QUEUE_CAP", "DEVICE"]


def test_store_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run([*WORKER_PY, "--once"], environment(tmp_path / "file" / "data"))
    assert done.returncode == 1
    [event] = events_in(done.stderr)
    assert (event["level"], "cannot be made" in event["event"]) == ("error", True)


def test_cloud_has_no_worker(tmp_path: Path) -> None:
    variables = environment(
        tmp_path,
        MODE="CLOUD",
        UPSTASH_REDIS_REST_URL="https://queue.invalid",
        UPSTASH_REDIS_REST_TOKEN="0123456789-token",
        QDRANT_URL="https://vectors.invalid",
        DATABASE_URL="postgresql://u:0123456789-password@127.0.0.1/x",
        PHAROS_ADMIN_TOKEN="0123456789-admin-token",
    )
    done = run([*WORKER_PY, "--once"], variables)
    assert done.returncode == 1
    assert "MODE=EDGE" in events_in(done.stderr)[-1]["event"]
    assert "0123456789" not in done.stderr + done.stdout


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Return what a worker logs that finds one job that goes well and one whose repository is not there."""
    folder = tmp_path_factory.mktemp("worked")
    (folder / "tmp").mkdir()
    commit_all(write_tree(folder / "mirror/github.com/test/shop", SHOP))

    async def submit() -> None:
        async with Alexandria.local(folder / "data") as alexandria:
            await alexandria.submit(URL)
            await alexandria.submit("github.com/test/nothere")

    asyncio.run(submit())
    variables = environment(
        folder / "data", REPO_MIRROR=str(folder / "mirror"), WORKER_ID="w", TMPDIR=str(folder / "tmp")
    )
    done = run([*WORKER_PY, "--once"], variables)
    assert (done.returncode, done.stdout) == (0, "")
    assert list((folder / "tmp").iterdir()) == []
    return events_in(done.stderr)


def test_start_says_what_there_is_to_work_with(worked: list[dict[str, Any]]) -> None:
    started, machine, training, *_, stopped = worked
    assert {event["worker_id"] for event in worked} == {"w"}
    assert {"mode": "LOCAL", "queue": "SqliteJobQueue", "vectors": "SqliteVectorStore"}.items() <= started.items()
    assert {"cpu", "cpu_cores", "memory_gb", "git", "python", "system"} <= machine.keys()
    assert {"torch", "torch_geometric", "gpu", "device"} <= training.keys()
    assert (stopped["event"], stopped["attempts"]) == ("worker stopped", 2)


def test_job_logs_its_start_its_losses_its_end_and_what_it_made(worked: list[dict[str, Any]]) -> None:
    of_job = [event for event in worked if event.get("repo") == "github.com/test/shop"]
    assert len({event["job_id"] for event in of_job}) == 1
    assert {event["attempt"] for event in of_job} == {1}
    assert of_job[0]["event"] == "job started"
    epochs = [event["event"] for event in of_job if event["event"].startswith("epoch ")]
    assert [epoch.split(":")[0] for epoch in epochs] == ["epoch 5 of 10", "epoch 10 of 10"]
    end = of_job[-1]
    assert (end["event"], end["files_processed"], end["embeddings_generated"]) == ("job complete", 8, 8)
    assert end["duration_seconds"] > 0
    assert end["final_loss"] > 0
    assert 0 <= end["edge_auc"] <= 1
    assert set(end["seconds"]) == {"cloning", "parsing", "training", "uploading"}


def test_failed_job_is_one_line_with_its_reason(worked: list[dict[str, Any]]) -> None:
    [failed] = [event for event in worked if event["level"] == "error"]
    assert failed["event"].startswith("job failed: ")
    assert (failed["repo"], failed["again"]) == ("github.com/test/nothere", False)


def test_hardware_is_described_in_plain_words() -> None:
    machine, training = describe_machine(), describe_training()
    json.dumps([machine, training])
    assert isinstance(machine["cpu_cores"], int)
    assert machine["cpu_cores"] >= 1
    assert training["gpu"] == NO_GPU or "cuda" in training


def test_self_test_trains_four_files_and_tells_faults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ALEXANDRIA_DATA", str(tmp_path))
    assert check_worker() == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("ok") for line in lines)
    assert re.search(r"4 files, 4 edges, 4 vectors on (cpu|cuda)", lines[-1])
    monkeypatch.setenv("PATH", "/nonexistent")
    assert check_worker() == 1
    assert "fault    git" in capsys.readouterr().out
