"""Each rule of Go's imports, on a small repository."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from alexandria.domain.imports import Outcome, ReadStatus, RepoTree, Resolved, SourceFacts, resolve_imports
from alexandria.domain.language import Language
from support.repos import edges_of, facts_of, outcomes_of

MOD = "module example.com/m\n\ngo 1.24\n"


def imports(files: Mapping[str, str | bytes]) -> set[tuple[str, str]]:
    return {pair for pair, kind in edges_of(files).items() if kind == "import"}


def implicit(files: Mapping[str, str | bytes]) -> set[tuple[str, str]]:
    return {pair for pair, kind in edges_of(files).items() if kind == "implicit"}


def written(files: Mapping[str, str | bytes], path: str) -> list[Outcome]:
    return [outcome for outcome in outcomes_of(files)[path].outcomes if outcome.line]


def uses(*paths_and_names: tuple[str, str]) -> str:
    """A program that imports paths and uses one name of each."""
    lines = "".join(f'import "{path}"\n' for path, _ in paths_and_names)
    return f"package main\n{lines}func main() {{ {'; '.join(f'_ = {name}' for _, name in paths_and_names)} }}\n"


def test_an_import_means_the_files_that_declare_what_is_used() -> None:
    files = {
        "go.mod": MOD,
        "main.go": uses(("example.com/m/shop", "shop.Open")),
        "shop/open.go": "package shop\nfunc Open() {}\n",
        "shop/close.go": "package shop\nfunc Close() {}\n",
    }
    assert edges_of(files) == {("main.go", "shop/open.go"): "import"}


@pytest.mark.parametrize(
    "declaration",
    [
        "func Name() {}",
        "func Name[T any](t T) T { return t }",
        "type Name struct{}",
        "type Name[K comparable] map[K]int",
        "type Name = int",
        "type (\n\tA int\n\tName int\n)",
        "var Name = 1",
        "var a, Name = 1, 2",
        "var (\n\ta = 1\n\tName int\n)",
        "const Name = 1",
        "const (\n\ta = iota\n\tName\n)",
        "const a, Name, c = 1, 2, 3",
    ],
)
def test_every_kind_of_declaration_counts(declaration: str) -> None:
    files = {
        "go.mod": MOD,
        "main.go": uses(("example.com/m/p", "p.Name")),
        "p/a.go": f"package p\n{declaration}\n",
        "p/b.go": "package p\nfunc Other() { type Name int; var Name2 Name; _ = Name2 }\nfunc (o *Other2) Name() {}\n",
    }
    assert imports(files) == {("main.go", "p/a.go")}


@pytest.mark.parametrize(
    "use",
    [
        "var x p.Name",
        "var x []*p.Name",
        "var x map[p.Name]int",
        "type T struct{ p.Name }",
        "type T struct{ f func(p.Name) }",
        "type T interface{ p.Name }",
        "type T interface{ ~int | p.Name }",
        "func f[T p.Name]() {}",
        "func (t *T) f() (x p.Name, err error) { return }",
        "func f() { p.Name() }",
        "func f() { p.Name[int](1) }",
        "func f() { _ = p.Name{A: 1} }",
        "func f() { _ = p.Name[int]{} }",
        "func f() { x := p.\n\t\tName.Field.Method() }",
        "func f() { p . Name() }",
        "func f(x p. Name) {}",
        "func f() { switch x.(type) { case p.Name: } }",
        "func f() { switch y { case p.Name: } }",
        "func f() { for range p.Name {} }",
        "func f() { _ = x.(*p.Name) }",
        "func f() { _ = map[int]int{p.Name: 1} }",
        "func f() { _ = T{Key: p.Name} }",
        "func f() { defer func() { go p.Name() }() }",
        "func f() { p.Name = 1 }",
        "func f() { x := new(p.Name) }",
        "func f() { x := new(p.Name(1)) }",
        "var x = [p.Name]int{}",
        "func f() { p := p.Name }",
    ],
)
def test_every_kind_of_use_counts(use: str) -> None:
    files = {
        "go.mod": MOD,
        "main.go": f'package main\nimport "example.com/m/p"\n{use}\n',
        "p/a.go": "package p\nvar Name int\n",
        "p/b.go": "package p\nvar Other int\n",
    }
    assert imports(files) == {("main.go", "p/a.go")}


@pytest.mark.parametrize(
    "body",
    [
        "func f(p T) { p.Name() }",
        "func f() (p T) { p.Name(); return }",
        "func (p T) f() { p.Name() }",
        "func f(a int, p ...T) { p.Name() }",
        "func f() { p := x; p.Name() }",
        "func f() { a, p := x(); { p.Name() } }",
        "func f() { var p T; p.Name() }",
        "func f() { const p = 1; _ = p.Name }",
        "func f() { for _, p := range x { p.Name() } }",
        "func f() { for p := x; ; { p.Name() } }",
        "func f() { if p := x; p.Name() {} else { p.Name() } }",
        "func f() { switch p := x; p.Name() { case 1: p.Name() } }",
        "func f() { switch p := x.(type) { case int: p.Name() } }",
        "func f() { switch x { case 1: p := x; p.Name() } }",
        "func f() { select { case p := <-c: p.Name() } }",
        "func f() { _ = func(p T) { p.Name() } }",
        "func f() { p := x; _ = func() { p.Name() } }",
        "func f() { x.p.Name() }",
    ],
)
def test_a_local_name_hides_the_package(body: str) -> None:
    files = {
        "go.mod": MOD,
        "main.go": f'package main\nimport "example.com/m/p"\n{body}\nvar _ = p.Other\n',
        "p/a.go": "package p\nvar Name int\n",
        "p/b.go": "package p\nvar Other int\n",
    }
    assert imports(files) == {("main.go", "p/b.go")}


@pytest.mark.parametrize(
    "body",
    [
        "func f(p p.Name) {}",
        "func f(g func(p int) error) { p.Name() }",
        "type I interface { M(p int) }\nfunc f() { p.Name() }",
        "func f() { { p := x; _ = p }; p.Name() }",
        "func f() { p.Name(); p := x; _ = p }",
        "func f() { if p := x; p {}; p.Name() }",
        "func f() { for _, p := range p.Name() {} }",
        "func f() { for _, p = range x { p.Name() } }",
        "func f() { switch x { case 1: p := x; _ = p; case 2: p.Name() } }",
        "func f() { p: for { p.Name(); break p } }",
        "func f() { _ = T{p: p.Name} }",
        "func f() { x.p = p.Name }",
        "func f() { var p, q = p.Name, 1 }",
        "func f() { a, p := x(), p.Name }",
        "func f() { p := func() { _ = `" + 1000 * "x" + "`; p.Name() }; p() }",
        "func f() { a, // p\n b /* p */ := x(); p.Name(a, b) }",
        "func f() { func(p T) {}(p.Name) }",
    ],
)
def test_a_local_name_hides_nothing_outside_of_its_scope(body: str) -> None:
    files = {
        "go.mod": MOD,
        "main.go": f'package main\nimport "example.com/m/p"\n{body}\n',
        "p/a.go": "package p\nvar Name int\n",
    }
    assert imports(files) == {("main.go", "p/a.go")}


def test_an_alias_names_the_package() -> None:
    files = {
        "go.mod": MOD,
        "main.go": 'package main\nimport q "example.com/m/p"\nvar p P\nvar _, _ = q.B, p.A\n',
        "p/a.go": "package p\nvar A int\n",
        "p/b.go": "package p\nvar B int\n",
    }
    assert imports(files) == {("main.go", "p/b.go")}


def test_a_package_has_the_name_of_its_clause_not_of_its_directory() -> None:
    files = {
        "go.mod": MOD,
        "main.go": uses(("example.com/m/go-yaml.v3", "yaml.Parse")),
        "go-yaml.v3/parse.go": "package yaml\nfunc Parse() {}\n",
        "go-yaml.v3/emit.go": "package yaml\nfunc Emit() {}\n",
    }
    assert imports(files) == {("main.go", "go-yaml.v3/parse.go")}


def test_a_dot_import_means_the_files_that_declare_the_names_used() -> None:
    files = {
        "go.mod": MOD,
        "main.go": 'package main\nimport . "example.com/m/p"\nfunc f() { A(); Own(); len(x) }\n',
        "own.go": "package main\nfunc Own() {}\n",
        "p/a.go": "package p\nfunc A() {}\nfunc len() {}\n",
        "p/b.go": "package p\nfunc B() {}\nfunc Own() {}\nfunc len() {}\n",
    }
    assert edges_of(files) == {("main.go", "p/a.go"): "import", ("main.go", "own.go"): "implicit"}


def test_a_blank_import_means_the_files_with_init_functions() -> None:
    files = {
        "go.mod": MOD,
        "main.go": 'package main\nimport _ "example.com/m/p"\nimport _ "example.com/m/q"\n',
        "p/a.go": "package p\nfunc init() {}\n",
        "p/b.go": "package p\nfunc B() { init := 1; _ = init }\n",
        "p/c.go": "package p\nfunc init() {}\n",
        "p/d_test.go": "package p\nfunc init() {}\n",
        "q/q.go": "package q\nvar Q int\nfunc (q T) init() {}\n",
    }
    assert imports(files) == {("main.go", "p/a.go"), ("main.go", "p/c.go")}
    assert [o.resolved for o in written(files, "main.go")] == [Resolved.INSIDE] * 2


def test_init_functions_of_one_package_do_not_know_each_other() -> None:
    files = {"a.go": "package p\nfunc init() {}\n", "b.go": "package p\nfunc init() {}\nfunc b() {}\n"}
    files["c.go"] = "package p\nfunc c() { init() }\n"  # does not compile: init cannot be called
    assert edges_of(files) == {}


def test_external_tests_see_their_package_and_what_its_tests_declare() -> None:
    files = {
        "go.mod": MOD,
        "p/a.go": "package p\nfunc A() {}\nfunc b() {}\n",
        "p/export_test.go": "package p\nvar B = b\n",
        "p/p_test.go": 'package p_test\nimport "example.com/m/p"\nfunc TestA() { p.A(); p.B(); help() }\n',
        "p/help_test.go": "package p_test\nfunc help() {}\n",
        "q/q.go": 'package q\nimport "example.com/m/p"\nvar _ = p.B\n',
        "q/q_test.go": 'package q\nimport "example.com/m/p"\nvar _ = p.B\n',
    }
    assert edges_of(files) == {
        ("p/export_test.go", "p/a.go"): "implicit",
        ("p/p_test.go", "p/a.go"): "import",
        ("p/p_test.go", "p/export_test.go"): "import",
        ("p/p_test.go", "p/help_test.go"): "implicit",
    }


def test_tests_see_their_package_and_nobody_sees_tests() -> None:
    files = {
        "a.go": "package p\nfunc A() { helper() }\n",
        "b.go": "package p\nfunc B() { A() }\n",
        "a_test.go": "package p\nfunc helper() { A() }\n",
        "b_test.go": "package p\nfunc TestB() { helper() }\n",
    }
    assert implicit(files) == {("b.go", "a.go"), ("a_test.go", "a.go"), ("b_test.go", "a_test.go")}


def test_files_for_all_systems_count() -> None:
    files = {
        "go.mod": MOD,
        "main.go": uses(("example.com/m/p", "p.Open")),
        "p/p_linux.go": "package p\nfunc Open() { shared() }\n",
        "p/p_other.go": "//go:build !linux\n\npackage p\nfunc Open() { shared() }\n",
        "p/shared.go": "package p\nfunc shared() { Open() }\n",
    }
    assert edges_of(files) == {
        ("main.go", "p/p_linux.go"): "import",
        ("main.go", "p/p_other.go"): "import",
        ("p/shared.go", "p/p_linux.go"): "implicit",
        ("p/shared.go", "p/p_other.go"): "implicit",
        ("p/p_linux.go", "p/shared.go"): "implicit",
        ("p/p_other.go", "p/shared.go"): "implicit",
    }


def test_twins_that_call_themselves_have_no_edge_to_each_other() -> None:
    files = {"a_linux.go": "package p\nfunc f() { f() }\n", "a_windows.go": "package p\nfunc f() { f() }\n"}
    assert edges_of(files) == {}


def test_programs_beside_a_package_are_not_imported() -> None:
    files = {
        "go.mod": MOD,
        "main.go": uses(("example.com/m/p", "p.Name")),
        "p/a.go": "package p\nvar Name int\n",
        "p/gen.go": "//go:build ignore\n\npackage main\nvar Name int\nfunc main() {}\n",
        "p/gen2.go": "//go:build ignore\n\npackage main\nvar Name int\n",
    }
    assert edges_of(files) == {("main.go", "p/a.go"): "import"}


def test_cgo_is_external() -> None:
    (outcome,) = written({"a.go": 'package p\n// #include <stdio.h>\nimport "C"\nvar _ = C.x\n'}, "a.go")
    assert (outcome.line, outcome.specifier, outcome.resolved) == (3, "C", Resolved.EXTERNAL)


def test_the_longest_module_path_wins_and_a_nested_module_is_its_own() -> None:
    files = {
        "go.mod": MOD,
        "tools/go.mod": "module example.com/m/tools\n",
        "main.go": uses(("example.com/m/tools/lint", "lint.Run"), ("example.com/m/lib", "lib.Do")),
        "lib/lib.go": "package lib\nfunc Do() {}\n",
        "tools/lint/lint.go": "package lint\nfunc Run() {}\n",
    }
    assert imports(files) == {("main.go", "tools/lint/lint.go"), ("main.go", "lib/lib.go")}


def test_a_directory_of_a_nested_module_is_not_of_the_outer_one() -> None:
    files = {
        "go.mod": MOD,
        "sub/go.mod": "module example.com/other\n",
        "main.go": uses(("example.com/m/sub", "sub.X")),
        "sub/sub.go": "package sub\nvar X int\n",
    }
    (outcome,) = written(files, "main.go")
    assert (outcome.resolved, outcome.targets, outcome.tried) == (Resolved.UNRESOLVED, (), ("sub",))


def test_major_versions_are_part_of_the_module_path() -> None:
    files = {
        "go.mod": "module example.com/m/v2\n",
        "main.go": uses(("example.com/m/v2/p", "p.Name"), ("example.com/m/p", "p.Name")),
        "p/p.go": "package p\nvar Name int\n",
    }
    assert imports(files) == {("main.go", "p/p.go")}
    assert [o.resolved for o in written(files, "main.go")] == [Resolved.INSIDE, Resolved.EXTERNAL]


def test_a_major_version_in_a_directory_of_its_own() -> None:
    files = {
        "go.mod": MOD,
        "v2/go.mod": "module example.com/m/v2\n",
        "p/p.go": "package p\nvar Name int\n",
        "v2/p/p.go": "package p\nvar Name int\n",
        "main.go": uses(("example.com/m/p", "p.Name")),
        "v2/main.go": uses(("example.com/m/v2/p", "p.Name")),
    }
    assert imports(files) == {("main.go", "p/p.go"), ("v2/main.go", "v2/p/p.go")}


def test_replace_leads_to_a_local_directory_under_any_module_path() -> None:
    files = {
        "app/go.mod": (
            "module app\nrequire github.com/them/lib v1.0.0\n"
            "replace (\n\tgithub.com/them/lib v1.0.0 => ../fork // ours\n\tgithub.com/a/b => github.com/c/d v2.0.0\n)\n"
        ),
        "app/main.go": uses(("github.com/them/lib/x", "x.Name"), ("github.com/a/b", "b.X"), ("app/y", "y.Y")),
        "app/y/y.go": "package y\nvar Y int\n",
        "fork/go.mod": "module github.com/us/fork\n",
        "fork/x/x.go": "package x\nvar Name int\n",
    }
    assert imports(files) == {("app/main.go", "fork/x/x.go"), ("app/main.go", "app/y/y.go")}
    assert [o.resolved for o in written(files, "app/main.go")] == [Resolved.INSIDE, Resolved.EXTERNAL, Resolved.INSIDE]


def test_replace_counts_only_in_its_own_module() -> None:
    files = {
        "a/go.mod": "module example.com/a\nreplace github.com/x/y => ../y\n",
        "a/a.go": uses(("github.com/x/y", "y.Y")),
        "b/go.mod": "module example.com/b\n",
        "b/b.go": uses(("github.com/x/y", "y.Y")),
        "y/go.mod": "module y\n",
        "y/y.go": "package y\nvar Y int\n",
    }
    assert imports(files) == {("a/a.go", "y/y.go")}


def test_go_work_links_modules_of_any_name() -> None:
    files = {
        "go.work": "go 1.24\n\nuse (\n\t./app\n\t./lib // here\n)\nreplace example.com/old => ./old\n",
        "app/go.mod": "module app\n",
        "lib/go.mod": "module lib\n",
        "old/go.mod": "module example.com/old\n",
        "alone/go.mod": "module alone\n",
        "app/main.go": uses(("lib/x", "x.X"), ("example.com/old", "old.O")),
        "lib/x/x.go": "package x\nvar X int\n",
        "old/o.go": "package old\nvar O int\n",
        "alone/main.go": uses(("lib/x", "x.X")),
    }
    assert imports(files) == {("app/main.go", "lib/x/x.go"), ("app/main.go", "old/o.go")}


def test_go_work_with_a_single_use_of_the_root() -> None:
    files = {
        "go.work": "use .\nuse ./sub\n",
        "go.mod": "module root\n",
        "sub/go.mod": "module sub\n",
        "a.go": uses(("sub/p", "p.P")),
        "sub/p/p.go": "package p\nvar P int\n",
    }
    assert imports(files) == {("a.go", "sub/p/p.go")}


def test_modules_of_one_repository_know_each_other_without_a_link() -> None:
    files = {
        "api/go.mod": "module example.com/api\n",
        "api/api.go": "package api\nvar A int\n",
        "srv/go.mod": "module example.com/srv\nrequire example.com/api v1.2.3\n",
        "srv/main.go": uses(("example.com/api", "api.A")),
    }
    assert imports(files) == {("srv/main.go", "api/api.go")}


def test_modules_in_testdata_are_seen_from_there_only() -> None:
    fake = {"testdata/fake/go.mod": "module github.com/x/y\n", "testdata/fake/y.go": "package y\nvar Y int\n"}
    files = {
        "go.mod": MOD,
        "main.go": uses(("github.com/x/y", "y.Y")),
        "testdata/case/main.go": uses(("github.com/x/y", "y.Y")),
        **fake,
    }
    assert imports(files) == {("testdata/case/main.go", "testdata/fake/y.go")}


def test_two_modules_of_the_same_name_keep_to_themselves() -> None:
    files = {
        path: text
        for name in ("a", "b")
        for path, text in {
            f"{name}/go.mod": "module example.com/hello\n",
            f"{name}/main.go": uses(("example.com/hello/p", "p.P")),
        }.items()
    } | {"b/p/p.go": "package p\nvar P int\n"}
    assert imports(files) == {("b/main.go", "b/p/p.go")}
    assert written(files, "a/main.go")[0].resolved is Resolved.UNRESOLVED


def test_internal_packages() -> None:
    files = {
        "go.mod": MOD,
        "cmd/x/main.go": uses(("example.com/m/internal/deep", "deep.D")),
        "internal/deep/d.go": "package deep\nvar D int\n",
    }
    assert imports(files) == {("cmd/x/main.go", "internal/deep/d.go")}


def test_a_package_that_is_not_there_is_unresolved_with_what_was_tried() -> None:
    files = {"go.mod": MOD, "main.go": uses(("example.com/m/gen/pb", "pb.Message"), ("fmt", "fmt.Println"))}
    outcomes = written(files, "main.go")
    assert [(o.line, o.specifier, o.resolved, o.tried) for o in outcomes] == [
        (2, "example.com/m/gen/pb", Resolved.UNRESOLVED, ("gen/pb",)),
        (3, "fmt", Resolved.EXTERNAL, ()),
    ]
    assert all(o.reason for o in outcomes)


def test_a_required_module_with_a_longer_path_is_external() -> None:
    files = {
        "go.mod": f"{MOD}\nrequire example.com/m/api v1.0.0\n",
        "main.go": uses(("example.com/m/api/v1", "v1.X")),
    }
    assert written(files, "main.go")[0].resolved is Resolved.EXTERNAL


def test_names_that_no_file_declares_are_counted() -> None:
    files = {
        "go.mod": MOD,
        "main.go": 'package main\nimport "example.com/m/p"\nvar _, _ = p.A, p.Generated\n',
        "none.go": 'package main\nimport "example.com/m/p"\nvar _ = p.Generated\n',
        "p/a.go": "package p\nvar A int\n",
    }
    inside, missing = written(files, "main.go")
    assert (inside.resolved, inside.targets) == (Resolved.INSIDE, ("p/a.go",))
    assert (missing.resolved, missing.targets, missing.line) == (Resolved.UNRESOLVED, (), 2)
    assert "Generated" in missing.specifier
    assert "Generated" in missing.reason
    (nothing,) = written(files, "none.go")
    assert (nothing.specifier, nothing.resolved) == ("example.com/m/p", Resolved.UNRESOLVED)


def test_names_that_are_missing_come_from_the_one_file_that_was_not_read() -> None:
    files = {"go.mod": MOD, "main.go": uses(("example.com/m/api", "api.Big"), ("example.com/m/solo", "solo.Big"))}
    files["api/small.go"] = "package api\nvar Small int\n"
    facts = [
        *facts_of(files),
        SourceFacts("api/big.go", Language.GO, ReadStatus.TOO_LARGE),
        SourceFacts("solo/big.go", Language.GO, ReadStatus.TOO_LARGE),
    ]
    tree = RepoTree(frozenset(file.path for file in facts), {"go.mod": MOD})
    by_path = {outcome.path: outcome for outcome in resolve_imports(tree, facts)}
    assert [o.targets for o in by_path["main.go"].outcomes] == [("api/big.go",), ("solo/big.go",)]


def test_vendored_packages_are_found_when_they_are_among_the_files() -> None:
    files = {
        "go.mod": f"{MOD}require github.com/x/y v1.0.0\n",
        "main.go": uses(("github.com/x/y/z", "z.Z")),
        "vendor/modules.txt": "# github.com/x/y v1.0.0\n",
        "vendor/github.com/x/y/z/z.go": 'package z\nimport "github.com/x/q"\nvar Z = q.Q\n',
        "vendor/github.com/x/q/q.go": "package q\nvar Q int\n",
    }
    assert imports(files) == {
        ("main.go", "vendor/github.com/x/y/z/z.go"),
        ("vendor/github.com/x/y/z/z.go", "vendor/github.com/x/q/q.go"),
    }
    left = {path: text for path, text in files.items() if not path.startswith("vendor/")}
    assert written(left, "main.go")[0].resolved is Resolved.EXTERNAL


def test_a_repository_without_go_mod_is_known_by_its_imports() -> None:
    files = {
        "main.go": uses(("github.com/me/proj/store", "store.Open"), ("github.com/pkg/errors", "errors.New")),
        "store/open.go": 'package store\nimport "github.com/me/proj/log"\nfunc Open() { log.Say() }\n',
        "log/log.go": 'package log\nimport "github.com/other/errors"\nfunc Say() { errors.New() }\n',
        "errors/e.go": 'package errors\nimport "github.com/me/proj/gone"\nfunc New() { gone.X() }\n',
    }
    assert imports(files) == {("main.go", "store/open.go"), ("store/open.go", "log/log.go")}
    assert written(files, "errors/e.go")[0].resolved is Resolved.UNRESOLVED


def test_a_gopath_in_the_repository() -> None:
    files = {
        "src/app/main.go": uses(("app/model", "model.M")),
        "src/app/model/m.go": "package model\nvar M int\n",
    }
    assert imports(files) == {("src/app/main.go", "src/app/model/m.go")}


def test_relative_imports() -> None:
    files = {
        "a/main.go": uses(("./b", "b.B"), ("../c", "c.C"), ("../../../up", "up.U")),
        "a/b/b.go": "package b\nvar B int\n",
        "c/c.go": "package c\nvar C int\n",
    }
    assert imports(files) == {("a/main.go", "a/b/b.go"), ("a/main.go", "c/c.go")}
    assert written(files, "a/main.go")[2].resolved is Resolved.UNRESOLVED


def test_a_module_that_is_called_like_a_standard_package_does_not_take_its_place() -> None:
    files = {
        "go.mod": "module errors\n",
        "e.go": "package errors\nfunc New() {}\n",
        "cmd/main.go": uses(("errors", "errors.New"), ("errors/sub", "sub.S")),
        "sub/s.go": "package sub\nvar S int\n",
    }
    assert imports(files) == {("cmd/main.go", "sub/s.go")}


def test_the_standard_library_itself() -> None:
    files = {
        "src/go.mod": "module std\n",
        "src/fmt/print.go": 'package fmt\nimport "errors"\nfunc Print() { errors.New() }\n',
        "src/errors/e.go": "package errors\nfunc New() {}\n",
        "src/net/n.go": 'package net\nimport "golang.org/x/net/dns"\nvar _ = dns.D\n',
        "src/vendor/golang.org/x/net/dns/d.go": "package dns\nvar D int\n",
    }
    assert imports(files) == {
        ("src/fmt/print.go", "src/errors/e.go"),
        ("src/net/n.go", "src/vendor/golang.org/x/net/dns/d.go"),
    }


def test_import_cycles_are_edges_in_both_directions() -> None:
    files = {
        "go.mod": MOD,
        "a/a.go": 'package a\nimport "example.com/m/b"\nvar A = b.B\n',
        "b/b.go": 'package b\nimport "example.com/m/a"\nvar B = a.A\n',
    }
    assert imports(files) == {("a/a.go", "b/b.go"), ("b/b.go", "a/a.go")}


SAME_PACKAGE = {
    "name.go": "package p\ntype name struct{}\nvar other int\n",
    "other.go": "package p\nfunc unrelated() {}\n",
}


@pytest.mark.parametrize(
    "body",
    [
        "var x name",
        "func f(a name) {}",
        "func f(name name) {}",
        "func (n *name) f() {}",
        "func f() { name{}.g() }",
        "func f() { _ = x{field: name} }",
        "func f() { _ = map[string]int{name: 1} }",
        "func f() { _ = []int{name: 1} }",
        "func f() { _ = [...]int{name: 1} }",
        "func f() { name.g() }",
        "func f() { _ = g[name](1) }",
        "func f() { { name := 1; _ = name }; name() }",
        "func f() { name := name; _ = name }",
        "func f() { var name = name }",
        "type x struct { name }",
        "type x struct { f *name }",
        "type x[T name] struct{}",
        "type x = name",
        "func f() { switch name := name.(type) {} }",
        "func f() { select { case name := <-name: } }",
        "func f() { if x := name; x {} }",
        "func f() { type T[name any] int; name() }",
        "func f() { switch x.(type) { case int: name := 1; _ = name; case string: name() } }",
        "func f() { switch x { default: name := 1; _ = name; case 2: name() } }",
        "func f() { select { case <-c: name := 1; _ = name; default: name() } }",
    ],
)
def test_a_bare_use_means_the_same_package(body: str) -> None:
    assert edges_of({**SAME_PACKAGE, "a.go": f"package p\n{body}\n"}) == {("a.go", "name.go"): "implicit"}


@pytest.mark.parametrize(
    "body",
    [
        "func f(name int) { name() }",
        "func f() (name int) { return name }",
        "func (name T) f() { name() }",
        "func f() { name := 1; func() { name() }() }",
        "func f() { name, x := 1, 2; _ = name }",
        "func f() { var name, x int; name = x }",
        "func f() { const name = 1; _ = name }",
        "func f() { type name int; var x name }",
        "func f() { for name := range x { name() } }",
        "func f() { for name := 0; name < 1; name++ { name() } }",
        "func f() { switch name := x.(type) { case int: _ = name } }",
        "func f() { select { case name, ok := <-c: _ = name } }",
        "func f[name any](x name) name { var y name; return y }",
        "func f[S ~[]name, name any](x S) {}",
        "func f() { const x, name = 1, 2; _ = name }",
        "type x[name any] struct { f name }",
        "func (x *T[name]) f(y name) {}",
        "func (x T[name]) f() name { }",
        "func f() { x.name() }",
        "func f() { _ = T{name: 1} }",
        "func f() { _ = &q.T{name: 1} }",
        "func f() { _ = []T{{name: 1}} }",
        "func f() { name: for { break name } }",
        "func f() { goto name; name: }",
        "type x struct { name int }",
        "type x interface { name(name int) }",
        "func f(g func(name int) (name error)) {}",
        "func (x T) name() {}",
        'import name "fmt"',
        '// name\nfunc f() { _ = `name`; _ = "name" }',
        "func f(name ...int) { _ = name }",
    ],
)
def test_what_is_no_use_of_the_package_makes_no_edge(body: str) -> None:
    assert edges_of({**SAME_PACKAGE, "a.go": f"package p\n{body}\n"}) == {}


def test_an_implicit_outcome_names_what_is_used() -> None:
    (outcome,) = outcomes_of({**SAME_PACKAGE, "a.go": "package p\nvar x name\n"})["a.go"].outcomes
    assert (outcome.line, outcome.specifier, outcome.targets) == (0, "name", ("name.go",))


def test_packages_of_one_directory_do_not_see_each_other() -> None:
    files = {"a.go": "package a\nvar _ = x\n", "b.go": "package b\nvar x int\n", "c/a.go": "package a\nvar x int\n"}
    assert edges_of(files) == {}


BROKEN_MAIN = {
    "merge markers": (
        'package main\n<<<<<<< HEAD\nimport "example.com/m/p"\n=======\nimport "example.com/m/q"\n>>>>>>> x\n'
        "func f() { p.Name() }\n"
    ),
    "cut off": 'package main\nimport "example.com/m/p"\nfunc f() { p.Name(); if x {',
    "garbage": 'package main\nimport "example.com/m/p"\nfunc f() { p.Name() }\n}}}} ??? func ( {{{\n',
    "missing selector": 'package main\nimport "example.com/m/p"\nfunc f() { p.Name(); p. }\n',
}


@pytest.mark.parametrize(
    "declaration",
    ["type A[T any] = B[T]", "type A interface{ ~int; B }", "type A struct { B; c int }", "type A B", "var A = B"],
)
def test_a_line_end_behind_the_last_declaration_may_be_missing(declaration: str) -> None:
    (facts,) = facts_of({"main.go": f"package main\n{declaration}"})
    assert facts.status is ReadStatus.READ
    assert facts.declares == ("A",)
    assert "B" in facts.uses


@pytest.mark.parametrize("text", BROKEN_MAIN.values(), ids=BROKEN_MAIN)
def test_a_broken_file_gives_what_can_be_read_of_it(text: str) -> None:
    files = {"go.mod": MOD, "main.go": text, "p/p.go": "package p\nfunc Name() {}\n", "q/q.go": "package q\n"}
    assert ("main.go", "p/p.go") in imports(files)
    assert {file.path: file.status for file in facts_of(files)}["main.go"] is ReadStatus.SYNTAX_ERROR


@pytest.mark.parametrize(
    "encode",
    [
        pytest.param(lambda text: b"\xef\xbb\xbf" + text.encode(), id="byte order mark"),
        pytest.param(lambda text: text.replace("\n", "\r\n").encode(), id="CRLF"),
        pytest.param(lambda text: text.replace("//", "// Stra\u00dfe").encode("latin-1"), id="Latin-1"),
        pytest.param(lambda text: text.replace('"example.com/m/p"', "`example.com/m/p`").encode(), id="raw string"),
    ],
)
def test_encodings_and_line_ends(encode: object) -> None:
    assert callable(encode)
    files = {
        "go.mod": MOD.replace("\n", "\r\n"),
        "main.go": encode('package main\n\n//\nimport "example.com/m/p"\n\nfunc f() { p.Name() }\n'),
        "p/p.go": encode("package p\n//\nfunc Name() {}\n"),
    }
    assert imports(files) == {("main.go", "p/p.go")}
    assert written(files, "main.go")[0].line == 4
    assert all(file.status is ReadStatus.READ for file in facts_of(files))


def test_names_in_any_alphabet() -> None:
    files = {
        "go.mod": MOD,
        "main.go": 'package main\nimport "example.com/m/größe"\nvar _ = größe.Ärger + über\n',
        "größe/a.go": "package größe\nvar Ärger int\n",
        "b.go": "package main\nvar über int\n",
    }
    assert edges_of(files) == {("main.go", "größe/a.go"): "import", ("main.go", "b.go"): "implicit"}


def test_directories_that_differ_in_case_are_two() -> None:
    files = {
        "go.mod": MOD,
        "main.go": uses(("example.com/m/Log", "log.A")),
        "Log/a.go": "package log\nvar A int\n",
        "log/a.go": "package log\nvar A int\n",
    }
    assert imports(files) == {("main.go", "Log/a.go")}


def test_expressions_that_nest_deeply() -> None:
    deep = f"package p\nvar x = {'(' * 3000}name{')' * 3000}\nfunc f() {'{' * 1500}{'}' * 1500}\n"
    assert edges_of({**SAME_PACKAGE, "a.go": deep}) == {("a.go", "name.go"): "implicit"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "module",
        "module\nreplace\nrequire\nuse\n",
        "module (\n",
        ")\n)\n",
        "replace a => \nreplace => ./x\nreplace a b c\n",
        'module "\n',
        "\x00\ufffd",
        "replace x => ../../../../etc\nreplace y => /abs\nreplace z => .\n",
        "use ..\nuse ./missing\n",
        "module ///\n",
    ],
)
def test_a_malformed_manifest_costs_only_what_it_would_say(text: str) -> None:
    files = {
        "go.mod": text,
        "go.work": text,
        "lib/go.mod": "module example.com/lib\n",
        "lib/a.go": uses(("example.com/lib/p", "p.P")),
        "lib/p/p.go": "package p\nvar P int\n",
        "main.go": uses(("x/y", "y.Y")),
    }
    assert imports(files) == {("lib/a.go", "lib/p/p.go")}


def test_quoted_and_commented_manifests() -> None:
    files = {
        "go.mod": '// Deprecated: no.\nmodule "example.com/m" // here\n\nreplace "example.com/n" => `./n`\n',
        "n/go.mod": "module n\n",
        "main.go": uses(("example.com/m/p", "p.P"), ("example.com/n", "n.N")),
        "p/p.go": "package p\nvar P int\n",
        "n/n.go": "package n\nvar N int\n",
    }
    assert imports(files) == {("main.go", "p/p.go"), ("main.go", "n/n.go")}
