"""One file's bytes to its facts: encodings, bundles, and Python's ways to import."""

from __future__ import annotations

import codecs
import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexandria.adapters.tree_sitter import python, wire
from alexandria.adapters.tree_sitter.reading import as_utf8, is_minified, read_source
from alexandria.domain.imports import ImportForm, ImportStatement, ReadStatus, SourceFacts
from alexandria.domain.language import Language


def imports_of(source: str | bytes) -> tuple[ImportStatement, ...]:
    content = source if isinstance(source, bytes) else textwrap.dedent(source).encode()
    return read_source("m.py", Language.PYTHON, content).imports


def test_import_of_several_modules_gives_one_statement_each() -> None:
    assert imports_of("import a, b.c as d, e.f.g\n") == (
        ImportStatement(1, "a"),
        ImportStatement(1, "b.c"),
        ImportStatement(1, "e.f.g"),
    )


def test_from_import_keeps_the_names_and_drops_the_aliases() -> None:
    assert imports_of("from a.b import c, d as e\n") == (ImportStatement(1, "a.b", ImportForm.FROM, ("c", "d")),)


def test_star_import_has_the_name_star() -> None:
    assert imports_of("from a import *\n") == (ImportStatement(1, "a", ImportForm.FROM, ("*",)),)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["import a", "from a import b", "    from a import b", "import_module('a')", "x = 'import'"]
            ),
            st.integers(0, 3 * python._NEAR_BYTES),
        ),
        max_size=8,
    )
)
@settings(max_examples=100)
def test_each_import_is_found_once_however_far_it_stands_from_the_next(parts: list[tuple[str, int]]) -> None:
    lines: list[str] = []
    expected: list[int] = []
    for statement, filling in parts:
        if statement.startswith(" "):
            lines.append("def f():")
        lines.append(statement)
        if "'import'" not in statement:
            expected.append(len(lines))
        lines += ["y = 1"] * (filling // 6)
    found = imports_of("\n".join(lines))
    assert [statement.line for statement in found] == expected
    assert {statement.specifier for statement in found} <= {"a"}


def test_a_call_with_imports_far_apart_in_it_gives_each_once() -> None:
    filling = "    1,\n" * python._NEAR_BYTES
    found = imports_of(f"import_module(\n    import_module('a'),\n{filling}    import_module('b'))\n")
    assert [(statement.form, statement.specifier) for statement in found if statement.form is ImportForm.DYNAMIC] == [
        (ImportForm.DYNAMIC, "a"),
        (ImportForm.DYNAMIC, "b"),
    ]
    assert len(found) == 3


@pytest.mark.parametrize(
    ("statement", "specifier"),
    [
        ("from . import x", "."),
        ("from .a import x", ".a"),
        ("from ... import x", "..."),
        ("from ...a.b import x", "...a.b"),
        ("from . . a import x", "..a"),
        ("from.a import x", ".a"),
        ("from .import x", "."),
        ("from a . b import x", "a.b"),
    ],
)
def test_relative_imports_keep_their_dots(statement: str, specifier: str) -> None:
    assert imports_of(statement) == (ImportStatement(1, specifier, ImportForm.FROM, ("x",)),)


def test_brackets_comments_and_continuations_are_no_names() -> None:
    source = """
        from a import (  # why, indeed
            b as c,  # d, e
            f,
        )
        import g, \\
            h
        from i \\
            import j
        """
    assert imports_of(source) == (
        ImportStatement(2, "a", ImportForm.FROM, ("b", "f")),
        ImportStatement(6, "g"),
        ImportStatement(6, "h"),
        ImportStatement(8, "i", ImportForm.FROM, ("j",)),
    )


def test_imports_are_found_wherever_they_stand() -> None:
    source = """
        def f():
            try:
                import a
            except ImportError: from b import c
            else:
                with d: import e; import f
        class C:
            if x:
                async def g(self):
                    match y:
                        case 1:
                            import h
        lambda: __import__("i")
        """
    assert [(i.line, i.specifier) for i in imports_of(source)] == [
        (4, "a"),
        (5, "b"),
        (7, "e"),
        (7, "f"),
        (13, "h"),
        (14, "i"),
    ]


def test_imports_in_strings_and_comments_are_none() -> None:
    assert imports_of('"""\nimport a\n"""\n# import b\nx = "import c"\n') == ()


def test_type_checking_blocks_are_type_only_and_their_else_is_not() -> None:
    source = """
        import typing as t
        if t.TYPE_CHECKING:
            import a
            if x:
                from b import c
        else:
            import d
        if TYPE_CHECKING: import e
        import f
        """
    assert [(i.specifier, i.type_only) for i in imports_of(source)] == [
        ("typing", False),
        ("a", True),
        ("b", True),
        ("d", False),
        ("e", True),
        ("f", False),
    ]


def test_calls_that_import_a_literal_are_dynamic_and_others_computed() -> None:
    source = """
        importlib.import_module("a.b")
        import_module('.c', __package__)
        __import__("d")
        importlib.import_module(f"e.{name}")
        import_module(name)
        import_module()
        import_module("not a module!")
        """
    assert [(i.line, i.form, i.specifier) for i in imports_of(source)] == [
        (2, ImportForm.DYNAMIC, "a.b"),
        (3, ImportForm.DYNAMIC, ".c"),
        (4, ImportForm.DYNAMIC, "d"),
        (5, ImportForm.COMPUTED, 'f"e.{name}"'),
        (6, ImportForm.COMPUTED, "name"),
        (8, ImportForm.COMPUTED, '"not a module!"'),
    ]


def test_both_sides_of_a_merge_conflict_are_read() -> None:
    source = "<<<<<<< HEAD\nimport a\n=======\nimport b\n>>>>>>> theirs\nimport c\n"
    facts = read_source("m.py", Language.PYTHON, source.encode())
    assert facts.status is ReadStatus.SYNTAX_ERROR
    assert [i.specifier for i in facts.imports] == ["a", "b", "c"]


def test_names_outside_ascii_are_names() -> None:
    assert [i.specifier for i in imports_of("import größe.ñ, 日本\n")] == ["größe.ñ", "日本"]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(codecs.BOM_UTF8 + b"import a\nimport b\n", id="byte order mark"),
        pytest.param(b"# -*- coding: latin-1 -*-\nimport a  # \xe9\nimport b\n", id="Latin-1 with a cookie"),
        pytest.param(b"import a  # \xe9\nimport b\n", id="Latin-1 without a cookie"),
        pytest.param(b"# coding: no-such-codec\nimport a  # \xe9\nimport b\n", id="unknown cookie"),
        pytest.param(b"# coding: hex\nimport a  # \xe9\nimport b\n", id="cookie of no character set"),
        pytest.param("import a\nimport b\n".encode("utf-16"), id="UTF-16"),
        pytest.param(b"import a\r\nimport b\r\n", id="CRLF"),
        pytest.param(b"import a\nimport b", id="no newline at the end"),
        pytest.param(b"\x0cimport a\nimport b\n", id="form feed"),
    ],
)
def test_encodings_and_line_ends_do_not_matter(content: bytes) -> None:
    assert [i.specifier for i in imports_of(content)] == ["a", "b"]


