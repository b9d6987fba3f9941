"""Python: imports by one query a file."""

from __future__ import annotations

import bisect
import functools
import re
from collections.abc import Iterable
from typing import Final

import tree_sitter_python
from tree_sitter import Language as Grammar
from tree_sitter import Node, Parser, Query, QueryCursor

from alexandria.domain.imports.facts import ImportForm, ImportStatement, ReadStatus, SourceFacts
from alexandria.domain.language import Language

# Patterns of one node each: with what stands in it, a query takes up to four times as long to prepare, and in a small
# repository that is longer than to look into the nodes.
_STATEMENTS: Final = """
(import_statement) @import
(import_from_statement) @from
(future_import_statement) @from
"""
# Captured only where the bytes occur at all: conditions and calls are many, and few files need them.
_RARE: Final = """
(if_statement) @if
(call) @call
"""
# Between two that are looked for in one go. Each go starts at the root, which may lie a hundred thousand levels
# higher, so in a long file there are few.
_NEAR_BYTES: Final = 1000
_MOST_GOES: Final = 16
_IMPORTERS: Final = frozenset({b"import_module", b"__import__"})

# What the grammar lacks and a second reading goes without: defaults of type parameters (PEP 696), and the star of
# `return a, *[b]`. No import has either in it.
_TYPE_PARAMETERS: Final = re.compile(rb"\b(?:class|def|type)[ \t]+\w+[ \t]*\[(?:[^\[\]]|\[[^\[\]]*+\])*+\]")
_DEFAULT: Final = re.compile(rb"=(?:[^\[\],]|\[[^\[\]]*+\])*+")
_STAR: Final = re.compile(rb"(?:(?<=[,=])|(?<=return))(\s*)\*(?=\s*[\[(])")
_NO_LINE_END: Final = re.compile(rb"[^\n]")

# In error recovery a node may hold anything, so every name is checked.
_DOTTED: Final = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_IMPORT: Final = re.compile(r"\bimport\b")
_NOISE: Final = re.compile(r"#[^\n]*|\\\r?\n|[()]")  # comments, continuations, brackets
_AS: Final = re.compile(r"\s+as\s+")
_SPACE: Final = re.compile(r"\s+")
_LITERAL: Final = re.compile(r"""[rRuU]?(?:'([^'\\\n]*)'|"([^"\\\n]*)")""")


def read(path: str, language: Language, content: bytes) -> SourceFacts:
    """Return the imports of a Python file, wherever in it they stand; never raises.

    `import a, b as c` gives two statements, `from a import b, c` one with both names. A call of
    `import_module` or `__import__` with a literal gives a DYNAMIC one (relative names keep their
    dots, unless a literal says what they are relative to), with anything else a COMPUTED one.
    Imports under `if TYPE_CHECKING:` are type-only.
    """
    root = _parse(content)
    status = ReadStatus.SYNTAX_ERROR if root.has_error else ReadStatus.READ
    if b"import" not in content:
        return SourceFacts(path, language, status)
    has_calls = b"import_module" in content or b"__import__" in content
    captures = _captures(root, content, rare=has_calls or b"TYPE_CHECKING" in content)
    bodies = (_type_checking_body(node, content) for node in captures.get("if", ()))
    typing = _Spans([body for body in bodies if body is not None])
    found: list[tuple[int, ImportStatement]] = []
    for node in captures.get("import", ()):
        found.extend((node.start_byte, statement) for statement in _import(node, typing))
    froms = ((node.start_byte, _from(node, typing)) for node in captures.get("from", ()))
    found.extend((place, statement) for place, statement in froms if statement is not None)
    if has_calls:
        found.extend(_calls(captures.get("call", ()), path, content, typing))
    found.sort(key=lambda pair: pair[0])
    return SourceFacts(path, language, status, tuple([statement for _, statement in found]))


def _parse(content: bytes) -> Node:
    """Return the root of the syntax tree, without the errors that only the grammar sees."""
    parser = Parser(_grammar())
    root = parser.parse(content).root_node
    if root.has_error and (filled := _STAR.sub(rb"\1 ", _TYPE_PARAMETERS.sub(_without_defaults, content))) != content:
        root = parser.parse(filled).root_node
    return root


def _without_defaults(parameters: re.Match[bytes]) -> bytes:
    return _DEFAULT.sub(lambda default: _NO_LINE_END.sub(b" ", default[0]), parameters[0])


@functools.cache
def _grammar() -> Grammar:
    return Grammar(tree_sitter_python.language())


@functools.cache
def _query(*, rare: bool) -> Query:
    return Query(_grammar(), _STATEMENTS + _RARE * rare)


