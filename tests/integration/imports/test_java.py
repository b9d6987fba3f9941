"""Java sources as text, read by the real parser: which files do their names mean?"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from alexandria.domain.imports import ImportForm, ReadStatus, Resolved, SourceFacts
from support.repos import edges_of, facts_of, outcomes_of

Files = Mapping[str, str | bytes]


def read(text: str | bytes) -> SourceFacts:
    return facts_of({"X.java": text})[0]


def targets(files: Files, importer: str) -> dict[str, str]:
    return {imported: kind for (who, imported), kind in edges_of(files).items() if who == importer}


def outcome(files: Files, importer: str, specifier: str) -> Resolved:
    return next(o.resolved for o in outcomes_of(files)[importer].outcomes if o.specifier == specifier)


# --- imports -----------------------------------------------------------------------------------


def test_single_import_means_the_file_that_declares_the_type_used_or_not() -> None:
    files = {"a/A.java": "package a; import b.B; class A {}", "b/B.java": "package b; public class B {}"}
    assert edges_of(files) == {("a/A.java", "b/B.java"): "import"}


def test_import_of_a_nested_type_means_the_file_of_the_type_around_it() -> None:
    files = {
        "a/A.java": "package a; import b.B.Inner; import b.C.D.E; class A {}",
        "b/B.java": "package b; public class B { public static class Inner {} }",
        "b/C.java": "package b; public class C { public interface D { enum E {} } }",
    }
    assert targets(files, "a/A.java") == {"b/B.java": "import", "b/C.java": "import"}


def test_static_import_means_the_type_that_declares_the_member() -> None:
    files = {
        "a/A.java": "package a; import static b.B.max; import static b.C.Nested.LIMIT; class A {}",
        "b/B.java": "package b; public class B { public static int max() { return 1; } }",
        "b/C.java": "package b; public class C { public static class Nested { public static int LIMIT; } }",
    }
    assert targets(files, "a/A.java") == {"b/B.java": "import", "b/C.java": "import"}


def test_static_wildcard_means_the_type() -> None:
    files = {"a/A.java": "package a; import static b.B.*; class A {}", "b/B.java": "package b; public class B {}"}
    assert targets(files, "a/A.java") == {"b/B.java": "import"}


def test_wildcard_means_only_the_types_that_are_used() -> None:
    files = {
        "a/A.java": "package a; import b.*; class A extends Used {}",
        "b/Used.java": "package b; public class Used {}",
        "b/Unused.java": "package b; public class Unused {}",
    }
    assert targets(files, "a/A.java") == {"b/Used.java": "import"}


def test_wildcard_does_not_reach_into_subpackages() -> None:
    files = {"a/A.java": "package a; import b.*; class A { C c; }", "b/c/C.java": "package b.c; public class C {}"}
    assert edges_of(files) == {}


def test_wildcard_of_a_type_brings_in_its_nested_types() -> None:
    files = {
        "a/A.java": "package a; import b.Outer.*; class A { Inner i; }",
        "a/B.java": "package a; import b.Outer.*; class B { }",
        "b/Outer.java": "package b; public class Outer { public static class Inner {} }",
    }
    assert edges_of(files) == {("a/A.java", "b/Outer.java"): "import"}


def test_imports_are_found_behind_comments_and_in_any_spacing() -> None:
    facts = read(
        "package a ;\nimport  b . /* why */ C ; // import x.Y;\n/* import x.Z; */\nimport\n  static b.C.*;\r\n"
    )
    assert facts.package == "a"
    assert [(i.line, i.specifier, i.form) for i in facts.imports] == [
        (2, "b.C", ImportForm.MODULE),
        (4, "b.C", ImportForm.STATIC_WILDCARD),
    ]


USUAL_HEADER = """// one
/* two
   import a.No; */
package a.b;

import c.D;
import static e.F.g;

