"""The Dockerfile, as far as it can be checked where there is no container engine.

Read: its stages, sources, user, health check, and that its lint is clean if hadolint is at hand. Not built: the base
image, the layers and the health check inside Docker were never seen to work.
"""

from __future__ import annotations

import fnmatch
import json
import re
import subprocess
from pathlib import Path

from deployment.tools import needs, program

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "Dockerfile").read_text()
IGNORED = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]


def instructions() -> list[tuple[str, str]]:
    joined = re.sub(r"\\\n\s*", " ", "\n".join(line for line in TEXT.splitlines() if not line.startswith("#")))
    pairs = [line.partition(" ") for line in joined.splitlines() if line.strip()]
    return [(word, rest.strip()) for word, _, rest in pairs]


STEPS = instructions()


def of(word: str) -> list[str]:
    return [rest for name, rest in STEPS if name == word]


def test_there_is_a_stage_to_build_and_a_slim_one_to_run() -> None:
    first, last = of("FROM")
    assert re.fullmatch(r"python:3\.11-slim-\w+ AS build", first)
    assert re.fullmatch(r"python:3\.11-slim-\w+", last)


def test_every_source_exists_and_is_sent_to_the_builder() -> None:
    sources = [word for rest in of("COPY") if not rest.startswith("--from") for word in rest.split()[:-1]]
    assert sources
    kept = [pattern.removeprefix("!") for pattern in IGNORED if pattern.startswith("!")]
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(fnmatch.fnmatch(source, pattern) for pattern in kept), f".dockerignore leaves {source} out"


def test_nothing_is_sent_but_what_is_named() -> None:
    assert IGNORED[0] == "*"
    assert not any(".env" in pattern or "git" in pattern for pattern in IGNORED)


def test_only_the_pins_of_the_cloud_are_installed() -> None:
    commands = " ".join(of("RUN"))
    assert re.findall(r"-r (\S+)", commands) == ["requirements-cloud.txt"]
    assert "--no-deps ." in commands
    assert "edge" not in commands


def test_it_does_not_run_as_root() -> None:
    user = len(STEPS) - 1 - [word for word, _ in reversed(STEPS)].index("USER")
    assert STEPS[user][1] == "10001"
    assert [word for word, _ in STEPS[user:] if word in {"RUN", "COPY"}] == []


def test_health_check_asks_the_live_route_at_the_port_of_the_api() -> None:
    [check] = of("HEALTHCHECK")
    command = json.loads(check[check.index("[") :])
    assert command[:2] == ["python", "-c"]
    compile(command[2], "healthcheck", "exec")
    assert "/health/live" in command[2]
    assert 'environ["PORT"]' in command[2]


def test_api_is_the_process_that_gets_the_signal() -> None:
    [command] = of("CMD")
    shell, option, script = json.loads(command)
    assert (shell, option) == ("sh", "-c")
    assert script == 'exec alexandria api --host 0.0.0.0 --port "$PORT"'
    assert "PORT=8000" in " ".join(of("ENV"))
    assert of("EXPOSE") == ["8000"]


@needs("hadolint")
def test_lint_is_clean() -> None:
    done = subprocess.run([program("hadolint"), "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