def test_a_cookie_decides_what_a_name_is() -> None:
    assert [i.specifier for i in imports_of("# coding: koi8-r\nimport мир\n".encode("koi8-r"))] == ["мир"]


def test_a_broken_wide_encoding_is_unreadable() -> None:
    facts = read_source("m.py", Language.PYTHON, codecs.BOM_UTF16_LE + b"\x00\xd8\x00\xd8")
    assert facts.status is ReadStatus.UNREADABLE


def test_bundles_are_told_by_the_share_of_long_lines() -> None:
    line = b"x" * 990
    assert is_minified(b"/* licence */\n" * 200 + b"var a=1;" * 4000)
    assert not is_minified((line + b"\n") * 1000)
    assert not is_minified(b"const table = '" + b"y" * 5000 + b"';\n" + b"import a from 'b';\n" * 500)
    assert not is_minified(b"z" * 2000)  # a short file of one line is a fixture, not a bundle


def test_long_lines_of_typescript_are_no_bundle() -> None:
    names = b", ".join(b"Type%d" % i for i in range(1000))
    content = b"export type { " + names + b" } from './types.gen';\n"
    assert read_source("index.js", Language.JAVASCRIPT, content).status is ReadStatus.MINIFIED
    facts = read_source("index.ts", Language.TYPESCRIPT, content)
    assert [i.specifier for i in facts.imports] == ["./types.gen"]


