"""The deployment guide, run as it stands: two halves, two virtual environments, three engines, one search over HTTP.

Long: it installs PyTorch. The commands are those of docs/guides/deployment.md, in order, in one shell, in a copy of the
checkout; only the port is a free one. The stores are a real Valkey behind a stand-in for Upstash, a real PostgreSQL and
a stand-in for Qdrant; the repository comes from a local mirror.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from support.engines import Engines, running_engines
from support.trees import commit_all, write_tree

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs/guides/deployment.md"
FLASK = {
    "src/flask/__init__.py": "from .app import Flask\nfrom . import json\n",
    "src/flask/app.py": "from . import helpers, globals, ctx\n",
    "src/flask/ctx.py": "from . import globals\n",
    "src/flask/globals.py": "",
    "src/flask/helpers.py": "from .globals import current\n",
    "src/flask/json/__init__.py": "from ..globals import current\n",
    "src/flask/sessions.py": "from .json import dumps\nfrom . import app\n",
    "tests/test_app.py": "import flask\nfrom flask import app\n",
    "tests/test_broken.py": "import flask.app\ndef broken(:\n",
    "docs/alone.py": "import os\n",
}
HEAVY = re.compile(r"torch|tree[-_]sitter|nvidia|triton|gitpython|scipy|transformers", re.IGNORECASE)

pytestmark = [pytest.mark.long, pytest.mark.skipif(shutil.which("curl") is None, reason="the guide uses curl")]


@dataclass
class Session:
    """What a shell wrote that ran the blocks of a page."""

    code: int
    blocks: list[str] = field(default_factory=list)
    log: str = ""

    def answers(self, block: int) -> list[Any]:
        """Return the JSON documents that a block wrote."""
        decoder, text, found = json.JSONDecoder(), self.blocks[block], []
        while (start := text.find("{")) >= 0:
            document, end = decoder.raw_decode(text[start:])
            found.append(document)
            text = text[start + end :]
        return found


def blocks_of(page: Path) -> list[str]:
    """Return the commands of a page that are meant to be run."""
    return re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def copy_of_the_checkout(to: Path) -> Path:
    """Copy what git does not ignore, as it lies: no environment, no cache, no secret."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True).stdout
    for name in listed.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    return to


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def script_of(blocks: list[str], port: int) -> str:
    """Return one script: a mark before each block, and an end that tells both halves to stop and waits for them."""
    body = "".join(f"printf '\\n@@ %s\\n' {number}\n{block}" for number, block in enumerate(blocks))
    return (
        "set -euo pipefail\n"
        "trap 'for one in $(jobs -p); do kill -TERM $one 2>/dev/null || true; done' EXIT\n"
        f"{body.replace('8000', str(port))}"
        f"printf '\\n@@ %s\\n' {len(blocks)}\n"
        "running=$(jobs -p)\n"
        "for one in $running; do kill -TERM $one; done\n"
        'for one in $running; do wait $one && echo "ended 0" || echo "ended $?"; done\n'
    )


