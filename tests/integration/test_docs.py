"""The documents say what is true: modules, links, commands, and the tour, which is run."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from alexandria.domain.job import TRANSITIONS
from support.command import environment
from support.trees import write_tree

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()


def names_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_every_module_that_the_architecture_names_exists() -> None:
    pattern = r"\b((?:domain|ports|application|adapters|entrypoints)(?:\.[a-z_]+)+)"
    named = set(re.findall(pattern, ARCHITECTURE))
    assert len(named) > 15
    missing = []
    for dotted in sorted(named):
        parent, _, name = f"alexandria.{dotted}".rpartition(".")
        # A module, or a function or class of one: `application.index.index_repository`.
        if not hasattr(import_module(parent), name) and find_spec(f"alexandria.{dotted}") is None:
            missing.append(dotted)
    assert missing == []


def test_every_port_is_in_the_table_of_the_architecture() -> None:
    shared = {"catalog_row", "exact_search", "job_endings", "job_json", "packed", "script_store", "__init__"}
    ports = {path.stem for path in (ROOT / "src/alexandria/ports").glob("*.py")} - shared
    assert {port for port in ports if f"| `ports.{port}` |" not in ARCHITECTURE} == set()


def test_the_diagram_of_a_job_is_the_table_of_its_transitions() -> None:
    drawn = set(re.findall(r"^ +(\w+) --> (\w+): (.+)$", ARCHITECTURE, re.MULTILINE))
    assert drawn == {(str(state), str(after), str(event)) for (state, event), after in TRANSITIONS.items()}


@pytest.mark.parametrize("page", PAGES, ids=names_of)
def test_every_link_leads_to_a_file_and_every_anchor_to_a_heading(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{names_of(page)} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", h).strip().lower().replace(" ", "-") for h in headings}


def test_every_record_of_a_decision_is_in_their_list() -> None:
    listed = (ROOT / "docs/adr/README.md").read_text()
    assert [p.name for p in sorted((ROOT / "docs/adr").glob("0*.md")) if f"({p.name})" not in listed] == []


def test_the_python_tour_of_the_readme_runs(tmp_path: Path) -> None:
    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    sources = {
        str(path.relative_to(ROOT)): path.read_bytes() for path in (ROOT / "src/alexandria/domain").rglob("*.py")
    }
    tour = write_tree(tmp_path / "here", {**sources, "tour.py": code})
    done = subprocess.run(
        [sys.executable, "tour.py"],
        cwd=tour,
        env=environment(tmp_path / "data"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, *hits = done.stdout.splitlines()
    assert re.fullmatch(r"\d+ files, \d+ edges, edge AUC 0\.\d+", first)
    assert len(hits) == 10
    assert all(re.fullmatch(r"-?\d\.\d{3} \S+\.py", hit) for hit in hits)


def test_every_command_line_of_the_readme_names_commands_and_options_that_exist() -> None:
    reference = (ROOT / "docs/cli.md").read_text()
    lines = re.findall(r"^\$ alexandria (\w+)(.*)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(lines) > 6
    for command, rest in lines:
        _, _, section = reference.partition(f"\n## alexandria {command}\n")
        assert section, f"there is no command {command}"
        text = section.partition("\n## ")[0]
        for option in re.findall(r"(?<=\s)--?[a-z]+", rest):
            assert option in text, f"alexandria {command} has no {option}"