def _captures(root: Node, content: bytes, *, rare: bool) -> dict[str, list[Node]]:
    """Run the query where the word `import` stands; walking through the rest would cost a fifth of parsing it."""
    cursor = QueryCursor(_query(rare=rare))
    captures: dict[str, list[Node]] = {}
    near = max(_NEAR_BYTES, len(content) // _MOST_GOES)
    end = 0
    while (start := content.find(b"import", end)) >= 0:
        before, end = end, start
        while (place := content.find(b"import", end, end + near)) >= 0:
            end = place + len(b"import")
        cursor.set_byte_range(start, end)
        for name, nodes in cursor.captures(root).items():
            # What begins in the stretch before and reaches into this one was captured there.
            captures.setdefault(name, []).extend([node for node in nodes if node.start_byte >= before])
    return captures


def _type_checking_body(statement: Node, content: bytes) -> Node | None:
    """Return the block under `if TYPE_CHECKING:` or `if typing.TYPE_CHECKING:`, or None for any other condition."""
    condition = statement.child_by_field_name("condition")
    return statement.child_by_field_name("consequence") if _name(condition, content) == b"TYPE_CHECKING" else None


def _name(node: Node | None, content: bytes) -> bytes:
    """Return a plain name, or the last one of `a.b.c`; empty for anything else."""
    if node is not None and node.type == "attribute":
        node = node.child_by_field_name("attribute")
    return content[node.start_byte : node.end_byte] if node is not None and node.type == "identifier" else b""


class _Spans:
    """Byte ranges, and whether a place lies in one of them; nested ranges are allowed."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []  # the furthest end of all ranges up to here
        for node in sorted(nodes, key=lambda n: n.start_byte):
            self._starts.append(node.start_byte)
            self._ends.append(max(node.end_byte, self._ends[-1] if self._ends else 0))

    def __contains__(self, place: int) -> bool:
        before = bisect.bisect_right(self._starts, place)
        return before > 0 and place < self._ends[before - 1]


def _text(node: Node) -> str:
    return (node.text or b"").decode("utf-8", "replace")


def _clean(text: str) -> str:
    return _NOISE.sub(" ", text) if "\n" in text or "#" in text or "(" in text else text


def _import(node: Node, typing: _Spans) -> list[ImportStatement]:
    line, type_only = node.start_point[0] + 1, node.start_byte in typing
    statements = []
    for part in _clean(_text(node))[len("import") :].split(","):
        name = _SPACE.sub("", _AS.split(part.strip(), maxsplit=1)[0])
        if _DOTTED.fullmatch(name):
            statements.append(ImportStatement(line, name, type_only=type_only))
    return statements


def _from(node: Node, typing: _Spans) -> ImportStatement | None:
    parts = _IMPORT.split(_clean(_text(node)), maxsplit=1)
    if len(parts) < 2:
        return None
    specifier = _SPACE.sub("", parts[0][len("from") :])
    module = specifier.lstrip(".")
    if not specifier or (module and not _DOTTED.fullmatch(module)):
        return None
    names = [_AS.split(part.strip(), maxsplit=1)[0] for part in parts[1].split(",")]
    return ImportStatement(
        node.start_point[0] + 1,
        specifier,
        ImportForm.FROM,
        tuple([name for name in names if name == "*" or _DOTTED.fullmatch(name)]),
        type_only=node.start_byte in typing,
    )


def _calls(calls: Iterable[Node], path: str, content: bytes, typing: _Spans) -> list[tuple[int, ImportStatement]]:
    found = []
    for call in calls:
        function = _name(call.child_by_field_name("function"), content)
        if function not in _IMPORTERS:
            continue
        arguments = call.child_by_field_name("arguments")
        if arguments is None or arguments.type != "argument_list":
            continue
        argument, package = _arguments(arguments, content)
        if argument is None:
            continue
        name = _literal(argument)
        # The second argument of `__import__` is no package.
        if name.startswith(".") and package is not None and function == b"import_module":
            name = _absolute(name, package, path)
        module = name.lstrip(".")
        resolvable = bool(module and _DOTTED.fullmatch(module))
        found.append(
            (
                call.start_byte,
                ImportStatement(
                    call.start_point[0] + 1,
                    name if resolvable else _SPACE.sub(" ", _text(argument))[:100],
                    ImportForm.DYNAMIC if resolvable else ImportForm.COMPUTED,
                    type_only=call.start_byte in typing,
                ),
            )
        )
    return found


def _arguments(arguments: Node, content: bytes) -> tuple[Node | None, Node | None]:
    """Return the name and the package that are given to `import_module`; None for what is not."""
    values: list[Node] = []
    keywords: dict[bytes, Node | None] = {}
    for node in arguments.named_children:
        if node.type == "keyword_argument":
            keywords[_name(node.child_by_field_name("name"), content)] = node.child_by_field_name("value")
        elif node.type != "comment":
            values.append(node)
    name = values[0] if values else keywords.get(b"name")
    return name, values[1] if len(values) > 1 else keywords.get(b"package")


def _absolute(name: str, package: Node, path: str) -> str:
    """Return what a relative name means, given the package that it is relative to; empty if only the program knows.

    It stays relative where that is the file's own package, which resolution finds by itself.
    """
    given = _text(package)
    if given in {"__package__", "__spec__.parent"}:
        return name
    if given == "__name__":
        # The name of a module is one level below its package; that of a package is the package.
        in_module = path.rpartition("/")[2].partition(".")[0] != "__init__"
        return name[1:] if in_module and name.startswith("..") else name
    module = name.lstrip(".")
    parents = _literal(package).split(".")
    kept = len(parents) + 1 - (len(name) - len(module))
    return ".".join([*parents[:kept], module]) if kept > 0 and all(parents) else ""


def _literal(node: Node) -> str:
    """Return the value of a plain string literal, or nothing."""
    literal = _LITERAL.fullmatch(_text(node))
    return (literal[1] or literal[2] or "") if literal else ""
