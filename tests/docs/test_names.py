"""Names in the documents: variables, symptoms, commands, options, metrics, paths."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from alexandria.entrypoints.cli import app
from alexandria.entrypoints.settings import Settings, variable_of

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
GUIDES = sorted((ROOT / "docs/guides").glob("*.md"))
SETTINGS = {variable_of(name) for name in Settings.model_fields} | {"NEON_DATABASE_URL"}
SOURCES = "\n".join(path.read_text() for path in sorted((ROOT / "src").rglob("*.py")))
COMMANDS: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]  # it is a group

# Variables of others that the documents name, and who reads them.
FOREIGN = {
    "HTTPS_PROXY": "curl and most clients; said not to be read",
    "LOCALAPPDATA": "Windows",
    "PIP_EXTRA_INDEX_URL": "pip",
    "PYTHON_VERSION": "Render",
    "RENDER_SCHEMA": "tests/deployment/test_render.py",
    "CLOUD_VENV": "scripts/check_cloud.sh",
    "TORCH_INDEX_URL": "setup_edge.sh",
    "XDG_DATA_HOME": "the XDG specification",
    "GIT_ALLOW_PROTOCOL": "git",
    "GIT_INDEX_FILE": "git",
    "GIT_OBJECT_DIRECTORY": "git",
}
NO_VARIABLES = {"TYPE_CHECKING", "VECTOR_STORES"}  # names of Python, and of a test


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def code_of(page: Path) -> str:
    """Return all that the page shows as code."""
    text = page.read_text()
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    return "\n".join([*fenced, *inline])


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_variable_of_a_page_is_a_setting_or_known_to_be_of_another(page: Path) -> None:
    named = set(re.findall(r"(?<![\w.])[A-Z][A-Z0-9]*_[A-Z0-9_]*[A-Z0-9]\b(?!\()", code_of(page)))
    constants = {name for name in named if re.search(rf"^{name}\b", SOURCES, re.MULTILINE)}
    assert named - SETTINGS - FOREIGN.keys() - NO_VARIABLES - constants == set()


def test_what_is_set_in_a_command_is_a_variable() -> None:
    words_of_systemd = {"READY", "STATUS", "STOPPING", "WATCHDOG"}
    ours = words_of_systemd | {
        "PYTHON",
        "VENV",
        "REPO",
        "ARGS",
        "JOB",
        "NAME",
        "PYTHONPATH",
        "TOKEN",
        "DEVICE",
        "MODE",
        "THREADS",
    }
    for page in PAGES:
        set_there = set(re.findall(r"(?<![\w-])([A-Z][A-Z_]+)=", code_of(page)))
        assert set_there - SETTINGS - FOREIGN.keys() - ours == set(), name_of(page)


def test_every_setting_is_in_the_reference() -> None:
    reference = (ROOT / "docs/settings.md").read_text()
    assert [name for name in SETTINGS if f"`{name}`" not in reference] == []


def symptoms() -> list[str]:
    text = (ROOT / "docs/guides/troubleshooting.md").read_text()
    headings = re.findall(r"^### (.+)$", text, re.MULTILINE)
    return [re.sub(r"^`+ ?| ?`+$", "", heading) for heading in headings]


@pytest.mark.parametrize("symptom", symptoms())
def test_every_symptom_is_a_text_that_the_program_prints(symptom: str) -> None:
    # Strings are broken over lines and filled in by f-strings: each word of what stands fast must follow the other.
    if symptom == "No module named 'torch'":
        pytest.skip("this one is Python's own")
    flat = re.sub(r"\"\s*\n\s*f?\"", "", SOURCES)
    parts = [re.escape(part.strip()) for part in symptom.split("…")]
    pattern = r"[^\n]{0,60}".join(parts)
    assert re.search(pattern, flat), f"nothing prints {symptom!r}"


def test_there_are_symptoms() -> None:
    assert len(symptoms()) > 35


@pytest.mark.parametrize("page", GUIDES, ids=name_of)
def test_every_command_of_a_guide_exists_with_its_options(page: Path) -> None:
    for command, rest in re.findall(r"(?<![\w/.-])(?:\S*bin/)?alexandria ([a-z]+)([^`\n]*)", code_of(page)):
        if command == "migrated":  # a message, in which the name is that of the program
            continue
        assert command in COMMANDS, f"there is no command {command}"
        known = {option for parameter in COMMANDS[command].params for option in parameter.opts}
        assert set(re.findall(r"(?<=\s)--[a-z-]+", rest)) - known == set(), f"alexandria {command} {rest}"


@pytest.mark.parametrize("page", [*GUIDES, ROOT / "docs/cost.md"], ids=name_of)
def test_every_file_that_a_guide_names_exists(page: Path) -> None:
    named = set(
        re.findall(r"(?<![\w/.@=-])((?:src/alexandria|tests|scripts|benchmarks|deploy|docs)/[\w./-]*\w)", code_of(page))
    )
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", GUIDES, ids=name_of)
def test_every_block_says_what_it_is(page: Path) -> None:
    opened = re.findall(r"^```(.*)$", page.read_text(), re.MULTILINE)[::2]
    assert [language for language in opened if language not in {"sh", "text", "python", "json", "toml", "yaml"}] == []


def test_every_metric_of_the_guide_and_the_alerts_is_one_that_the_api_shows() -> None:
    shown = set(re.findall(r'"(alexandria_\w+)"', (ROOT / "src/alexandria/entrypoints/api/metrics.py").read_text()))
    text = "".join((ROOT / name).read_text() for name in ("docs/guides/monitoring.md", "deploy/prometheus/alerts.yml"))
    named = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in re.findall(r"\balexandria_[a-z_]+", text)}
    assert named == shown


def test_every_alert_is_in_the_guide() -> None:
    alerts = re.findall(r"- alert: (\w+)", (ROOT / "deploy/prometheus/alerts.yml").read_text())
    guide = re.findall(r"^\| `(Alexandria\w+)` \|", (ROOT / "docs/guides/monitoring.md").read_text(), re.MULTILINE)
    assert guide == alerts
