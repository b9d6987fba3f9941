"""`setup_edge.sh`, run for real; `setup_edge.ps1`, the systemd unit and the Windows service, read.

The PowerShell script and the Windows service were never run: there is no Windows here. The unit is checked by systemd's
own tools; what was tried by hand under a running systemd is told in docs/guides/edge-setup.md. No GPU was there.
"""

from __future__ import annotations

import os
import pty
import re
import shutil
import stat
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from alexandria.entrypoints.settings import Settings
from deployment.test_templates import PLAUSIBLE, entries_of
from deployment.tools import needs, program

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "deploy/systemd/alexandria-worker.service"
WINDOWS = ROOT / "deploy/windows/alexandria-worker.xml"
EMPTY = [name for name, entry in entries_of("edge").items() if not (entry.value or entry.shown_only)]
MOST_EXPOSED = 1.5  # of 10, by `systemd-analyze security`; 9.6 is a unit that says nothing

needs_bash = pytest.mark.skipif(sys.platform == "win32" or shutil.which("bash") is None, reason="bash is needed")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a folder with the script and all that it reads."""
    for name in ("setup_edge.sh", ".env.edge.template", "requirements-base.txt", "requirements-edge.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def set_up(
    checkout: Path, *arguments: str, path: str = os.environ["PATH"], **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "setup_edge.sh", *arguments],
        cwd=checkout,
        env={"PATH": path, "HOME": str(checkout), "PYTHON": sys.executable, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


@needs_bash
def test_check_names_what_is_there(checkout: Path) -> None:
    done = set_up(checkout, "--check")
    assert done.returncode == 0, done.stderr
    assert re.search(rf"^python +{re.escape(sys.executable)}, 3\.\d+", done.stderr, re.MULTILINE)
    assert re.search(r"^git +\d+\.\d+$", done.stderr, re.MULTILINE)
    assert re.search(r"^GPU ", done.stderr, re.MULTILINE)


def path_with(folder: Path, **programs: str) -> str:
    """Return a PATH on which only the basic tools and `programs` (name: text of a script) are."""
    folder.mkdir()
    for name in ("bash", "env", "sed", "awk", "df", "dirname", "grep", "head", "cat", "mktemp", "mv", "cp", "chmod"):
        (folder / name).symlink_to(shutil.which(name) or name)
    for name, text in programs.items():
        (folder / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (folder / name).chmod(0o755)
    return str(folder)


@needs_bash
def test_old_git_and_no_git_are_refused_with_a_sentence(checkout: Path) -> None:
    without = set_up(checkout, "--check", path=path_with(checkout / "without"))
    assert without.returncode == 1
    assert "git 2.37 or newer is needed and not on PATH" in without.stderr
    old = path_with(checkout / "old", git="echo git version 2.34.1")
    done = set_up(checkout, "--check", path=old)
    assert done.returncode == 1
    assert "git 2.34 is too old" in done.stderr


@needs_bash
def test_git_of_another_vendor_and_newer_is_accepted(checkout: Path) -> None:
    path = path_with(checkout / "apple", git="echo 'git version 2.50.1 (Apple Git-155)'")
    assert set_up(checkout, "--check", path=path).returncode == 0


@needs_bash
def test_old_python_is_refused_with_a_sentence(checkout: Path) -> None:
    path = path_with(checkout / "old", **{"python3": "exit 1", "git": "echo git version 2.45.0"})
    done = set_up(checkout, "--check", path=path, PYTHON="")
    assert done.returncode == 1
    assert "Python 3.11 or newer" in done.stderr


@needs_bash
def test_variables_of_the_environment_are_written_to_a_private_file_and_load(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = set_up(checkout, "--configure", **{name: PLAUSIBLE[name] for name in EMPTY})
    assert done.returncode == 0, done.stderr
    assert not any(PLAUSIBLE[name] in done.stdout + done.stderr for name in EMPTY), "no secret is shown"
    written = checkout / ".env.edge"
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    monkeypatch.chdir(checkout)
    for name in (*EMPTY, "NEON_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MODE", "EDGE")
    settings = Settings.load()
    assert settings.database_url.get_secret_value() == PLAUSIBLE["DATABASE_URL"]
    assert settings.upstash_redis_rest_token.get_secret_value() == PLAUSIBLE["UPSTASH_REDIS_REST_TOKEN"]
    assert settings.poll_idle_max_seconds == 30


@needs_bash
def test_a_second_run_keeps_what_the_first_and_a_person_wrote(checkout: Path) -> None:
    set_up(checkout, "--configure", QDRANT_URL=PLAUSIBLE["QDRANT_URL"])
    first = (checkout / ".env.edge").read_text()
    assert f"QDRANT_URL='{PLAUSIBLE['QDRANT_URL']}'" in first
    (checkout / ".env.edge").write_text(first.replace("#THREADS=1", "THREADS=2"))
    done = set_up(checkout, "--configure", QDRANT_URL="https://another.example.com", DATABASE_URL="postgresql://x")
    second = (checkout / ".env.edge").read_text()
    assert f"QDRANT_URL='{PLAUSIBLE['QDRANT_URL']}'" in second
    assert "DATABASE_URL='postgresql://x'" in second
    assert "THREADS=2" in second
    assert "has no UPSTASH_REDIS_REST_URL UPSTASH_REDIS_REST_TOKEN QDRANT_API_KEY" in done.stderr
    third = set_up(checkout, "--configure")
    assert (checkout / ".env.edge").read_text() == second
    assert third.returncode == 0
    assert sorted(path.name for path in checkout.glob(".env.edge*")) == [".env.edge", ".env.edge.template"]


@needs_bash
@pytest.mark.parametrize("value", ["it's", "back\\slash", "two\nlines"])
def test_value_that_the_file_cannot_hold_is_refused_without_showing_it(checkout: Path, value: str) -> None:
    done = set_up(checkout, "--configure", QDRANT_API_KEY=value)
    assert done.returncode == 1
    assert "QDRANT_API_KEY: has a quote, a backslash or a line break" in done.stderr
    assert value not in done.stderr
    assert "\nQDRANT_API_KEY=\n" in (checkout / ".env.edge").read_text()


@needs_bash
def test_person_at_a_terminal_is_asked_and_secrets_are_not_shown(checkout: Path) -> None:
    answers = {name: PLAUSIBLE[name] for name in EMPTY}
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(checkout)
        os.execvpe("bash", ["bash", "setup_edge.sh", "--configure"], {"PATH": os.environ["PATH"]})  # noqa: S606
    shown = b""
    for name in EMPTY:
        while name.encode() not in shown.rpartition(b"\n")[2]:
            shown += os.read(terminal, 1024)
        os.write(terminal, answers[name].encode() + b"\n")
    try:
        while chunk := os.read(terminal, 1024):
            shown += chunk
    except OSError:
        pass  # Linux says so when the other end of a terminal is closed
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert status == 0, shown
    text = (checkout / ".env.edge").read_text()
    assert all(f"{name}='{value}'" in text for name, value in answers.items())
    secret = [answers[name] for name in EMPTY if name.endswith(("TOKEN", "KEY")) or name == "DATABASE_URL"]
    assert not any(value.encode() in shown for value in secret)


@needs_bash
def test_wrong_option_is_refused_and_help_names_every_option() -> None:
    text = (ROOT / "setup_edge.sh").read_text()
    done = subprocess.run(
        ["bash", "setup_edge.sh", "--nonsense"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, "setup_edge.sh: no option --nonsense; --help lists them\n")
    told = run("bash", "setup_edge.sh", "--help")
    options = set(re.findall(r"^    (--[a-z-]+)\)", text, re.MULTILINE)) | {"--no-test"}
    assert all(option in told.stdout for option in options)
    assert all(name in told.stdout for name in ("PYTHON", "VENV", "TORCH_INDEX_URL"))


@needs("shellcheck")
def test_shell_script_is_clean() -> None:
    done = subprocess.run(
        [program("shellcheck"), "setup_edge.sh"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_no_text_names_an_index_of_pytorch_that_will_be_stale() -> None:
    pages = [ROOT / "README.md", ROOT / "setup_edge.sh", ROOT / "setup_edge.ps1", *(ROOT / "docs").rglob("*.md")]
    assert [str(page) for page in pages if re.search(r"download\.pytorch\.org|whl/c(u\d|pu)", page.read_text())] == []


def test_powershell_asks_for_the_same_variables() -> None:
    text = (ROOT / "setup_edge.ps1").read_text()
    [asked] = re.findall(r"\$Asked = @\((.*?)\)", text, re.DOTALL)
    assert re.findall(r"'(\w+)'", asked) == EMPTY
    assert text.isascii(), "Windows PowerShell 5 reads a file without a mark as its own code page"


def test_powershell_parses() -> None:
    grammar = pytest.importorskip("tree_sitter_powershell", reason="the grammar is not installed")
    tree_sitter = pytest.importorskip("tree_sitter", reason="the cloud's half has no parser")
    parser = tree_sitter.Parser(tree_sitter.Language(grammar.language()))
    assert not parser.parse((ROOT / "setup_edge.ps1").read_bytes()).root_node.has_error
    assert parser.parse(b"if ($x) { Write-Output 1").root_node.has_error


def directives() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def test_unit_starts_the_worker_and_gives_it_a_minute_to_stop() -> None:
    said = directives()
    assert said["Type"] == ["notify"]
    assert said["ExecStart"] == ["/opt/alexandria/.venv/bin/python /opt/alexandria/worker.py"]
    assert said["EnvironmentFile"] == ["/opt/alexandria/.env.edge"]
    assert said["TimeoutStopSec"] == ["60"]
    assert int(said["WatchdogSec"][0]) >= 60
    assert said["Restart"] == ["always"]
    assert (ROOT / "worker.py").is_file()


def test_device_of_cuda_is_made_before_the_worker_and_may_be_missing() -> None:
    # "+": with rights that the worker has not; "-": a machine without a GPU has no such program.
    assert directives()["ExecStartPre"] == ["+-/usr/bin/nvidia-modprobe -c 0 -u"]


def test_unit_keeps_the_gpu_and_what_writes_code() -> None:
    said = directives()
    assert "char-nvidia* rw" in said["DeviceAllow"]
    assert said.keys() & {"PrivateDevices", "MemoryDenyWriteExecute", "PrivateNetwork"} == set()


@needs("systemd-analyze")
def test_systemd_reads_the_unit_and_finds_it_closed() -> None:
    read = subprocess.run(
        [program("systemd-analyze"), "verify", UNIT], capture_output=True, text=True, check=False, timeout=30
    )
    # The checkout in /opt is the reader's; that it is not here is all that may be said.
    complaints = [line for line in read.stderr.splitlines() if "is not executable" not in line]
    assert complaints == []
    rated = run(program("systemd-analyze"), "security", "--offline=true", "--no-pager", str(UNIT))
    exposure = re.search(r"Overall exposure level for \S+: (\d+\.\d+)", rated.stdout)
    assert exposure is not None
    assert float(exposure[1]) <= MOST_EXPOSED


def test_windows_service_starts_the_worker_in_wsl_and_gives_it_a_minute_to_stop() -> None:
    service = ET.parse(WINDOWS).getroot()  # noqa: S314  # our own file
    assert service.tag == "service"
    said = {child.tag: (child.text or "").strip() for child in service}
    assert said["id"] == "alexandria-worker"
    assert said["executable"].endswith("wsl.exe")
    assert said["arguments"].endswith("env MODE=EDGE PYTHONUNBUFFERED=1 .venv/bin/python worker.py")
    assert "TERM" in said["stoparguments"]
    assert said["stoptimeout"] == "60 sec"
