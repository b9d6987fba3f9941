"""The list of what was asked for: no line is missing, every test that is named exists, every property is tested."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/requirements.md").read_text()
ROWS = re.findall(r"^\| (R\d+\.\d+|E\d+|N\d+|\d+) \| (.+?) \| (.+) \|$", PAGE, re.MULTILINE)
# How many there are in each group of the user's list.
ASKED = {1: 6, 2: 10, 3: 7, 4: 5, 5: 6, 6: 5, 7: 9, 8: 6, 9: 6, 10: 5, 11: 6, 12: 6}
PROPERTIES = range(1, 19)
EXAMPLES = 100


@cache
def module(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text())


def functions_of(path: str) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    found = (node for node in ast.walk(module(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {node.name: node for node in found if node.name.startswith("test_")}


def named() -> Iterator[tuple[str, str]]:
    for path, _, name in re.findall(r"`(tests/[\w/.]+\.py)(::(\w+))?`", PAGE):
        yield path, name


def test_every_requirement_has_a_line_and_only_one() -> None:
    wanted = [f"R{group}.{number}" for group, count in ASKED.items() for number in range(1, count + 1)]
    numbers = [number for number, _, _ in ROWS]
    assert [number for number in numbers if number.startswith("R")] == wanted
    assert [int(number) for number in numbers if number.isdigit()] == list(PROPERTIES)


def test_every_line_names_a_test_or_a_record_or_says_that_it_is_not_proven() -> None:
    for number, _, proof in ROWS:
        assert re.search(r"`tests/|\]\(adr/|\bnot\b", proof), f"{number} says nothing of what proves it"
        assert "{" not in proof, f"{number} was not filled in"


@pytest.mark.parametrize(("path", "name"), sorted(set(named())), ids=lambda value: str(value)[-60:])
def test_every_test_that_is_named_exists(path: str, name: str) -> None:
    assert (ROOT / path).is_file()
    assert not name or name in functions_of(path)


@pytest.mark.parametrize("number", PROPERTIES)
def test_every_property_is_proven_under_its_number(number: int) -> None:
    [proof] = [proof for row, _, proof in ROWS if row == str(number)]
    assert f"::test_property_{number:02d}_" in proof


def properties() -> list[tuple[str, str]]:
    paths = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py"))
    return [(path, name) for path in paths for name in functions_of(path) if name.startswith("test_property_")]


def examples_of(path: str, name: str) -> int | None:
    """Return how many examples Hypothesis tries at least; None if it does not drive the test.

    What cannot be read from the text counts as none: a number that is computed may be anything.
    """
    texts = [ast.unparse(decorator) for decorator in functions_of(path)[name].decorator_list]
    if not any(text.startswith("given(") for text in texts):
        return None
    # `@settings(…)` itself, or a name that the module gave to one.
    named = {
        ast.unparse(node.targets[0]): ast.unparse(node.value)
        for node in module(path).body
        if isinstance(node, ast.Assign)
    }
    chosen = [text for text in (named.get(text, text) for text in texts) if text.startswith("settings(")]
    given = [re.search(r"max_examples=(\d+)[,)]", text) for text in chosen if "max_examples" in text]
    return min((int(count[1]) if count else 0 for count in given), default=EXAMPLES)


def test_every_property_has_a_test_that_hypothesis_drives() -> None:
    driven = {int(name.split("_")[2]) for path, name in properties() if examples_of(path, name) is not None}
    assert driven == set(PROPERTIES)


@pytest.mark.parametrize(("path", "name"), properties(), ids=lambda value: str(value)[-60:])
def test_every_property_is_tried_on_a_hundred_examples(path: str, name: str) -> None:
    tried = examples_of(path, name)
    if tried is None:
        pytest.skip("its cases are written out")
    assert tried >= EXAMPLES


def test_no_profile_of_hypothesis_changes_how_many_are_tried() -> None:
    # What a module does not say itself is that of the one profile, which is as many as Hypothesis's own default.
    assert settings.default is not None
    assert settings.default.max_examples == EXAMPLES
    loading = [path for path in (ROOT / "tests").rglob("conftest.py") if "load_profile" in path.read_text()]
    assert loading == [ROOT / "tests/conftest.py"]


def test_every_property_test_stands_in_the_list() -> None:
    assert set(properties()) - set(named()) == set()
