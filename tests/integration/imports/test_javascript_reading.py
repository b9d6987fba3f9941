"""What is read from one file of JavaScript or TypeScript."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexandria.adapters.tree_sitter.javascript import read
from alexandria.domain.imports import ImportForm, ImportStatement, ReadStatus
from alexandria.domain.language import Language

MODULE, REEXPORT, REQUIRE = ImportForm.MODULE, ImportForm.REEXPORT, ImportForm.REQUIRE
DYNAMIC, COMPUTED = ImportForm.DYNAMIC, ImportForm.COMPUTED


def statements(source: str, path: str = "main.ts") -> list[ImportStatement]:
    language = Language.JAVASCRIPT if path.endswith(("js", "jsx")) else Language.TYPESCRIPT
    facts = read(path, language, source.encode())
    assert (facts.path, facts.language) == (path, language)
    return list(facts.imports)


@pytest.mark.parametrize("path", ["main.js", "main.ts", "main.tsx"])
@pytest.mark.parametrize(
    ("source", "form", "names"),
    [
        ("import 'x'", MODULE, ()),
        ("import a from 'x'", MODULE, ("default",)),
        ("import * as a from 'x'", MODULE, ("*",)),
        ("import { a, b as c } from 'x'", MODULE, ("a", "b")),
        ("import a, { b } from 'x'", MODULE, ("default", "b")),
        ("import a, * as b from 'x'", MODULE, ("default", "*")),
        ("import {\n  a, // first, of all\n  /* from */ b,\n} from 'x'", MODULE, ("a", "b")),
        ("import { default as a } from 'x'", MODULE, ("default",)),
        ("import type from 'x'", MODULE, ("default",)),
        ("import {} from 'x'", MODULE, ()),
        ("import a from 'x' with { type: 'json' }", MODULE, ("default",)),
        ("export * from 'x'", REEXPORT, ("*",)),
        ("export * as a from 'x'", REEXPORT, ("*",)),
        ("export { a, b as default } from 'x'", REEXPORT, ("a", "b")),
        ("require('x')", REQUIRE, ("*",)),
        ("const { a } = require(`x`)", REQUIRE, ("*",)),
        ("if (a) { (() => { b = require(/* why */ 'x').c })() }", REQUIRE, ("*",)),
        ("await import('x')", DYNAMIC, ("*",)),
        ("import(/* webpackChunkName: 'y' */ 'x', {}).then(f)", DYNAMIC, ("*",)),
        ("const f = () => import(`x`)", DYNAMIC, ("*",)),
    ],
)
def test_each_form_is_read_with_its_names(path: str, source: str, form: ImportForm, names: tuple[str, ...]) -> None:
    assert [(s.specifier, s.form, s.names) for s in statements(source, path)] == [("x", form, names)]


@pytest.mark.parametrize(
    ("source", "form"),
    [
        ("import type a from 'x'", MODULE),
        ("import type { a, b } from 'x'", MODULE),
        ("import type * as a from 'x'", MODULE),
        ("import { type a, type b as c } from 'x'", MODULE),
        ("export type { a } from 'x'", REEXPORT),
        ("export type * from 'x'", REEXPORT),
        ("export type * as a from 'x'", REEXPORT),
        ("import type a = require('x')", REQUIRE),
        ("let a: import('x').T", MODULE),
        ("let a: typeof import('x')", MODULE),
        ("type A = import('x').B.C", MODULE),
        ("type A = { b: import('x').C | null }", MODULE),
        ("function f(a: Map<string, import('x').T>): void {}", MODULE),
        ("const a = b as import('x').T", MODULE),
        ("const a = b satisfies import('x').T", MODULE),
        ("type A = keyof typeof import('x')", MODULE),
        ("class A implements I<import('x').T> {}", MODULE),
    ],
)
def test_imports_for_types_alone_are_marked(source: str, form: ImportForm) -> None:
    (statement,) = statements(source)
    assert (statement.specifier, statement.form, statement.type_only) == ("x", form, True)


@pytest.mark.parametrize(
    "source",
    [
        "import a = require('x')",
        "export import a = require('x')",
        "import { a, type b } from 'x'",
        "import type, { a } from 'x'",
        "const a = (await import('x')) as T",
        "import('x').then((a: T) => a)",
        "const a = lazy<T>(() => import('x'))",
        "import type from 'x'",
    ],
)
def test_imports_of_values_are_not_marked_as_types(source: str) -> None:
    (statement,) = statements(source)
    assert (statement.specifier, statement.type_only) == ("x", False)


@pytest.mark.parametrize(
    "source",
    ["require(a)", "require(`./${a}`)", "import(a + 'x')", "import()", "require(['a', 'b'], f)", "import(`${a}`)"],
)
def test_specifier_that_is_no_literal_is_computed(source: str) -> None:
    assert [statement.form for statement in statements(source, "main.js")] == [COMPUTED]


@pytest.mark.parametrize(
    "source",
    [
        "// import a from 'x'",
        "/* require('x') */",
        "const s = \"import a from 'x'\"",
        "const s = `require('x')`",
        "jest.mock('x'); vi.mock('x', () => ({})); jest.requireActual('x')",
        "new URL('./x', import.meta.url); import.meta.glob('./x')",
        "require.resolve('x'); module.require('x'); loader.import('x')",
        "export { a }; export default a; export const b = 1",
        "import a = b.c",
        "declare module 'x' { const a: number }",
    ],
)
def test_what_only_looks_like_an_import_is_none(source: str) -> None:
    assert statements(source) == []


def test_statements_keep_the_order_and_the_lines_of_the_file() -> None:
    source = "import 'a'\n\nconst b = require('b')\nexport * from 'c'\n  import('d')\nimport {\n x,\n} from 'e'\n"
    found = [(statement.line, statement.specifier) for statement in statements(source, "main.mjs")]
    assert found == [(1, "a"), (3, "b"), (4, "c"), (5, "d"), (6, "e")]


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        (r"'a\x62c'", "abc"),
        (r"'\u0061\u{62}'", "ab"),
        (r"'a\'b'", "a'b"),
        (r"'a\\b'", "a\\b"),
        ("'a\\\nb'", "ab"),
        (r"'\uD800\u{110000}'", "��"),
        ("''", ""),
    ],
)
def test_escapes_in_specifiers_are_read(literal: str, value: str) -> None:
    assert [statement.specifier for statement in statements(f"import {literal}", "main.js")] == [value]


def test_broken_file_is_said_to_be_broken() -> None:
    assert read("a.js", Language.JAVASCRIPT, b"const = ;").status is ReadStatus.SYNTAX_ERROR
    assert read("a.js", Language.JAVASCRIPT, b"const a = 1;").status is ReadStatus.READ


# What the grammars do not know; an import below must not be lost, nor the file be called broken.
@pytest.mark.parametrize(
    ("source", "path", "specifiers"),
    [
        ("type A = import('x').T[];", "a.ts", ["x"]),
        ("type A = import('x')['k'];", "a.ts", ["x"]),
        ("type A = Map<string, readonly import('x').B.T[]>;", "a.ts", ["x"]),
        ("type A = import(\n  'x'\n).T[];", "a.ts", ["x"]),
        ("type A = import('x', { with: { 'resolution-mode': 'import' } }).T[];", "a.ts", ["x"]),
        ("const a = f<typeof import('x')>();", "a.tsx", ["x"]),
        ("interface A { a?: import('x').T<[b: C]>; in?: import('y').T }", "a.ts", ["x", "y"]),
        ("export type * from 'x';", "a.ts", ["x"]),
        ("interface A<in T, out U, /* why */ in out V> { a: import('x').T }", "a.ts", ["x"]),
        ("class A { abstract override a: import('x').T }", "a.ts", ["x"]),
        ("import type { A } from 'x' assert { type: 'json' };", "a.ts", ["x"]),
    ],
)
def test_types_that_the_grammar_lacks_are_read(source: str, path: str, specifiers: list[str]) -> None:
    text = f"{source}\nimport z from './z'\n"
    found = [(statement.specifier, statement.type_only) for statement in statements(text, path)]
    assert found == [*((specifier, True) for specifier in specifiers), ("./z", False)]
    assert read(path, Language.TYPESCRIPT, text.encode()).status is ReadStatus.READ


@pytest.mark.parametrize(
    "source",
    [
        "interface A { abstract?: string }",
        "interface A {\n  a: B\n  in?: C\n  in_1?: D\n}",
        "interface A<in T> { a: T }",
        "interface A<T, out U> { a: U }",
        "class A { abstract override a: string }",
        "export { a } from 'x' assert { type: 'json' };",
        "function f(using: string) { return [typeof using !== 'a', using] }",
        "interface A {\n  <T>(a: T): B[]\n  <U>(b: U): C['k']\n}",
        "interface A {\r\n  (a: B): B\r\n  // why\r\n  <\r\n    U\r\n  >(b: U): C\r\n}",
    ],
)
def test_each_gap_of_the_grammar_is_filled_when_it_is_the_only_one(source: str) -> None:
    assert read("a.ts", Language.TYPESCRIPT, source.encode()).status is ReadStatus.READ


@pytest.mark.parametrize(
    ("source", "form"),
    [
        ("import a from 'x' assert { type: 'json' };", MODULE),
        ("import 'x' assert { type: 'json' }", MODULE),
        ("export { default } from 'x' with { type: 'json' };", REEXPORT),
        ("import type { A } from 'x'; declare var a: A;", MODULE),
        ("const a = <div class='b'>{require('x')}</div>;", REQUIRE),
        ("import defer * as a from 'x'", MODULE),
        ("import source a from 'x'", MODULE),
        ("const a = await import.defer('x')", DYNAMIC),
        ("f(); import . source ( 'x' )", DYNAMIC),
        ("const a = <a href='/?b=c&d=e'>f</a>; require('x')", REQUIRE),
        ("const a = <p>b & c&amp;d {require('x')} {e && f & g}</p>", REQUIRE),
        ("const using = a\nuse(using)\nrequire('x')", REQUIRE),
    ],
)
def test_javascript_that_the_grammar_lacks_is_read(source: str, form: ImportForm) -> None:
    assert [(s.specifier, s.form) for s in statements(source, "a.js")] == [("x", form)]
    assert read("a.js", Language.JAVASCRIPT, source.encode()).status is ReadStatus.READ


@pytest.mark.parametrize(
    ("clause", "names"),
    [
        ("defer * as a", ("*",)),
        ("source a", ("default",)),
        ("defer", ("default",)),
        ("source, { b }", ("default", "b")),
        ("defer, * as b", ("default", "*")),
        ("{ source, defer as b }", ("source", "defer")),
    ],
)
def test_names_of_an_import_with_a_phase_and_of_one_that_imports_a_name_like_it(
    clause: str, names: tuple[str, ...]
) -> None:
    assert [s.names for s in statements(f"import {clause} from 'x'", "a.ts")] == [names]


def test_call_of_something_that_ends_like_import_is_none_beside_a_type_that_the_grammar_lacks() -> None:
    found = statements("const a: import('x').T[] = b.import('y')\nreimport('z')", "a.ts")
    assert [s.specifier for s in found] == ["x"]


def test_specifier_beside_a_filled_gap_is_what_is_written() -> None:
    source = "import a from './a?b&c'\nconst d = <p>e & f</p>\nimport g from 'using'\n"
    assert [s.specifier for s in statements(source, "a.tsx")] == ["./a?b&c", "using"]
    assert read("a.tsx", Language.TYPESCRIPT, source.encode()).status is ReadStatus.READ


def test_using_that_declares_is_read_beside_a_name_that_is_called_so() -> None:
    source = "function f(using: A) {}\n{\n  using a = f(b)\n  await using c = d\n}\n"
    assert read("a.ts", Language.TYPESCRIPT, source.encode()).status is ReadStatus.READ


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("a.tsx", "const f = ( // why\n  <B>\n    b & c\n  </B>\n)\n"),
        ("a.tsx", "const f = () =>\n  <B>\n    b & c\n  </B>\n"),
        ("a.ts", "interface A<in T> {}\ntype F = () =>\n  <T>(a: T) => B\n"),
    ],
)
def test_line_that_begins_with_an_angle_bracket_need_not_be_a_signature(path: str, source: str) -> None:
    assert read(path, Language.TYPESCRIPT, source.encode()).status is ReadStatus.READ


def test_value_beside_types_that_the_grammar_lacks_stays_a_value() -> None:
    found = statements("type A = import('x').T[]\nconst b = import('x'), c = await import(\n'y'\n)\nexport const d = 1")
    assert [(s.line, s.specifier, s.form) for s in found] == [(1, "x", MODULE), (2, "x", DYNAMIC), (2, "y", DYNAMIC)]


# Each after something broken; `BROKEN` makes the parser lose its way.
BROKEN = "function f( {{\n const = [;\n"


@pytest.mark.parametrize("path", ["a.js", "a.ts", "a.tsx"])
@pytest.mark.parametrize(
    ("source", "form", "names"),
    [
        ("import a, { b as c } from 'x'", MODULE, ("default", "b")),
        ("import 'x'", MODULE, ()),
        ("import {\n<<<<<<< HEAD\n  a,\n=======\n  b,\n>>>>>>> fix/b-1.2\n} from 'x'", MODULE, ("a", "b")),
        ("export { a } from 'x'", REEXPORT, ("a",)),
        ("const a = require('x')", REQUIRE, ("*",)),
        ("const a = await import('x')", DYNAMIC, ("*",)),
    ],
)
@pytest.mark.parametrize("broken", [BROKEN, "import { q,\n", "---\n", "const a = (( {\n", "<<<<<<< HEAD\n"])
def test_import_beside_broken_code_is_not_lost(
    path: str, source: str, form: ImportForm, names: tuple[str, ...], broken: str
) -> None:
    (statement,) = [s for s in statements(f"{broken}{source}\n", path) if s.specifier == "x"]
    if broken == BROKEN:
        assert (statement.line, statement.form, statement.names) == (3, form, names)


@pytest.mark.parametrize("path", ["a.js", "a.ts", "a.tsx"])
@pytest.mark.parametrize(
    "source",
    [
        "/*\nimport a from 'x'\nrequire('x')\n*/",
        "// require('x')",
        "`\nimport a from 'x'\n`",
        "const s = \"import('x')\"",
        "const s = /require('x')/",
        "a.require('x'); a.import('x'); $require('x')",
    ],
)
def test_no_import_is_found_in_the_comments_and_literals_of_broken_code(path: str, source: str) -> None:
    assert statements(f"const = [;\n{source}\n", path) == []
    assert statements(f"type A = import('y').T[];\n{source}\n", "a.ts")[1:] == []


TOKENS = (
    b"import|export|from|require|(|)|{|}|'x'|\"|`|${|\n| |<<<<<<< a\n|type|*|,|//|/*|*/|in|?:|assert|\\|\xff|\0".split(
        b"|"
    )
)


@settings(max_examples=200)
@given(
    st.lists(st.sampled_from(TOKENS)).map(b"".join),
    st.sampled_from(["a.js", "a.ts", "a.tsx"]),
)
def test_reading_raises_for_no_bytes(content: bytes, path: str) -> None:
    language = Language.JAVASCRIPT if path.endswith("js") else Language.TYPESCRIPT
    lines = [statement.line for statement in read(path, language, content).imports]
    assert all(1 <= line <= content.count(b"\n") + 1 for line in lines)


@pytest.mark.parametrize(
    "piece",
    [
        "import\n",
        "import {\n",
        "from ",
        "import('x').T[]\n",
        "import\n<<<<<<< a\n",
        "\n<<<<<<< a",
        "require('x'\n",
        ", in ",
    ],
)
def test_time_for_broken_code_grows_with_its_length_alone(piece: str) -> None:
    def seconds(times: int) -> float:
        content = ("= ;\nimport {" + piece * times).encode()
        start = time.process_time()
        read("a.ts", Language.TYPESCRIPT, content)
        return time.process_time() - start

    # Sixteen times the length; squares would make it 256 times as long. Half-way between the two, the fastest of some
    # in turns: what else runs beside a test can make one reading four times as slow as the next.
    short = long = math.inf
    for _ in range(5):
        short, long = min(short, max(seconds(1_000), 0.005)), min(long, seconds(16_000))
        if long < 64 * short:
            break
    assert long < 64 * short


def test_flow_annotations_do_not_hide_requires() -> None:
    head = "/**\n * @flow strict\n */\nimport type {T} from './t';\n"
    source = head + "function f(a: ?T): Promise<T> { return require('./x'); }"
    found = {statement.specifier: statement.type_only for statement in statements(source, "a.js")}
    assert found == {"./t": True, "./x": False}
    assert read("a.js", Language.JAVASCRIPT, source.encode()).status is ReadStatus.READ


def test_type_assertions_are_read_in_ts_and_elements_in_tsx_and_js() -> None:
    assert [s.specifier for s in statements("const a = <T>require('x')", "a.ts")] == ["x"]
    for path in ("a.tsx", "a.js", "a.jsx"):
        assert [s.specifier for s in statements("const a = <T>{require('x')}</T>", path)] == ["x"]


def test_deep_nesting_is_read_like_anything_else() -> None:
    depth = 20_000
    source = "(" * depth + "require('x')" + ")" * depth
    assert [statement.specifier for statement in statements(source, "a.js")] == ["x"]
