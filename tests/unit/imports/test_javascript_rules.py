"""The pieces that the resolution of JavaScript is made of."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexandria.domain.imports.javascript.build_outputs import sources_of
from alexandria.domain.imports.javascript.bundlers import is_bundler_config
from alexandria.domain.imports.javascript.files import Glob, join, split_source_extension
from alexandria.domain.imports.javascript.packages import Package, export_targets, split_name, yaml_list


@pytest.mark.parametrize(
    ("directory", "relative", "path"),
    [
        ("", "a", "a"),
        ("a/b", "./c", "a/b/c"),
        ("a/b", "../../c", "c"),
        ("a", "..", ""),
        ("", ".", ""),
        ("a", "../..", None),
        ("a", "b//c/./d/", "a/b/c/d"),
    ],
)
def test_join_normalizes_and_stays_inside(directory: str, relative: str, path: str | None) -> None:
    assert join(directory, relative) == path


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("a/b.d.ts", ("a/b", ".d.ts")),
        ("a/b.d.mts", ("a/b", ".d.mts")),
        ("a/b.service.ts", ("a/b.service", ".ts")),
        ("a/b.css", ("a/b.css", "")),
        ("a/.js", ("a/.js", "")),
        ("a.js/b", ("a.js/b", "")),
    ],
)
def test_source_extension_is_split_off(path: str, parts: tuple[str, str]) -> None:
    assert split_source_extension(path) == parts


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("packages/*", "packages/a", True),
        ("packages/*", "packages/a/b", False),
        ("packages/*", "packages", False),
        ("packages/**", "packages/a/b", True),
        ("packages/**", "packages", True),
        ("**", "", True),
        ("**/test", "a/b/test", True),
        ("**/test", "test", True),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
        ("a/**/b", "a/x/y/c", False),
        ("{a,b/{c,d}}/x", "b/d/x", True),
        ("{a,b/{c,d}}/x", "b/x", False),
        ("app/[id]/*.ts", "app/[id]/page.ts", True),
        ("app/[id]/*.ts", "app/i/page.ts", False),
        ("a?c", "abc", True),
        ("a{b", "a{b", True),
        ("", "a", False),
    ],
)
def test_glob(pattern: str, path: str, matches: bool) -> None:
    assert Glob(pattern).matches(path) is matches


@settings(max_examples=300)
@given(
    pattern=st.lists(st.sampled_from(["a", "b", "*", "**", "a*", "*b", "?"]), max_size=5),
    path=st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=5),
)
def test_glob_agrees_with_a_regular_expression(pattern: list[str], path: list[str]) -> None:
    # Every segment, and every path, with a slash behind it: so `**` is any number of them.
    expression = "".join(
        "(?:[^/]+/)*" if part == "**" else part.replace("*", "[^/]*").replace("?", "[^/]") + "/" for part in pattern
    )
    expected = pattern != [] and re.fullmatch(expression, "/".join(path) + "/") is not None
    assert Glob("/".join(pattern)).matches("/".join(path)) is expected


def test_glob_of_a_stranger_takes_no_exponential_time() -> None:
    assert not Glob("**/a/" * 50 + "b").matches("/".join(["a"] * 400))
    assert not Glob("a*" * 200 + "b").matches("a" * 2000)
    assert not Glob("{a,b}" * 100).matches("ab")


EXPORTS = {
    ".": {"import": {"types": "./i.d.ts", "default": "./i.mjs"}, "require": "./i.cjs"},
    "./exact": "./exact.js",
    "./p/*": "./any/*.js",
    "./p/*.css": "./styles/*.css",
    "./p/deep/*": "./deep/*/*.js",
    "./p/none/*": None,
    "./old/": "./legacy/",
    "./list": [{"node": "./node.js"}, "./rest.js"],
}


@pytest.mark.parametrize(
    ("subpath", "conditions", "targets"),
    [
        (".", {"import"}, ["./i.mjs"]),
        (".", {"import", "types"}, ["./i.d.ts", "./i.mjs"]),
        (".", {"require"}, ["./i.cjs"]),
        (".", set(), []),
        (".", None, ["./i.d.ts", "./i.mjs", "./i.cjs"]),
        ("./exact", set(), ["./exact.js"]),
        ("./p/a/b", set(), ["./any/a/b.js"]),
        ("./p/a.css", set(), ["./styles/a.css"]),
        ("./p/deep/x", set(), ["./deep/x/x.js"]),
        ("./p/none/x", set(), []),
        ("./p/", set(), []),
        ("./old/x.js", set(), ["./legacy/x.js"]),
        ("./list", set(), ["./rest.js"]),
        ("./list", {"node"}, ["./node.js", "./rest.js"]),
        ("./p/*", set(), ["./any/*.js"]),
        ("./absent", None, []),
    ],
)
def test_export_targets(subpath: str, conditions: set[str] | None, targets: list[str]) -> None:
    assert export_targets(EXPORTS, subpath, conditions) == targets


@pytest.mark.parametrize("sugar", ["./a.js", ["./a.js"], {"default": "./a.js"}, {"import": "./a.js", "x": "./b.js"}])
def test_exports_without_keys_are_the_entry_alone(sugar: object) -> None:
    assert export_targets(sugar, ".", {"import"}) == ["./a.js"]
    assert export_targets(sugar, "./a", {"import"}) == []


@pytest.mark.parametrize(
    ("specifier", "parts"),
    [
        ("a", ("a", "")),
        ("a/b/c", ("a", "b/c")),
        ("@a/b", ("@a/b", "")),
        ("@a/b/c/d", ("@a/b", "c/d")),
        ("@a", ("@a", "")),
    ],
)
def test_package_name_is_split_from_the_path_in_it(specifier: str, parts: tuple[str, str]) -> None:
    assert split_name(specifier) == parts


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("packages:\n  - a\n  - 'b/*'\n  - \"c/**\"\n", ["a", "b/*", "c/**"]),
        ("packages:\n- a # why\n# between\n\n-   '!b'  # not\ncatalog:\n  - x\n", ["a", "!b"]),
        ("other: 1\npackages: [a, 'b', \"c\"] # end\n", ["a", "b", "c"]),
        ("packages: [\n  a, # first\n  'b',\n]\n", ["a", "b"]),
        ("'packages':\r\n  - 'it''s'\r\n", ["it's"]),
        ("\ufeffpackages:\n  - a", ["a"]),
        ("packages: []", []),
        ("packages: [a", ["a"]),
        ("packages:", []),
        ("nested:\n  packages:\n    - a\n", []),
        ("", []),
    ],
)
def test_list_in_yaml(text: str, items: list[str]) -> None:
    assert yaml_list(text, "packages") == items


@pytest.mark.parametrize(
    ("output", "source"),
    [
        ("p/dist/index.js", "p/src/index"),
        ("p/dist/esm/a/b.mjs", "p/src/a/b"),
        ("p/lib/a.js", "p/src/a"),
        ("p/dist/name.min.js", "p/src/name"),
        ("p/dist/name.cjs.prod.js", "p/src/name"),
        ("p/dist/name.esm-bundler.js", "p/src/name"),
        ("p/dist/types/a.d.ts", "p/src/a"),
        ("p/index.cjs", "p/src/index"),
        ("p/dist/src/a.js", "p/src/a"),
        ("p/a.js", "p/a"),
    ],
)
def test_source_of_a_build_output_is_among_the_candidates(output: str, source: str) -> None:
    assert source in list(sources_of(output, Package("p", "p", {}), [], ()))


def test_file_outside_the_package_has_no_candidates() -> None:
    assert list(sources_of("q/dist/index.js", Package("p", "p", {}), [], ())) == []


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("vite.config.ts", True),
        ("a/webpack.prod.js", True),
        (".babelrc", True),
        ("babel.config.json", True),
        ("vite.md", False),
        ("a/vite/config.ts", False),
        ("src/invite.js", False),
    ],
)
def test_configurations_of_bundlers_are_known_by_name(path: str, expected: bool) -> None:
    assert is_bundler_config(path) is expected
