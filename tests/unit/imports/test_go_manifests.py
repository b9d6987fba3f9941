from __future__ import annotations

import pytest

from alexandria.domain.imports.go.manifests import Manifest, parse_manifest


def test_a_go_mod_with_every_directive() -> None:
    text = """
// A comment.
module example.com/m/v2 // indirect

go 1.24
toolchain go1.24.1
require github.com/a/b v1.0.0
require (
	github.com/c/d v1.0.0 // indirect
	"github.com/e/f" v0.0.0-2024
)
exclude github.com/a/b v0.9.0
replace github.com/a/b => ../b
replace (
	github.com/c/d v1.0.0 => ./d
	github.com/e/f => github.com/g/h v1.0.0
)
retract [v1.0.0, v1.1.0]
"""
    assert parse_manifest("x/y", text) == Manifest(
        "x/y",
        "example.com/m/v2",
        frozenset({"github.com/a/b", "github.com/c/d", "github.com/e/f"}),
        (("github.com/a/b", "x/b"), ("github.com/c/d", "x/y/d")),
    )


def test_a_go_work() -> None:
    text = "go 1.24\nuse .\nuse (\n\t./a\n\t../b // c\n)\nreplace x => ./z\n"
    assert parse_manifest("w", text) == Manifest("w", replaces=(("x", "w/z"),), uses=frozenset({"w", "w/a", "b"}))


@pytest.mark.parametrize("target", ["../../out", "/abs", "github.com/x/y v1", "", "dir/without/dot"])
def test_a_replacement_that_is_no_directory_of_the_repository_is_none(target: str) -> None:
    assert parse_manifest("a", f"module m\nreplace x => {target}\n").replaces == ()


def test_windows_line_ends_and_the_first_module_line_count() -> None:
    assert parse_manifest("", "module a\r\nmodule b\r\n").module == "a"