def test_a_nul_in_a_literal_is_text_and_many_are_not() -> None:
    content = b"import a from './a';\nconst separator = '\0';\nconst after = require('./b');\n"
    content += b"// and so on\n" * 10
    facts = read_source("a.js", Language.JAVASCRIPT, content)
    assert (facts.status, [i.specifier for i in facts.imports]) == (ReadStatus.READ, ["./a", "./b"])
    for no_text in (content + b"\0" * 10, content + b"\xff"):
        assert read_source("a.js", Language.JAVASCRIPT, no_text).status is ReadStatus.UNREADABLE


def test_only_scripts_are_bundled() -> None:
    assert read_source("m.py", Language.PYTHON, b"import a\nx = '" + b"y" * 9000 + b"'\n").status is ReadStatus.READ


@given(st.binary(max_size=300), st.sampled_from(Language))
@settings(max_examples=200)
def test_text_comes_out_as_utf8_whatever_went_in(content: bytes, language: Language) -> None:
    text = as_utf8(content, language)
    assert text is None or (text.decode("utf-8") is not None and b"\0" not in text)


WORDS = (
    b"import from as . , ( ) * # \" ' a a.b \xc3 \xff { f' lambda TYPE_CHECKING: import_module __import__( def".split()
)
FRAGMENTS = st.sampled_from([*WORDS, b"if TYPE_CHECKING:", b" ", b"    ", b"\t", b"\n", b"\\\n"])


@given(st.one_of(st.binary(max_size=200), st.lists(FRAGMENTS, max_size=60).map(b"".join)))
@settings(max_examples=400)
def test_reading_python_never_raises(content: bytes) -> None:
    facts = python.read("m.py", Language.PYTHON, content)
    lines = content.count(b"\n") + 1
    for statement in facts.imports:
        assert statement.specifier
        assert 1 <= statement.line <= lines
        if statement.form in {ImportForm.MODULE, ImportForm.DYNAMIC}:
            assert all(part.isidentifier() for part in statement.specifier.lstrip(".").split("."))


STATEMENTS = st.builds(
    ImportStatement,
    line=st.integers(1, 10**6),
    specifier=st.text(max_size=20),
    form=st.sampled_from(ImportForm),
    names=st.lists(st.text(max_size=8), max_size=4).map(tuple),
    alias=st.text(max_size=5),
    type_only=st.booleans(),
)
NAMES = st.lists(st.text(max_size=10), max_size=5).map(tuple)


@given(
    st.builds(
        SourceFacts,
        path=st.just("a/b.go"),
        language=st.sampled_from(Language),
        status=st.sampled_from(ReadStatus),
        imports=st.lists(STATEMENTS, max_size=5).map(tuple),
        package=st.text(max_size=10),
        declares=NAMES,
        uses=NAMES,
    )
)
@settings(max_examples=200)
def test_facts_come_over_the_wire_as_they_were(facts: SourceFacts) -> None:
    buffer = bytearray(wire.frame([wire.pack_facts(facts)]) * 2)
    half = buffer[:-3]
    (message,) = wire.frames(half)
    assert wire.unpack_facts(facts.path, facts.language, message[0], {}) == facts
    assert len(list(wire.frames(buffer))) == 2
    assert not buffer
