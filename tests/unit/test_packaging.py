"""The pins: exact, within pyproject's ranges, each package once and in the right file."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
GROUPS = ("base", "cloud", "edge", "dev")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HEAVY = re.compile(r"torch.*|tree-sitter.*|gitpython|gitdb|dulwich|pygit2|nvidia.*|triton|transformers|scipy")


def lines_of(group: str) -> list[str]:
    text = (ROOT / f"requirements-{group}.txt").read_text()
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def pins_of(group: str) -> dict[str, str]:
    pins = {}
    for line in lines_of(group):
        if not line.startswith("-r "):
            name, _, version = line.partition("==")
            assert re.fullmatch(r"[a-z0-9-]+", name), f"{group}: {line!r} is no exact pin of a canonical name"
            assert re.fullmatch(r"[0-9][0-9a-z.]*", version), f"{group}: {line!r} is no exact pin"
            pins[name] = version
    return pins


def ranges_of(group: str) -> list[Requirement]:
    texts = PROJECT["dependencies"] if group == "base" else PROJECT["optional-dependencies"][group]
    return [Requirement(text) for text in texts]


@pytest.mark.parametrize("group", ["cloud", "edge"])
def test_each_half_begins_with_what_both_need(group: str) -> None:
    assert lines_of(group)[0] == "-r requirements-base.txt"


@pytest.mark.parametrize("group", GROUPS)
def test_every_pin_is_within_the_range_of_pyproject(group: str) -> None:
    everything = {name: version for g in GROUPS for name, version in pins_of(g).items()}
    for requirement in ranges_of(group):
        version = everything[canonicalize_name(requirement.name)]
        assert SpecifierSet(str(requirement.specifier)).contains(version), f"{requirement} does not admit {version}"


def test_no_package_is_pinned_twice() -> None:
    names = [line.partition("==")[0] for group in GROUPS for line in lines_of(group) if not line.startswith("-r ")]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("group", GROUPS)
def test_a_package_that_pyproject_names_for_a_half_is_pinned_for_that_half(group: str) -> None:
    reachable = {"base": ("base",), "cloud": ("base", "cloud"), "edge": ("base", "edge"), "dev": GROUPS}[group]
    pinned = {name for g in reachable for name in pins_of(g)}
    assert {canonicalize_name(requirement.name) for requirement in ranges_of(group)} <= pinned


@pytest.mark.parametrize("group", ["base", "cloud"])
def test_nothing_heavy_is_in_what_the_cloud_installs(group: str) -> None:
    assert [name for name in pins_of(group) if HEAVY.fullmatch(name)] == []


def test_the_edge_has_what_parses_and_trains() -> None:
    assert {"torch", "torch-geometric", "tree-sitter"} <= pins_of("edge").keys()
