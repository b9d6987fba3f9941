"""The checks that a fork runs on GitHub: pinned, with the least rights, and the same commands as here.

They never ran on GitHub: there is no account here.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployment.tools import needs, program

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TEXT = WORKFLOWS[0].read_text()
CHECKS: dict[Any, Any] = yaml.safe_load(TEXT)
JOBS: dict[str, dict[str, Any]] = CHECKS["jobs"]


def commands(job: str) -> list[str]:
    return [step["run"] for step in JOBS[job]["steps"] if "run" in step]


def test_there_is_one_workflow_with_a_job_for_each_half_and_one_for_style() -> None:
    assert [path.name for path in WORKFLOWS] == ["checks.yml"]
    assert set(JOBS) == {"lint", "cloud", "edge"}


def test_every_action_is_pinned_by_commit_with_its_release_beside_it() -> None:
    used = re.findall(r"uses: (.*)$", TEXT, re.MULTILINE)
    assert len(used) == 6
    assert [line for line in used if not re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)] == []


def test_rights_are_none_but_to_read_the_code() -> None:
    assert CHECKS["permissions"] == {}
    assert [job["permissions"] for job in JOBS.values()] == [{"contents": "read"}] * 3
    checkouts = [step for job in JOBS.values() for step in job["steps"] if "checkout" in step.get("uses", "")]
    assert [step["with"]["persist-credentials"] for step in checkouts] == [False] * 3
    assert "secrets." not in TEXT


def test_they_run_the_commands_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert commands("lint") == ["make lint"]
    assert commands("edge") == ["make check"]
    assert {"lint", "check"} <= targets
    assert commands("cloud") == ["scripts/check_cloud.sh"]


def test_cloud_job_installs_the_pins_of_the_cloud_and_only_then_the_tools() -> None:
    script = (ROOT / "scripts/check_cloud.sh").read_text()
    assert re.findall(r"-r (requirements-\w+\.txt)", script) == ["requirements-cloud.txt", "requirements-dev.txt"]
    named = re.findall(r"tests/[\w/.]+", script)
    assert [path for path in named if not (ROOT / path).exists() and path != "tests/integration/api"] == []


def test_every_job_ends_by_itself() -> None:
    assert all(job["timeout-minutes"] <= 45 for job in JOBS.values())


@needs("zizmor")
def test_audit_is_clean() -> None:
    done = subprocess.run(
        [program("zizmor"), "--offline", "--pedantic", "--quiet", ".github"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@needs("shellcheck")
@pytest.mark.parametrize("script", sorted((ROOT / "scripts").glob("*.sh")), ids=lambda path: path.name)
def test_shell_scripts_are_clean(script: Path) -> None:
    done = subprocess.run([program("shellcheck"), script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
