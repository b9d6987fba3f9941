"""`alexandria serve`: the API over the embedded file, with a worker beside it."""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from integration.api.problems import problem
from integration.api.running import API, SERVE, RunningApi, running_api
from support.trees import SHOP, commit_all, write_tree

INGEST = "/api/v1/ingestion/ingest"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("serve")
    commit_all(write_tree(home / "mirror/github.com/test/shop", SHOP))
    return home


@pytest.fixture(scope="module")
def served(home: Path) -> Iterator[RunningApi]:
    variables = {"REPO_MIRROR": str(home / "mirror"), "POLL_INTERVAL_SECONDS": "0.1", "POLL_IDLE_MAX_SECONDS": "0.1"}
    with running_api(home, variables, SERVE) as api:
        yield api
        workers = psutil.Process(api.process.pid).children()
        assert api.stop() == 0
        assert len(workers) == 1
        assert not workers[0].is_running()


def token_of(home: Path) -> dict[str, str]:
    return {"Authorization": f"Bearer {(home / 'api-token').read_text().strip()}"}


def until(client: httpx.Client, path: str, wanted: str) -> None:
    deadline = time.monotonic() + 120
    while wanted not in client.get(path).text:
        assert time.monotonic() < deadline, client.get(path).text
        time.sleep(0.1)


def test_a_submitted_repository_is_indexed_and_searched(served: RunningApi, home: Path) -> None:
    with served.client(**token_of(home)) as client:
        until(client, "/api/v1/ingestion/worker/status", '"status": "Idle"')
        job = client.post(f"{INGEST}/github.com/test/shop").json()["job_id"]
        with client.stream("GET", f"/api/v1/ingestion/jobs/{job}/events", timeout=120) as stream:
            last = [line for line in stream.iter_lines() if line.startswith("data")][-1]
        assert '"state": "complete"' in last
        near = client.get("/api/v1/search/similar", params={"path": "shop/cart.py"}).json()
        assert len(near["similar"]) > 0
        assert client.get("/health").json()["status"] == "healthy"


def test_the_token_is_made_for_its_owner_alone_and_kept(served: RunningApi, home: Path) -> None:
    path = home / "api-token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_text().strip()) >= 32
    assert str(path) in served.text_of_log
    assert path.read_text().strip() not in served.text_of_log
    with served.client() as stranger:
        problem(stranger.post(f"{INGEST}/github.com/u/r"), 401)


def test_a_token_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "api-token").write_text("0123456789abcdef\n")
    (tmp_path / "api-token").chmod(0o644)
    with pytest.raises(AssertionError, match="can be read by others"), running_api(tmp_path, {}, API):
        pass


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8000", "10.0.0.1", ""]
)
def test_a_page_of_a_stranger_that_points_its_name_here_gets_nothing(served: RunningApi, host: str) -> None:
    with served.client() as client:
        problem(client.get("/api/v1/repositories", headers={"Host": host}), 421)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1", "[::1]:8000"])
def test_the_names_of_this_machine_are_answered(served: RunningApi, host: str) -> None:
    with served.client() as client:
        assert client.get("/health/live", headers={"Host": host}).status_code == 200


@pytest.mark.long
def test_a_worker_that_dies_is_started_again_and_ends_with_the_server(home: Path, tmp_path: Path) -> None:
    with running_api(tmp_path, {}, SERVE) as api, api.client() as client:
        server = psutil.Process(api.process.pid)
        until(client, "/api/v1/ingestion/worker/status", '"status": "Idle"')
        [first] = server.children()
        os.kill(first.pid, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while not (second := [child for child in server.children() if child.pid != first.pid]):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert client.get("/health/live").status_code == 200
        assert api.stop() == 0
        assert not second[0].is_running()
        assert "is started again" in api.text_of_log


def test_serve_is_for_local_mode(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="MODE"), running_api(tmp_path, {"MODE": "EDGE"}, SERVE):
        pass
