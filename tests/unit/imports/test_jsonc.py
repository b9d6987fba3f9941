from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexandria.domain.imports.javascript import jsonc

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
TRICKY = st.text(alphabet='/*"\\,]}: \n', max_size=6)
OBJECTS = st.dictionaries(TRICKY, st.lists(TRICKY, min_size=1, max_size=2), min_size=1, max_size=2)


@settings(max_examples=200)
@given(
    value=VALUES | OBJECTS,
    indent=st.sampled_from([None, 2]),
    ascii_only=st.booleans(),
)
def test_json_is_read_as_json(value: object, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert jsonc.loads(text) == json.loads(text)


@settings(max_examples=150)
@given(value=OBJECTS, data=st.data())
def test_comments_and_trailing_commas_change_nothing(value: dict[str, list[str]], data: st.DataObject) -> None:
    noise = st.sampled_from(["", " ", "\n", "// c, ]}\n", '/* " , } */', "/**/"])

    def gap() -> str:
        return data.draw(noise)

    members = []
    for name, items in value.items():
        listed = ",".join(gap() + json.dumps(item) + gap() for item in items)
        members.append(f"{gap()}{json.dumps(name)}{gap()}:{gap()}[{listed},{gap()}]")
    text = "\ufeff" + gap() + "{" + ",".join(members) + gap() + "," + gap() + "}" + gap()
    assert jsonc.loads(text) == value


@settings(max_examples=200)
@given(text=st.text() | TRICKY)
def test_anything_else_is_a_value_error(text: str) -> None:
    try:
        jsonc.loads(text)
    except ValueError:
        assert jsonc.load_object(text) == {}


@pytest.mark.parametrize(
    "text",
    ["", "{", "[" * 100_000, '{"a":' * 50_000, '"' + '\\"' * 100_000, "/*" * 100_000, '{"a": 1} x', "{'a': 1}", "{,}"],
)
def test_malformed_text_is_an_empty_object_in_linear_time(text: str) -> None:
    assert jsonc.load_object(text) == {}


@pytest.mark.parametrize(("text", "value"), [("[1]", {}), ("null", {}), ('{"a": 1}', {"a": 1})])
def test_only_objects_are_objects(text: str, value: dict[str, int]) -> None:
    assert jsonc.load_object(text) == value


def test_strings_of_a_list_or_a_lone_string() -> None:
    assert jsonc.strings("a") == ["a"]
    assert jsonc.strings(["a", 1, None, "b"]) == ["a", "b"]
    assert jsonc.strings({"a": "b"}) == []