async def run(script: str, folder: Path, variables: dict[str, str]) -> Session:
    """Run a script in a session of its own; whatever it leaves is ended."""
    log = folder.parent / "stderr.log"
    with log.open("wb") as errors:
        shell = await asyncio.create_subprocess_exec(
            "bash",
            "-c",
            script,
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
        try:
            out, _ = await asyncio.wait_for(shell.communicate(), 1500)
        finally:
            # The group is ours alone, and is there until the last of it is gone.
            with contextlib.suppress(ProcessLookupError):  # all have ended by themselves, as they should
                os.killpg(shell.pid, signal.SIGKILL)
    parts = re.split(r"\n@@ \d+\n", out.decode())
    return Session(shell.returncode or 0, parts[1:], log.read_text(errors="replace"))


@pytest.fixture
async def engines() -> AsyncIterator[Engines]:
    async with running_engines("two_halves") as engines:
        yield engines


def variables(engines: Engines, mirror: Path, home: Path) -> dict[str, str]:
    """Return the environment of somebody who has set the variables of the guide, and nothing else of ours."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "LANG", "LC_"))}
    ours = {name: value for name, value in engines.environment("CLOUD").items() if name != "MODE"}
    return {**kept, "PATH": os.environ["PATH"], "HOME": str(home), **ours, "REPO_MIRROR": str(mirror)}


async def test_every_command_of_the_deployment_guide_runs_from_submit_to_a_search_answer(
    engines: Engines, tmp_path: Path
) -> None:
    mirror, checkout, home = tmp_path / "mirror", tmp_path / "checkout", tmp_path / "home"
    home.mkdir()
    commit_all(write_tree(mirror / "github.com/pallets/flask", FLASK))
    await asyncio.to_thread(copy_of_the_checkout, checkout)
    blocks = blocks_of(GUIDE)
    assert len(blocks) == 7, "token, cloud, edge, migrate, start, submit, ask"

    done = await run(script_of(blocks, free_port()), checkout, variables(engines, mirror, home))

    assert done.code == 0, f"{done.blocks}\n{done.log[-5000:]}"
    token, _cloud, _edge, migrated, started, followed, _asked, ended = done.blocks
    assert re.fullmatch(r"[0-9a-f]{64}\s*", token)
    assert "up to date" in migrated, "the set-up of the edge had made the tables"
    assert json.loads(started) == {"status": "alive"}

    events = [json.loads(line.removeprefix("data: ")) for line in followed.splitlines() if line.startswith("data: ")]
    last = events[-1]
    assert last["state"] == "complete", last
    record = last["record"]
    assert (record["files_processed"], record["embeddings_generated"]) == (len(FLASK), len(FLASK))

    status, similar, neighbors = done.answers(6)
    # The job ends a moment before its worker says that it is idle.
    assert re.fullmatch(r"Idle|Training Graph on https://github\.com/pallets/flask", status["status"])
    near = {hit["path"] for hit in similar["similar"]}
    assert len(near) == 5
    assert near < FLASK.keys() - {"src/flask/app.py", "docs/alone.py"}
    assert {one["path"] for one in neighbors["importers"]} >= {"src/flask/sessions.py", "tests/test_app.py"}
    assert ended.split("\n")[:2] == ["ended 0", "ended 0"], f"{ended}\n{done.log[-3000:]}"

    before = (checkout / ".env.edge").read_text()
    again = await run("VENV=.venv-edge ./setup_edge.sh", checkout, variables(engines, mirror, home))
    assert again.code == 0, again.log
    assert "is as the pins say" in again.log, "the second time there is nothing to install"
    assert (checkout / ".env.edge").read_text() == before

    await asyncio.to_thread(check_the_split, checkout)
    check_the_log(done.log)
    secrets = [engines.database_url, variables(engines, mirror, home)["PHAROS_ADMIN_TOKEN"]]
    assert not any(secret in done.log for secret in secrets)


def check_the_log(log: str) -> None:
    """The worker has said what it runs on, and of the job its start, its end, how long it took and what came of it."""
    events = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    said = {event["event"]: event for event in events}
    assert said["this machine"]["cpu_cores"] >= 1
    assert said["training"]["gpu"], "the GPU, or that there is none"
    end = said["job complete"]
    assert said["job started"]["job_id"] == end["job_id"]
    assert end["duration_seconds"] > 0
    assert (end["files_processed"], end["embeddings_generated"]) == (len(FLASK), len(FLASK))
    assert 0 < end["final_loss"] < 10
    assert end["files_failed"] == 1, "the one that does not parse; the rest went on"


def check_the_split(checkout: Path) -> None:
    """The cloud's environment holds what its list names and nothing heavy; the edge's holds no web framework."""
    cloud, edge = packages_of(checkout / ".venv-cloud"), packages_of(checkout / ".venv-edge")
    assert [name for name in cloud if HEAVY.search(name)] == []
    assert {"torch", "torch-geometric", "tree-sitter"} <= edge.keys()
    assert {"fastapi", "uvicorn"} & edge.keys() == set()
    shared = cloud.keys() & edge.keys() - {"pip", "setuptools", "alexandria"}
    assert {name: cloud[name] for name in shared} == {name: edge[name] for name in shared}
    size_mb = sum(path.stat().st_size for path in (checkout / ".venv-cloud").rglob("*") if path.is_file()) / 1e6
    assert size_mb < 300, "512 MB is all that the free host has, memory and not disk; this is what grows unseen"


def packages_of(venv: Path) -> dict[str, str]:
    listed = subprocess.run(
        [venv / "bin/python", "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {one["name"].lower().replace("_", "-"): one["version"] for one in json.loads(listed.stdout)}
