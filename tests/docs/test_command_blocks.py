"""The commands of README and guides, run: all that need no second machine and no account.

Those of the deployment guide are run by tests/deployment/test_two_halves.py, over the engines that they need. Blocks
marked `text` are not run: they need root, a container engine, Windows, a GPU or somebody's address.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from support.command import environment
from support.trees import commit_all, write_tree

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
BIN = Path(sys.executable).parent
GUIDES = sorted((ROOT / "docs/guides").glob("*.md"))
FLASK = {
    "src/flask/__init__.py": "from .app import Flask\n",
    "src/flask/app.py": "from . import helpers, globals, ctx, sessions\n",
    "src/flask/ctx.py": "from . import globals\n",
    "src/flask/globals.py": "",
    "src/flask/helpers.py": "from .globals import current\n",
    "src/flask/sessions.py": "from . import helpers\n",
    "tests/test_app.py": "import flask\n",
}


def tour() -> list[str]:
    """Return the command lines of the README's tour, in their order."""
    return re.findall(r"^\$ (.+)$", README, re.MULTILINE)


def blocks_of(page: Path) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def test_the_readme_has_a_tour_and_its_two_commands() -> None:
    assert len(tour()) > 8
    assert all(line.startswith("alexandria ") for line in tour())
    targets = (ROOT / "Makefile").read_text()
    for command in re.findall(r"^make ([a-z-]+)", README, re.MULTILINE):
        assert re.search(rf"^{command}:", targets, re.MULTILINE)


def test_what_is_run_elsewhere_is_said_so() -> None:
    with_commands = {page.name for page in GUIDES if blocks_of(page)}
    assert {"deployment.md", "edge-setup.md", "troubleshooting.md"} <= with_commands
    elsewhere = (ROOT / "tests/deployment/test_two_halves.py").read_text()
    assert "docs/guides/deployment.md" in elsewhere


@pytest.mark.long
def test_every_command_of_the_tour_runs_after_the_first(tmp_path: Path) -> None:
    commit_all(write_tree(tmp_path / "mirror/github.com/pallets/flask", FLASK))
    # The tour stands in a checkout of this project.
    here = {str(path.relative_to(ROOT)): path.read_bytes() for path in (ROOT / "src/alexandria/domain").rglob("*.py")}
    folder = write_tree(tmp_path / "here", here)
    variables = environment(tmp_path / "data", REPO_MIRROR=str(tmp_path / "mirror"))
    variables["PATH"] = f"{BIN}{os.pathsep}{variables['PATH']}"
    # What `make run REPO=…` does after the set-up.
    lines = ["alexandria index https://github.com/pallets/flask", *tour()]
    for line in lines:
        done = subprocess.run(
            ["bash", "-c", line], cwd=folder, env=variables, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        assert done.stdout or ">" in line or shlex.split(line)[1] == "worker", f"{line} says nothing"


def without_times(text: str) -> list[str]:
    """Return the lines of an answer, less what differs from run to run."""
    return [re.sub(r"indexed .* ago$", "", line) for line in text.splitlines() if not line.startswith("time ")]


@pytest.mark.long
@pytest.mark.skipif("REPO_MIRROR" not in os.environ, reason="REPO_MIRROR names no folder with github.com/pallets/flask")
def test_what_the_readme_shows_is_what_the_commands_print(tmp_path: Path) -> None:
    shown = re.findall(r"^```\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    [first] = [block for block in shown if block.startswith("repository ")]
    [commit] = re.findall(r"^repository .* @ ([0-9a-f]+)$", first, re.MULTILINE)
    variables = environment(tmp_path / "data", REPO_MIRROR=os.environ["REPO_MIRROR"])
    variables["PATH"] = f"{BIN}{os.pathsep}{variables['PATH']}"

    def said(line: str) -> str:
        return subprocess.run(
            shlex.split(line), env=variables, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=True
        ).stdout

    answer = said("alexandria index https://github.com/pallets/flask")
    if f"@ {commit}\n" not in answer:
        pytest.skip(f"the mirror is not at {commit}")
    assert without_times(answer) == without_times(first)
    answered = [block.removeprefix("$ ").partition("\n") for block in shown if re.match(r"\$ .*\n[^$]", block)]
    assert len(answered) == 2
    for line, _, printed in answered:
        assert without_times(said(line)) == without_times(printed), line


def service_of_the_readme() -> tuple[str, list[str]]:
    """Return the command that starts the service, and the requests to it."""
    section = README.partition("## As a service")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    [start] = [block for block in blocks if block.startswith("alexandria serve")]
    [requests] = [block for block in blocks if block.startswith("curl ")]
    return start.partition("#")[0].strip(), re.split(r"\n(?=curl )", requests.strip())


@pytest.mark.long
@pytest.mark.skipif(shutil.which("curl") is None, reason="the README uses curl")
def test_the_service_of_the_readme_answers(tmp_path: Path) -> None:
    start, (submit, search) = service_of_the_readme()
    commit_all(write_tree(tmp_path / "mirror/github.com/pallets/flask", FLASK))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # As a user has it: the store where it lies by default, so that the path of the token is the README's.
    variables = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)}
    variables["REPO_MIRROR"] = str(tmp_path / "mirror")
    base = f"http://127.0.0.1:{port}"

    def ask(command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command.replace("8000", str(port))],
            env=variables,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    log = tmp_path / "log"
    with log.open("wb") as output:
        service = subprocess.Popen(
            ["bash", "-c", f"exec {start.replace('8000', str(port))}"], env=variables, stdout=output, stderr=output
        )
    try:
        ask(f"curl --silent --fail --retry 60 --retry-delay 1 --retry-connrefused {base}/health/live")
        job = json.loads(ask(submit))
        assert job["status"] == "dispatched", job
        events = ask(f"curl --silent --max-time 240 {base}/api/v1/ingestion/jobs/{job['job_id']}/events")
        assert '"state":"complete"' in events.replace(" ", ""), f"{events}\n{log.read_text()[-3000:]}"
        assert len(json.loads(ask(search))["similar"]) == 5
    finally:
        service.terminate()
        assert service.wait(90) == 0, log.read_text()[-3000:]


@pytest.mark.long
@pytest.mark.parametrize("page", [page for page in GUIDES if page.name != "deployment.md"], ids=lambda page: page.name)
def test_every_command_of_a_guide_that_needs_one_machine_runs(page: Path, tmp_path: Path) -> None:
    for block in blocks_of(page):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.replace(".venv/bin", str(BIN))],
            cwd=ROOT,
            env=environment(tmp_path / "data"),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