import h.*;
import static i.J.*;
"""


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(("", ""), id="as nearly all"),
        pytest.param(("\n", "\r\n"), id="carriage returns"),
        pytest.param((";\n\n", "; // why\n\n"), id="comments behind"),
        pytest.param(("import c.D;", "import  c . D ;"), id="blanks"),
        pytest.param(("import static e", "  import static e"), id="indented"),
        pytest.param(("package", "@Deprecated package"), id="annotated package"),
        pytest.param(("J.*;\n", "J.*; import k.L; /* import a.No; */ "), id="two in a line"),
        pytest.param(("J.*;\n", "J.*;\nclass A {}\n"), id="a class behind"),
        pytest.param(("J.*;\n", "J.*;\nclass A {\n"), id="broken"),
    ],
)
def test_imports_and_their_lines_are_the_same_in_any_layout(change: tuple[str, str]) -> None:
    facts = read(USUAL_HEADER.replace(*change))
    assert facts.package == "a.b"
    assert [(i.line, i.specifier, i.form) for i in facts.imports if i.specifier != "k.L"] == [
        (6, "c.D", ImportForm.MODULE),
        (7, "e.F.g", ImportForm.STATIC),
        (9, "h", ImportForm.WILDCARD),
        (10, "i.J", ImportForm.STATIC_WILDCARD),
    ]
    assert ("k.L" in [i.specifier for i in facts.imports]) == ("k.L" in change[1])


def test_import_behind_a_type_is_found() -> None:
    facts = read("package a;\n\nimport b.C;\n\nclass A {}\n\nimport d.E;\n")
    assert [(i.line, i.specifier) for i in facts.imports] == [(3, "b.C"), (7, "d.E")]


def test_import_of_a_module_is_counted_and_not_followed() -> None:
    assert outcome({"A.java": "import module java.base;\nclass A {}"}, "A.java", "module java.base") is (
        Resolved.UNSUPPORTED
    )


# --- the same package --------------------------------------------------------------------------


def test_type_of_the_same_package_is_an_implicit_edge_without_a_line() -> None:
    files = {"p/A.java": "package p; class A { B b; }", "p/B.java": "package p; class B {}"}
    assert edges_of(files) == {("p/A.java", "p/B.java"): "implicit"}
    (only,) = outcomes_of(files)["p/A.java"].outcomes
    assert (only.line, only.specifier) == (0, "B")


def test_package_is_what_the_file_says_and_not_its_folder() -> None:
    files = {
        "src/A.java": "package p; class A { B b; }",
        "elsewhere/B.java": "package p; class B {}",
        "src/C.java": "package q; class C {}",
        "src/D.java": "package p; class D { C c; }",
    }
    assert edges_of(files) == {("src/A.java", "elsewhere/B.java"): "implicit"}


def test_files_without_a_package_are_one_package() -> None:
    assert edges_of({"A.java": "class A { B b; }", "B.java": "class B {}"}) == {("A.java", "B.java"): "implicit"}


def test_second_top_level_type_of_a_file_is_found_there() -> None:
    files = {"p/A.java": "package p; class A {} class Helper {}", "p/B.java": "package p; class B { Helper h; }"}
    assert edges_of(files) == {("p/B.java", "p/A.java"): "implicit"}


def test_cycle_of_two_files_is_two_edges() -> None:
    files = {"p/A.java": "package p; class A { B b; }", "p/B.java": "package p; class B { A a; }"}
    assert set(edges_of(files)) == {("p/A.java", "p/B.java"), ("p/B.java", "p/A.java")}


@pytest.mark.parametrize(
    "use",
    [
        "class A extends B {}",
        "class A<T extends B> {}",
        "class A implements B {}",
        "interface A extends B {}",
        "record A(B b) {}",
        "enum A implements B { X }",
        "sealed interface A permits B {}",
        "@B class A {}",
        "@interface A { Class<?> value() default B.class; }",
        "class A { @B(1) int x; }",
        "class A { B[] x; }",
        "class A { List<? super B> x; }",
        "class A { B.Inner x; }",
        "class A { int f(B... b) { return 1; } }",
        "class A { void f() throws B {} }",
        "class A { void f() { try { } catch (X | B e) { } } }",
        "class A { void f() { try (B b = g()) { } } }",
        "class A { void f() { for (B b : g()) { } } }",
        "class A { void f(B this) { } }",
        "class A { <T extends B> void f() { } }",
        "class A { Object x = new B(); }",
        "class A { Object x = new B[3]; }",
        "class A { Object x = new B<>() { }; }",
        "class A { Object x = (B) y; }",
        "class A { boolean x = y instanceof B b; }",
        "class A { Object x = B.class; }",
        "class A { Object x = B[].class; }",
        "class A { int x = B.CONSTANT; }",
        "class A { int x = B.Inner.CONSTANT; }",
        "class A { int x = B.call(); }",
        "class A { Runnable x = B::call; }",
        "class A { Runnable x = B::new; }",
        "class A { Runnable x = B<String>::new; }",
        "class A { Object x = (B b) -> b; }",
        "class A { int f(Object o) { return switch (o) { case B b -> 1; default -> 0; }; } }",
        "class A { int f(Object o) { return switch (o) { case B(int i) -> 1; default -> 0; }; } }",
        "class A { int f(Object o) { return switch (o) { case X(B b) -> 1; default -> 0; }; } }",
        "class A { { B.this.f(); } }",
        "class A { { B.super.f(); } }",
        "class A { java.util.@B List x; }",
        "class A { @B.Inner int x; }",
    ],
)
def test_every_way_to_use_a_type(use: str) -> None:
    files = {"p/A.java": f"package p; {use}", "p/B.java": "package p; class B { }"}
    assert edges_of(files) == {("p/A.java", "p/B.java"): "implicit"}


@pytest.mark.parametrize(
    "no_use",
    [
        "/** {@link B}, @see B */ class A {}",
        "class A { // B b;\n}",
        'class A { String x = "B"; }',
        'class A { String x = """\n B b; \n"""; }',
        "class A { int B = 1; int y = this.B; }",
        "class A { void B() { this.B(); B(); } }",
        "class A { Object x = new other.B(); }",
        "class A { Outer.B x; }",
        "class A { other.@Nullable B x; }",
        "class A<B> { B x; }",
        "class A { <B> B f(B b) { B c = b; return c; } }",
        "class A { <B> A() { B c; } }",
        "class A { class B {} B x; }",
        "class A { B x; enum B { Y } }",
        "class A { void f() { class B {} new B(); } }",
        "class A { void f() { record B() {} B.call(); } }",
        "record A(B b) { enum B { X } }",
        "enum A { X(B.Y); A(B b) { } enum B { Y } }",
        "class A { Object x = new Object() { class B {} B y; }; }",
        "enum A { X { class B {} B y; } }",
        "class A {} class B {}",
    ],
)
def test_what_is_no_use_of_a_type_of_the_same_package(no_use: str) -> None:
    files = {"p/A.java": f"package p; {no_use}", "p/B.java": "package p; class B { }"}
    assert edges_of(files) == {}


@pytest.mark.parametrize(
    "outside",
    [
        "class A { B x; class Y { class B {} } }",
        "class A { class Y<B> { B y; } B x; }",
        "class A { <B> void f() { } B x; }",
        "class A { void f() { class B {} } void g() { new B(); } }",
        "class A { void f() { B b; class B {} } }",
        "class A { Object x = new Object() { class B {} }; B y; }",
        "class A { static { class B {} } B y; }",
        "class A { A() { class B {} } B y; }",
        "class A extends B.X { class B {} }",
    ],
)
def test_name_means_the_package_where_its_declaration_does_not_reach(outside: str) -> None:
    files = {"p/A.java": f"package p; {outside}", "p/B.java": "package p; class B { }"}
    assert edges_of(files) == {("p/A.java", "p/B.java"): "implicit"}


# --- who shadows whom --------------------------------------------------------------------------

IN_THREE = {f"{p}/T.java": f"package {p}; public class T {{}}" for p in ("p", "q", "r")}


def test_single_import_shadows_the_same_package() -> None:
    assert targets({**IN_THREE, "p/A.java": "package p; import q.T; class A { T t; }"}, "p/A.java") == {
        "q/T.java": "import"
    }


def test_single_import_of_a_dependency_shadows_the_same_package() -> None:
    assert targets({**IN_THREE, "p/A.java": "package p; import org.lib.T; class A { T t; }"}, "p/A.java") == {}


def test_same_package_shadows_a_wildcard() -> None:
    assert targets({**IN_THREE, "p/A.java": "package p; import q.*; class A { T t; }"}, "p/A.java") == {
        "p/T.java": "implicit"
    }


def test_single_import_shadows_a_wildcard() -> None:
    files = {**IN_THREE, "s/A.java": "package s; import q.*; import r.T; class A { T t; }"}
    assert targets(files, "s/A.java") == {"r/T.java": "import"}


def test_type_of_the_file_shadows_a_wildcard() -> None:
    assert targets({**IN_THREE, "s/A.java": "package s; import q.*; class A { T t; class T {} }"}, "s/A.java") == {}


def test_wildcard_brings_in_what_a_nested_type_of_the_same_name_does_not_reach() -> None:
    files = {**IN_THREE, "s/A.java": "package s; import q.*; class A { T t; } class B { class T {} }"}
    assert targets(files, "s/A.java") == {"q/T.java": "import"}


# --- names written out -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "use",
    [
        "class A { a.b.C x; }",
        "class A { a.b.C.Inner x; }",
        "class A { a.b.C<String>.Inner x; }",
        "class A { a.b.@Nullable C x; }",
        "class A { java.util.List<a.b.C> x; }",
        "class A { Object x = new a.b.C(); }",
        "class A { int x = a.b.C.CONSTANT; }",
        "class A { int x = a.b.C.call(); }",
        "class A { int x = a . b\n . C.call(); }",
        "class A { Object x = a.b.C.class; }",
        "class A { Runnable x = a.b.C::call; }",
        "@a.b.C class A { }",
        "@a.b.C(1) class A { }",
        "class A extends a.b.C { }",
    ],
)
def test_written_out_name(use: str) -> None:
    files = {"p/A.java": f"package p; {use}", "a/b/C.java": "package a.b; public class C { }"}
    assert edges_of(files) == {("p/A.java", "a/b/C.java"): "import"}
    (only,) = outcomes_of(files)["p/A.java"].outcomes
    assert only.line == 0


def test_written_out_name_of_the_same_package_is_implicit() -> None:
    files = {"p/A.java": "package p; class A { p.B x; }", "p/B.java": "package p; class B { }"}
    assert edges_of(files) == {("p/A.java", "p/B.java"): "implicit"}


def test_chain_of_variables_is_no_written_out_name() -> None:
    files = {
        "p/A.java": "package p; class A { int x = a.b.c.d; { a.b.f(); } }",
        "a/b/C.java": "package a.b; class C {}",
    }
    assert edges_of(files) == {}


# --- the same type in several places -----------------------------------------------------------


def module(name: str, *sources: tuple[str, str], build: str = "pom.xml") -> dict[str, str]:
    return {f"{name}/{build}": ""} | {f"{name}/src/{path}": text for path, text in sources}


T = ("main/java/p/T.java", "package p; public class T {}")
TEST_T = ("test/java/p/T.java", "package p; public class T {}")
USE = ("main/java/p/A.java", "package p; class A { T t; }")
IMPORT = ("main/java/q/A.java", "package q; import p.T; class A {}")
TEST_USE = ("test/java/p/ATest.java", "package p; class ATest { T t; }")


@pytest.mark.parametrize("build", ["pom.xml", "build.gradle", "build.gradle.kts", "one.gradle", "build.xml"])
def test_own_module_comes_first(build: str) -> None:
    files = {**module("one", T, build=build), **module("two", T, TEST_USE, build=build), **module("zoo", T)}
    assert set(targets(files, "two/src/test/java/p/ATest.java")) == {"two/src/main/java/p/T.java"}


def test_own_source_root_comes_before_the_rest_of_the_module() -> None:
    files = module("one", T, TEST_T, USE, TEST_USE)
    assert set(targets(files, "one/src/main/java/p/A.java")) == {"one/src/main/java/p/T.java"}
    assert set(targets(files, "one/src/test/java/p/ATest.java")) == {"one/src/test/java/p/T.java"}


def test_tests_of_another_module_come_last() -> None:
    files = {**module("a/near", IMPORT), **module("a/also", TEST_T), **module("far", T)}
    assert set(targets(files, "a/near/src/main/java/q/A.java")) == {"far/src/main/java/p/T.java"}


def test_test_fixtures_of_another_module_come_before_its_tests() -> None:
    fixture = ("testFixtures/java/p/T.java", T[1])
    files = {**module("one", IMPORT), **module("lib", TEST_T, fixture)}
    assert set(targets(files, "one/src/main/java/q/A.java")) == {"lib/src/testFixtures/java/p/T.java"}


def test_nearest_module_comes_first() -> None:
    files = {**module("v1/lib", T), **module("v2/lib", T), **module("v2/app", IMPORT)}
    assert set(targets(files, "v2/app/src/main/java/q/A.java")) == {"v2/lib/src/main/java/p/T.java"}


def test_test_uses_the_main_sources_of_its_package() -> None:
    files = {
        "src/main/java/p/B.java": "package p; class B {}",
        "src/test/java/p/BTest.java": "package p; class BTest { B b; }",
    }
    assert edges_of(files) == {("src/test/java/p/BTest.java", "src/main/java/p/B.java"): "implicit"}


def test_sources_without_any_build_file() -> None:
    files = {
        "x/p/T.java": "package p; public class T {}",
        "y/p/T.java": "package p; public class T {}",
        "y/q/A.java": "package q; import p.T; class A {}",
        "x/q/B.java": "package q; import p.T; class B {}",
    }
    assert set(edges_of(files)) == {("y/q/A.java", "y/p/T.java"), ("x/q/B.java", "x/p/T.java")}


def test_same_name_in_several_packages_is_several_types() -> None:
    files = {**IN_THREE, "s/A.java": "package s; import r.T; class A { q.T t; }"}
    assert set(targets(files, "s/A.java")) == {"r/T.java", "q/T.java"}


# --- files without types -----------------------------------------------------------------------


def test_package_info_uses_its_annotations() -> None:
    files = {
        "p/package-info.java": "/** package x; {@link T} */\n@NonNullApi @Other\npackage p;\nimport q.NonNullApi;\n",
        "q/NonNullApi.java": "package q; public @interface NonNullApi {}",
        "p/Other.java": "package p; @interface Other {}",
        "p/T.java": "package p; class T {}",
    }
    assert targets(files, "p/package-info.java") == {"q/NonNullApi.java": "import", "p/Other.java": "implicit"}


def test_module_info_uses_and_provides() -> None:
    files = {
        "module-info.java": "module m { exports p.q; uses p.q.Service; provides p.q.Service with p.q.A, p.q.B; }",
        "p/q/Service.java": "package p.q; public interface Service {}",
        "p/q/A.java": "package p.q; public class A {}",
        "p/q/B.java": "package p.q; public class B {}",
        "p/q/C.java": "package p.q; public class C {}",
    }
    assert set(targets(files, "module-info.java")) == {"p/q/Service.java", "p/q/A.java", "p/q/B.java"}


# --- how imports end ---------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["import java.util.List;", "import java.util.*;", "import static java.lang.Math.max;"])
def test_package_that_nobody_declares_is_external(line: str) -> None:
    files = {"a/A.java": f"package a; {line} class A {{}}"}
    (only,) = outcomes_of(files)["a/A.java"].outcomes
    assert (only.resolved, only.targets, only.line) == (Resolved.EXTERNAL, (), 1)


@pytest.mark.parametrize("specifier", ["com.acme.shop.Generated", "com.acme.shop.Generated.Inner"])
def test_type_that_is_missing_in_a_declared_package_is_unresolved(specifier: str) -> None:
    files = {
        "a/A.java": f"package a;\nimport {specifier};\nclass A {{}}",
        "src/com/acme/shop/Cart.java": "package com.acme.shop; public class Cart {}",
    }
    (only,) = outcomes_of(files)["a/A.java"].outcomes
    assert (only.resolved, only.line) == (Resolved.UNRESOLVED, 2)
    assert "Generated" in only.reason
    assert only.tried == ("src/com/acme/shop/Generated.java",)


@pytest.mark.parametrize("line", ["import com.acme.shop.proto.Cart;", "import com.acme.shop.proto.*;"])
def test_missing_package_below_a_declared_one_is_unresolved(line: str) -> None:
    files = {"A.java": f"package com.acme.shop; {line} class A {{}}"}
    assert [o.resolved for o in outcomes_of(files)["A.java"].outcomes] == [Resolved.UNRESOLVED]


def test_sibling_library_of_the_same_house_is_external() -> None:
    files = {"A.java": "package com.acme; import com.acme.json.Parser; class A {}"}
    assert outcome(files, "A.java", "com.acme.json.Parser") is Resolved.EXTERNAL


def test_type_in_kotlin_is_unsupported_and_says_so() -> None:
    files = {"src/java/p/A.java": "package p; import q.Kt; class A {}", "src/kotlin/q/Kt.kt": "package q\nclass Kt"}
    (only,) = outcomes_of(files)["src/java/p/A.java"].outcomes
    assert only.resolved is Resolved.UNSUPPORTED
    assert "Kotlin" in only.reason


def test_wildcard_of_which_nothing_is_used_is_inside() -> None:
    files = {"a/A.java": "package a; import b.*; class A {}", "b/B.java": "package b; public class B {}"}
    (only,) = outcomes_of(files)["a/A.java"].outcomes
    assert (only.resolved, only.targets) == (Resolved.INSIDE, ())


# --- files as they are found -------------------------------------------------------------------

B = {"p/B.java": "package p; public class B {}"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("byte order mark", b"\xef\xbb\xbfpackage q; import p.B; class A {}"),
        ("CRLF", b"package q;\r\nimport p.B;\r\nclass A {}\r\n"),
        ("old Mac line ends", b"package q; // why\rimport p.B;\rclass A {}\r"),
        ("Latin-1 in a comment", b"package q; // caf\xe9\nimport p.B; class A {}"),
        ("Latin-1 in a string", b'package q; import p.B; class A { String s = "\xe4\xf6"; }'),
    ],
)
def test_encodings_and_line_ends(name: str, content: bytes) -> None:
    assert edges_of({**B, "q/A.java": content}) == {("q/A.java", "p/B.java"): "import"}, name


@pytest.mark.parametrize(
    "broken",
    [
        "package q; import p.B; class A {",
        "package q; import p.B; class A { void f( { } int x = ; }",
        "package q; import p.B\nclass A {}",
        "<<<<<<< HEAD\npackage q;\nimport p.B;\n=======\npackage q;\nimport p.C;\n>>>>>>> other\nclass A {}",
        "package q;\n<<<<<<< HEAD\nimport p.B;\n=======\nimport p.C;\n>>>>>>> other\nclass A {}",
        "package q; import p.B; class A {} }}}}",
        "package q; import p.; import p.B; class A {}",
    ],
)
def test_broken_source_yields_what_can_be_read(broken: str) -> None:
    assert read(broken).status is ReadStatus.SYNTAX_ERROR
    assert ("q/A.java", "p/B.java") in edges_of({**B, "q/A.java": broken})


@pytest.mark.parametrize(
    "declaration",
    [
        "class A { void f(Used @N... a) {} }",
        "class A { A(int b, @M Used @N ... a) { } }",
        "class A { void f(final Used @M [] @x.y.N\n... a) {} }",
        "interface A { <T> T f(Used<T> @M @N(of = 3)... a); }",
        "record A(Used @ N ... a) {}",
        "class A { F f = (Used @N ... a) -> 1; }",
        '/** {@link ...} */ class A { String s = "@N ..."; void f(Used... a) {} void g(@N Used ... a) {} }',
    ],
)
def test_annotations_before_an_ellipsis_break_no_file(declaration: str) -> None:
    """JSpecify writes them so: `Object @Nullable ... parts`."""
    facts = read(f"package p; {declaration}")
    assert facts.status is ReadStatus.READ
    assert facts.declares == ("A",)
    assert "Used" in facts.uses


@pytest.mark.parametrize(
    "source",
    [
        "import module java.base; class A { Used x; }",
        "class A { A(Used a) { check(a); super(a); } }",
        "class A { A(Used a) { if (a == null) { throw e; } this(a, 1); } A(Used a, int b) { super(); } }",
    ],
)
def test_syntax_that_the_grammar_lacks_breaks_no_file(source: str) -> None:
    """Modules imported whole and statements before `super(…)` are of Java 25."""
    facts = read(source)
    assert facts.status is ReadStatus.READ
    assert (facts.declares, facts.uses) == (("A",), ("Used",))


def test_annotation_before_an_ellipsis_is_a_use_of_its_type() -> None:
    files = {
        "p/A.java": 'package p; class A { void f(Object @Mine ... a) { B.of("@B ..."); } }',
        "p/Mine.java": "package p; @interface Mine {}",
        "p/B.java": "package p; class B {}",
    }
    assert targets(files, "p/A.java") == {"p/Mine.java": "implicit", "p/B.java": "implicit"}


def test_broken_source_keeps_its_lines_and_its_literals_apart() -> None:
    facts = read(
        "package q; /* import a.A; */ // import b.B;\n<<<<<<< HEAD\nimport p.B;\n=======\nimport p.C;\n>>>>>>> x\n"
        'class A { String s = "import c.C;"; char c = \'"\'; String t = """\nimport d.D;\n"""; String u = "\\""; }'
        "\n/* not closed import e.E;"
    )
    assert facts.status is ReadStatus.SYNTAX_ERROR
    assert [(i.line, i.specifier) for i in facts.imports] == [(3, "p.B"), (5, "p.C")]


def test_identifiers_of_any_script() -> None:
    files = {
        "p/Größe.java": "package p; public class Größe { public static class Maß {} }",
        "p/Ζ.java": "package p; class Ζ { Größe g; }",
        "q/A.java": "package q; import p.Größe.Maß; class A {}",
        "q/$B_1.java": "package q; class $B_1 { p.Größe x; }",
        "q/C.java": "package q; class C { int x = $B_1.y; }",
    }
    assert edges_of(files) == {
        ("p/Ζ.java", "p/Größe.java"): "implicit",
        ("q/A.java", "p/Größe.java"): "import",
        ("q/$B_1.java", "p/Größe.java"): "import",
        ("q/C.java", "q/$B_1.java"): "implicit",
    }


def test_names_that_differ_in_case_are_different_types() -> None:
    files = {
        "p/Url.java": "package p; class Url {}",
        "p/URL.java": "package p; class URL {}",
        "p/A.java": "package p; class A { URL x; }",
    }
    assert set(targets(files, "p/A.java")) == {"p/URL.java"}


def test_deep_nesting_is_read_without_recursion() -> None:
    depth = 3000
    classes = "".join(f"class C{i} {{ " for i in range(depth)) + "B b;" + "}" * depth
    calls = "class A { int x = " + "B.f(" * depth + "1" + ")" * depth + "; }"
    files = {**B, "p/Classes.java": f"package p; {classes}", "p/Calls.java": f"package p; {calls}"}
    assert set(edges_of(files)) == {("p/Classes.java", "p/B.java"), ("p/Calls.java", "p/B.java")}


@pytest.mark.parametrize("count", [3, 1000])
def test_scopes_are_the_same_for_few_types_and_for_many(count: int) -> None:
    # Where many stand is found in another way than where few stand.
    nested = "".join(f" static class N{i} {{ T{i} t; }}" for i in range(count))
    local = " void f() { U u; { class U {} U v; } } Object o = new Object() { class V {} V v; };"
    facts = read(f"class A {{{nested}{local} W w; class W {{}} }}")
    assert facts.declares == ("A", *(f"A.N{i}" for i in range(count)), "A.W")
    assert set(facts.uses) == {"Object", "U", *(f"T{i}" for i in range(count))}


@pytest.mark.parametrize("content", ["", "\n", "// only a comment", "garbage ( } 1 2 import", "import ;", "package ;"])
def test_empty_and_senseless_files(content: str) -> None:
    assert edges_of({"A.java": content}) == {}
