"""What every source parser promises, sentence by sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from alexandria.adapters.tree_sitter.parser import TreeSitterParser
from alexandria.domain.imports import ReadStatus, SourceFacts
from alexandria.domain.language import Language
from alexandria.ports.source_parser import ParsingCancelledError, SourceParser

MAX_FILE_BYTES = 50_000

# On this the Python grammar's query takes minutes.
ENDLESS = b"import os\n" + b"(" * 400_000
HANG_DEADLINE_S = 2.0


def open_tree_sitter(max_file_bytes: int = MAX_FILE_BYTES) -> SourceParser:
    return TreeSitterParser(processes=2, max_file_bytes=max_file_bytes, deadline_s=HANG_DEADLINE_S)


ADAPTERS = [pytest.param(open_tree_sitter, id="tree_sitter")]


@pytest.fixture(params=ADAPTERS)
def open_parser(request: pytest.FixtureRequest) -> Callable[..., SourceParser]:
    opener: Callable[..., SourceParser] = request.param
    return opener


@pytest.fixture
def parser(open_parser: Callable[..., SourceParser]) -> SourceParser:
    return open_parser()


def parse_one(parser: SourceParser, path: str, content: bytes | None) -> SourceFacts:
    (facts,) = parser.parse([(path, content)])
    return facts


def test_no_files_give_no_facts(parser: SourceParser) -> None:
    assert list(parser.parse([])) == []


def test_every_file_has_its_facts_once(parser: SourceParser) -> None:
    files = {f"p/m{i}.py": f"import q{i}\n".encode() for i in range(700)}
    facts = list(parser.parse(files.items()))
    assert sorted(f.path for f in facts) == sorted(files)
    assert {f.path: f.imports[0].specifier for f in facts} == {f"p/m{i}.py": f"q{i}" for i in range(700)}
    assert {f.status for f in facts} == {ReadStatus.READ}


def test_files_of_every_language_are_read_as_their_language(parser: SourceParser) -> None:
    files = {
        "a.py": b"import one\n",
        "a.js": b"import x from './one.js';\n",
        "a.tsx": b"import type { X } from './one';\nconst y = <X/>;\n",
        "A.java": b"package p;\nimport p.q.One;\nclass A {}\n",
        "a.go": b'package a\n\nimport "one"\n',
    }
    facts = {f.path: f for f in parser.parse(files.items())}
    assert {path: f.language for path, f in facts.items()} == {
        "a.py": Language.PYTHON,
        "a.js": Language.JAVASCRIPT,
        "a.tsx": Language.TYPESCRIPT,
        "A.java": Language.JAVA,
        "a.go": Language.GO,
    }
    assert {path: (f.status, len(f.imports)) for path, f in facts.items()} == dict.fromkeys(files, (ReadStatus.READ, 1))


def test_a_file_whose_bytes_could_not_be_had_is_unreadable(parser: SourceParser) -> None:
    assert parse_one(parser, "a.py", None) == SourceFacts("a.py", Language.PYTHON, ReadStatus.UNREADABLE)


def test_bytes_that_are_no_text_are_unreadable(parser: SourceParser) -> None:
    assert parse_one(parser, "a.py", b"import a\n\0\0\x01").status is ReadStatus.UNREADABLE


def test_a_file_at_the_size_limit_is_read_and_one_above_it_is_too_large(parser: SourceParser) -> None:
    at_limit = b"import a\n".ljust(MAX_FILE_BYTES, b"#")
    assert len(parse_one(parser, "a.py", at_limit).imports) == 1
    assert parse_one(parser, "a.py", at_limit + b"#") == SourceFacts("a.py", Language.PYTHON, ReadStatus.TOO_LARGE)


def test_fifty_megabytes_on_one_line_are_too_large(parser: SourceParser) -> None:
    assert parse_one(parser, "a.js", b"x" * 50_000_000).status is ReadStatus.TOO_LARGE


def test_a_generated_bundle_is_minified_and_its_imports_are_not_read(parser: SourceParser) -> None:
    bundle = b"/* licence */\n" + b'require("./a");' * 1000
    assert parse_one(parser, "a.js", bundle) == SourceFacts("a.js", Language.JAVASCRIPT, ReadStatus.MINIFIED)


def test_a_file_with_syntax_errors_comes_back_with_what_could_be_read(parser: SourceParser) -> None:
    facts = parse_one(parser, "a.py", b"import a\ndef broken(:\n    pass\nimport b\n")
    assert facts.status is ReadStatus.SYNTAX_ERROR
    assert [i.specifier for i in facts.imports] == ["a", "b"]


def test_an_empty_file_is_read(parser: SourceParser) -> None:
    assert parse_one(parser, "a.py", b"") == SourceFacts("a.py", Language.PYTHON)


def test_ten_thousand_nested_brackets_do_no_harm(parser: SourceParser) -> None:
    assert parse_one(parser, "a.py", b"import a\nx = " + b"(" * 10_000 + b")" * 10_000).status in {
        ReadStatus.READ,
        ReadStatus.SYNTAX_ERROR,
        ReadStatus.CRASHED,
    }


def test_a_file_that_hangs_its_parser_costs_only_itself(open_parser: Callable[..., SourceParser]) -> None:
    files = [(f"m{i}.py", b"import q\n") for i in range(60)]
    files[20] = ("endless.py", ENDLESS)
    facts = {f.path: f for f in open_parser(max_file_bytes=1_000_000).parse(files)}
    assert facts.pop("endless.py") == SourceFacts("endless.py", Language.PYTHON, ReadStatus.CRASHED)
    assert len(facts) == 59
    assert {(f.status, len(f.imports)) for f in facts.values()} == {(ReadStatus.READ, 1)}


def test_files_are_drawn_lazily_and_a_bounded_number_of_bytes_is_held(parser: SourceParser) -> None:
    content = b"import a\n" + b"#" * 39_991
    drawn = 0

    def files() -> Iterator[tuple[str, bytes]]:
        nonlocal drawn
        for i in range(1000):
            drawn += 1
            yield f"m{i}.py", content

    facts = parser.parse(files())
    ahead = 0
    for answered, _ in enumerate(facts, start=1):
        ahead = max(ahead, drawn - answered)
    assert drawn == 1000
    assert ahead * len(content) < 4_000_000


def test_nothing_is_drawn_before_the_first_facts_are_asked_for(parser: SourceParser) -> None:
    drawn = []

    def files() -> Iterator[tuple[str, bytes]]:
        drawn.append("a.py")
        yield "a.py", b""

    parser.parse(files())
    assert drawn == []


def test_an_error_of_the_files_reaches_the_caller(parser: SourceParser) -> None:
    def files() -> Iterator[tuple[str, bytes]]:
        yield from ((f"m{i}.py", b"import q\n") for i in range(400))
        raise OSError("the disk has gone")

    with pytest.raises(OSError, match="the disk has gone"):
        list(parser.parse(files()))


def test_a_cancelled_parsing_raises(parser: SourceParser) -> None:
    with pytest.raises(ParsingCancelledError):
        list(parser.parse([("a.py", b"import a\n")], cancelled=lambda: True))


def test_a_cancel_in_the_middle_leaves_the_files_that_were_not_parsed(parser: SourceParser) -> None:
    seen: list[SourceFacts] = []
    drawn = 0

    def files() -> Iterator[tuple[str, bytes]]:
        nonlocal drawn
        while True:
            drawn += 1
            yield f"m{drawn}.py", b"import a\n" * 1000

    with pytest.raises(ParsingCancelledError):
        seen.extend(parser.parse(files(), cancelled=lambda: drawn > 300))
    assert drawn == 301


def test_a_cancel_is_noticed_while_a_file_hangs(open_parser: Callable[..., SourceParser]) -> None:
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > 4

    with pytest.raises(ParsingCancelledError):
        list(open_parser(max_file_bytes=1_000_000).parse([("endless.py", ENDLESS)], cancelled=cancelled))


@pytest.mark.parametrize("path", ["a.txt", "Makefile", "a.PY"])
def test_a_file_of_no_known_language_is_the_fault_of_the_caller(parser: SourceParser, path: str) -> None:
    with pytest.raises(ValueError, match="no source file"):
        list(parser.parse([(path, b"import a")]))


def test_a_parser_can_be_used_again(parser: SourceParser) -> None:
    assert parse_one(parser, "a.py", b"import a\n") == parse_one(parser, "a.py", b"import a\n")
