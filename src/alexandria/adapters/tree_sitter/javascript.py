"""Reads the imports of JavaScript and TypeScript files."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

import tree_sitter
import tree_sitter_javascript
import tree_sitter_typescript

from alexandria.domain.imports.facts import ImportForm, ImportStatement, ReadStatus, SourceFacts
from alexandria.domain.language import Language

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tree_sitter import Node

_STATEMENTS = """
(import_statement source: (string)) @import
(export_statement source: (string)) @reexport
"""
# What may stand anywhere. To prepare these takes longer than to parse a dozen files, and many packages have none.
# `ERROR` too: beside a merge marker or a half-written line the parts of an import may hang there.
_ANYWHERE = """
(ERROR source: (string) @stray)
(call_expression function: (import) arguments: (arguments) @dynamic)
(call_expression function: (identifier) @function arguments: (arguments) @require (#eq? @function "require"))
"""
# The grammar reads `export import a = require("b")` as the alias of a name `require` and, beside it, ("b").
_IMPORT_EQUALS = """
(import_statement (import_require_clause source: (string))) @equals
(import_alias (identifier) @function (#eq? @function "require")) @alias
"""

# Where an import may be written: a word, and what makes it one. Whether it is an import at all is for the syntax
# tree to say.
_KEYWORDS = (
    (b"import", re.compile(rb"import(?:\s*[^\w\s]|\s+\w)")),
    (b"require", re.compile(rb"require\s*[(?</]")),
    (b"from", re.compile(rb"""from\s*['"/]""")),
)
_OVER_LITERAL = re.compile(rb"""[^'"`]*(?:'[^']*'?|"[^"]*"?|`[^`]*`?)?""")
# Signs of an import that is no statement at the top of the file.
_DEEP = (
    (b"import", re.compile(rb"import\s*(?:[(/?]|\.\s*(?:defer|source)\b)")),
    (b"require", re.compile(rb"require\s*[(?</]")),
    (b"declare", re.compile(rb"declare\s+module")),
)
# What the grammars lack, and what stands in its place in a second reading: a name, blanks, or something else of the
# same length, so that every position stays. What is read is taken from the file itself; in a literal, in a comment and
# inside a name none does any harm. One pattern for all of them would take longer than the parser.
_IMPORT_AS_TYPE = re.compile(
    rb"""import(?<![\w$.]import)\s*\(\s*(?P<literal>"[^"\\\n]*"|'[^'\\\n]*')\s*(?:,[^()]{0,200})?\)"""
)
_NAMES_LIKE_KEYWORDS = (
    re.compile(rb"in[\d_]*(?=\?\s*:)"),
    re.compile(rb"abstract(?=\?\s*:)"),
    re.compile(rb"using(?![ \t]*[\w$])"),  # the keyword has a name behind it
)
_LEFT_OUT = (
    re.compile(rb"(?P<kept>export)\s+type(?=\s*\*)"),
    re.compile(rb"(?P<kept>import)\s+(?:defer(?=\s*\*)|source(?=\s+[\w$]+\s+from\b))"),  # `import defer * as a from`
    re.compile(rb"(?P<kept>import)\s*\.\s*(?:defer|source)(?=\s*\()"),
    re.compile(rb"(?P<kept>[<,/])\s*(?:in\s+out|in|out)(?=\s+[\w$])"),  # variance: `interface A<in out T>`
    re.compile(rb"(?P<kept>abstract)\s+override(?=\s)"),
    # Attributes: as they were called at first, and of `export`.
    re.compile(rb"""(?P<kept>["'])\s*(?:assert|with)\s*\{[^{}]{0,200}\}"""),
)
# The start of a line that is the generic signature of an overload, which no semicolon parts from the one above.
_BEFORE_SIGNATURE = re.compile(
    rb"\n(?:(?<=[\w\])}>/]\n)|(?<=[\w\])}>/]\r\n))(?<!=>\n)(?<!=>\r\n)(?P<blanks>[ \t]*)[ \t](?=<[A-Z\r\n])"
)
_NO_LINE_END = re.compile(rb"[^\n]")
# An import as it is written; the first at the start of a line, and with no keyword of another in its clause.
_WRITTEN = re.compile(
    rb"""
    ^[ \t]*(?P<statement>import|export)\b
        (?P<clause>(?:(?!\b(?:im|ex)port\b)[\w\s$*,{}\x80-\xff]|^(?:<{7}|={7}|>{7}|\|{7})[^\n]*\n)*?\bfrom)?\s*
        (?P<source>"[^"\\\n]+"|'[^'\\\n]+')
  | (?<![\w$.])(?P<call>import|require)\s*\(\s*(?P<argument>"[^"\\\n]+"|'[^'\\\n]+')\s*[,)]
    """,
    re.VERBOSE | re.MULTILINE,
)
_MERGE_MARKER = re.compile(r"^[<=>|]{7}.*", re.MULTILINE)
_TEXT = "[(comment) (string) (string_fragment) (template_string) (regex) (jsx_text)] @text"
_NAMES = "[(identifier) (type_identifier)] @name"
_BLOCK_OR_LINE_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)|//[^\n]*", re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u\{([0-9a-fA-F]{1,6})\}|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(\r\n|.))", re.DOTALL)
_SIMPLE_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0", "\n": "", "\r\n": ""}

# `import("x").T` is a type when the first node above its member accesses stands where only types stand.
_MEMBERS = frozenset({"member_expression", "subscript_expression", "nested_identifier", "nested_type_identifier"})
_TYPE_PLACES = frozenset(
    """
    array_type asserts conditional_type constraint constructor_type default_type extends_type_clause function_type
    generic_type implements_clause index_type_query infer_type intersection_type lookup_type mapped_type_clause
    object_type optional_type parenthesized_type readonly_type rest_type tuple_type type_alias_declaration
    type_annotation type_arguments type_predicate type_query union_type
    """.split()  # noqa: SIM905 - a list of that many quoted names is harder to read
)
# `import a, { b as c } from`, with any part of it missing, and nothing in it but names and blanks.
_USUAL_CLAUSE = re.compile(
    r"(?:im|ex)port\s*(?:(?<=\s)(?!type(?:of)?\s)([\w$]+)(?:\s+(?=from)|\s*,\s*(?=\{)))?(?:\{([\w$\s,]*)\}\s*)?from\s*"
)
_PHASES = frozenset({"defer", "source"})
_SHOWN_BYTES = 200
_CASTS = frozenset({"as_expression", "satisfies_expression"})


@cache
def _parser(grammar: str) -> tree_sitter.Parser:
    return tree_sitter.Parser(_grammar(grammar))


@cache
def _grammar(grammar: str) -> tree_sitter.Language:
    if grammar == "javascript":
        return tree_sitter.Language(tree_sitter_javascript.language())
    if grammar == "tsx":
        return tree_sitter.Language(tree_sitter_typescript.language_tsx())
    return tree_sitter.Language(tree_sitter_typescript.language_typescript())


@cache
def _query(grammar: str, *, anywhere: bool) -> tree_sitter.Query:
    patterns = _STATEMENTS
    if anywhere:
        patterns += _ANYWHERE
        if grammar != "javascript":
            patterns += _IMPORT_EQUALS
    return tree_sitter.Query(_grammar(grammar), patterns)


@cache
def _query_of_broken(grammar: str, patterns: str) -> tree_sitter.Query:
    return tree_sitter.Query(_grammar(grammar), patterns)


def read(path: str, language: Language, content: bytes) -> SourceFacts:
    """Return what the file says of its imports. Never raises, whatever `content` holds.

    Args:
        path: Repository-relative posix path; its extension picks the grammar.
        language: JAVASCRIPT or TYPESCRIPT.
        content: The bytes of the file: UTF-8, with or without a byte order mark, or UTF-16 with one.
            Other encodings are read as far as they are ASCII.
    """
    if content[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        content = content.decode("utf-16", "replace").encode()
    grammar = _grammar_of(path, language, content)
    root = _parser(grammar).parse(content).root_node
    gaps: dict[int, re.Match[bytes]] = {}
    if root.has_error:
        grammar, root, gaps = _read_again(grammar, root, content)
    captures = _captures(grammar, root, content)
    found: list[tuple[int, ImportStatement]] = []
    for name, form in (("import", ImportForm.MODULE), ("reexport", ImportForm.REEXPORT)):
        found += [(node.start_byte, _statement(node, content, form)) for node in captures.get(name, ())]
    for name, form in (("dynamic", ImportForm.DYNAMIC), ("require", ImportForm.REQUIRE)):
        found += [(node.start_byte, _call(node, content, form)) for node in captures.get(name, ())]
    for name, literal_of in (("equals", _literal_in_clause), ("alias", _literal_after_alias)):
        for node in captures.get(name, ()):
            literal = literal_of(node)
            if literal is not None:
                found.append((node.start_byte, _equals(node, literal, content)))
    if gaps:
        found += _in_gaps(grammar, root, gaps)
    if root.has_error:
        seen = {(statement.line, statement.specifier) for _, statement in found}
        found += _lost(grammar, root, content, captures, seen)
    found.sort(key=lambda pair: pair[0])
    return SourceFacts(
        path,
        language,
        ReadStatus.SYNTAX_ERROR if root.has_error else ReadStatus.READ,
        tuple(statement for _, statement in found),
    )


def _read_again(grammar: str, root: Node, content: bytes) -> tuple[str, Node, dict[int, re.Match[bytes]]]:
    """Return grammar, tree and gaps of the reading that is best for a file in which the first one met an error.

    The gaps are those where a name stands in for `import("x")`, by their end.
    """
    gaps: dict[int, re.Match[bytes]] = {}

    def named(gap: re.Match[bytes]) -> bytes:
        gaps[gap.end()] = gap
        return _as_name(gap)

    # What TypeScript's grammar has besides types is newer too, and Flow's types are close to it.
    other = "tsx" if grammar == "javascript" else grammar
    filled = _IMPORT_AS_TYPE.sub(named, content)
    for pattern in _NAMES_LIKE_KEYWORDS:
        filled = pattern.sub(_as_name, filled)
    for pattern in _LEFT_OUT:
        filled = pattern.sub(_without, filled)
    if other == "typescript":
        filled = _BEFORE_SIGNATURE.sub(rb"\n\g<blanks>;", filled)
    if other == "tsx":  # in text and attributes of JSX, `&` need not begin a character reference
        filled = filled.replace(b"&", b"|")
    if other != grammar or filled != content:
        again = _parser(other).parse(filled).root_node
        if other == grammar or not again.has_error:
            return other, again, gaps
    return grammar, root, {}


def _as_name(gap: re.Match[bytes]) -> bytes:
    """Return a name that ends where `gap` ends; a name stands on one line."""
    last_line = gap[0].rfind(b"\n") + 1
    return _NO_LINE_END.sub(b" ", gap[0][:last_line]) + b"_" * (len(gap[0]) - last_line)


def _without(gap: re.Match[bytes]) -> bytes:
    return gap["kept"] + _NO_LINE_END.sub(b" ", gap[0][len(gap["kept"]) :])


def _in_gaps(grammar: str, root: Node, gaps: dict[int, re.Match[bytes]]) -> Iterator[tuple[int, ImportStatement]]:
    """Yield the `import("x")` in whose place a name was read: not those in comments and literals."""
    for node in tree_sitter.QueryCursor(_query_of_broken(grammar, _NAMES)).captures(root).get("name", ()):
        gap = gaps.get(node.end_byte)
        if gap is not None:
            line = node.start_point[0] + 1 - gap[0].count(b"\n")
            specifier = gap["literal"][1:-1].decode("utf-8", "replace")
            type_only = node.type == "type_identifier" or _is_type(node)
            form = ImportForm.MODULE if type_only else ImportForm.DYNAMIC
            yield gap.start(), ImportStatement(line, specifier, form, ("*",), type_only=type_only)


def _lost(
    grammar: str, root: Node, content: bytes, captures: dict[str, list[Node]], seen: set[tuple[int, str]]
) -> Iterator[tuple[int, ImportStatement]]:
    """Yield the imports of a file with syntax errors that the tree does not have, by how they are written.

    Args:
        grammar: The one of the tree.
        root: The tree, which still says what is comment and literal.
        content: The file.
        captures: What is captured of the tree.
        seen: Line and specifier of the imports that the tree has.
    """
    # A statement that was begun and not ended may have taken the specifier of the next.
    sources = [node.child_by_field_name("source") for name in ("import", "reexport") for node in captures.get(name, ())]
    seen |= {(node.start_point[0] + 1, _text_of(node, content)[0]) for node in sources if node is not None}
    texts = tree_sitter.QueryCursor(_query_of_broken(grammar, _TEXT)).captures(root).get("text", ())
    spans = sorted([(node.start_byte, node.end_byte) for node in texts], reverse=True)
    text_end = counted_to = 0
    line = 1
    for written in _WRITTEN.finditer(content):
        keyword, source = ("statement", "source") if written["statement"] else ("call", "argument")
        start = written.start(keyword)
        while spans and spans[-1][0] <= start:
            text_end = max(text_end, spans.pop()[1])
        if start < text_end:
            continue
        line += content.count(b"\n", counted_to, start)
        counted_to = start
        specifier = written[source][1:-1].decode("utf-8", "replace")
        source_line = line + content.count(b"\n", start, written.start(source))
        if (line, specifier) not in seen and (source_line, specifier) not in seen:
            yield start, _written(written, line, specifier)
        seen |= {(line, specifier), (source_line, specifier)}
    for node in captures.get("stray", ()):
        specifier = _text_of(node, content)[0]
        if (node.start_point[0] + 1, specifier) not in seen:
            yield node.start_byte, ImportStatement(node.start_point[0] + 1, specifier)


def _written(written: re.Match[bytes], line: int, specifier: str) -> ImportStatement:
    if written["call"]:
        form = ImportForm.REQUIRE if written["call"] == b"require" else ImportForm.DYNAMIC
        return ImportStatement(line, specifier, form, ("*",))
    text = written[0][: written.start("source") - written.start()].decode("utf-8", "replace")
    names, type_only = _clause(_MERGE_MARKER.sub("", text).strip())
    form = ImportForm.MODULE if written["statement"] == b"import" else ImportForm.REEXPORT
    return ImportStatement(line, specifier, form, names, type_only=type_only)


def _captures(grammar: str, root: Node, content: bytes) -> dict[str, list[Node]]:
    """Run the query over that part of the tree where an import can be; the walk is what costs, not the patterns."""
    last = max([_last(content, word, keyword) for word, keyword in _KEYWORDS])
    if last < 0:
        return {}
    anywhere = root.has_error or any(word in content and sign.search(content) for word, sign in _DEEP)
    cursor = tree_sitter.QueryCursor(_query(grammar, anywhere=anywhere))
    end = _OVER_LITERAL.match(content, last)
    cursor.set_byte_range(0, end.end() if end else len(content))
    if not anywhere:
        # Statements stand at the top and nowhere else: not one body of a function need be looked into.
        cursor.set_max_start_depth(2)
    return cursor.captures(root)


def _last(content: bytes, word: bytes, keyword: re.Pattern[bytes]) -> int:
    """Return where the last match of `keyword` starts, which starts with `word`; -1 if there is none."""
    place = content.rfind(word)
    while place >= 0 and not keyword.match(content, place):
        place = content.rfind(word, 0, place)
    return place


def _grammar_of(path: str, language: Language, content: bytes) -> str:
    if language is Language.TYPESCRIPT:
        return "tsx" if path.endswith(".tsx") else "typescript"
    # Flow's annotations are close enough to TypeScript's for the imports between them to be found.
    return "tsx" if b"@flow" in content[:2000] else "javascript"


def _statement(statement: Node, content: bytes, form: ImportForm) -> ImportStatement:
    """Read `import … from "x"`, `import "x"` or `export … from "x"`."""
    line = statement.start_point[0] + 1
    source = statement.child_by_field_name("source")
    if source is None:  # the query asks for one
        return ImportStatement(line, "", ImportForm.COMPUTED)
    names, type_only = _clause(content[statement.start_byte : source.start_byte].decode("utf-8", "replace"))
    return ImportStatement(line, _text_of(source, content)[0], form, names, type_only=type_only)


def _clause(text: str) -> tuple[tuple[str, ...], bool]:
    """Return the imported names in the text between the keyword and the specifier, and whether all are types."""
    if usual := _USUAL_CLAUSE.fullmatch(text):  # nearly all are written like this
        default, listed = usual.groups()
        taken = [words[0] for part in (listed or "").split(",") if (words := part.split(None, 1))]
        if "type" not in taken and "typeof" not in taken:
            return tuple(["default", *taken] if default else taken), False
    if "/" in text:
        text = _BLOCK_OR_LINE_COMMENT.sub(" ", text)
    words = text.replace("{", " { ").replace("}", " } ").replace(",", " , ").replace("*", " * ").split()
    words = words[1:-1] if words[-1:] == ["from"] else words[1:]
    modifier = words[0] if len(words) > 1 and words[1] not in {",", "from"} else ""
    type_only = modifier in {"type", "typeof"}
    if type_only or modifier in _PHASES:
        words = words[1:]
    names: list[str] = []
    inline_types = 0
    braces = False
    for part in " ".join(words).split(","):
        braces = braces or "{" in part
        name = part.replace("{", " ").replace("}", " ").split()
        if not name:
            continue
        if braces and len(name) in {2, 4} and name[0] in {"type", "typeof"}:
            inline_types += 1
            name = name[1:]
        names.append(name[0] if braces or name[0] == "*" else "default")
    return tuple(names), type_only or (inline_types > 0 and inline_types == len(names))


def _call(arguments: Node, content: bytes, form: ImportForm) -> ImportStatement:
    """Read `require(…)` or `import(…)`, given its arguments."""
    line = arguments.start_point[0] + 1
    first = next((node for node in arguments.named_children if node.type != "comment"), None)
    if first is None:
        return ImportStatement(line, "", ImportForm.COMPUTED)
    specifier, literal = _text_of(first, content)
    if not literal:
        return ImportStatement(line, specifier, ImportForm.COMPUTED)
    if form is ImportForm.DYNAMIC and arguments.parent is not None and _is_type(arguments.parent):
        return ImportStatement(line, specifier, ImportForm.MODULE, ("*",), type_only=True)
    return ImportStatement(line, specifier, form, ("*",))


def _is_type(child: Node) -> bool:
    """Whether an expression, which has the form of a type too, is the whole or the start of one."""
    node = child.parent
    while node is not None and node.type in _MEMBERS:
        child, node = node, node.parent
    if node is None:
        return False
    if node.type in _CASTS:
        return node.named_child(0) != child
    return node.type in _TYPE_PLACES


def _equals(statement: Node, literal: Node, content: bytes) -> ImportStatement:
    """Read `import a = require("x")`."""
    type_only = content[statement.start_byte : literal.start_byte].split()[1:2] == [b"type"]
    specifier = _text_of(literal, content)[0]
    return ImportStatement(statement.start_point[0] + 1, specifier, ImportForm.REQUIRE, ("*",), type_only=type_only)


def _literal_in_clause(statement: Node) -> Node | None:
    clauses = (node for node in statement.named_children if node.type == "import_require_clause")
    return next((clause.child_by_field_name("source") for clause in clauses), None)


def _literal_after_alias(alias: Node) -> Node | None:
    statement = alias.parent if alias.parent is not None and alias.parent.type == "export_statement" else alias
    beside = statement.next_named_sibling
    if beside is None or beside.type != "expression_statement":
        return None
    inner = beside.named_child(0)
    if inner is None or inner.type != "parenthesized_expression":
        return None
    literal = inner.named_child(0)
    return literal if literal is not None and literal.type == "string" else None


def _text_of(node: Node, content: bytes) -> tuple[str, bool]:
    """Return the value of a string literal and True, or the source text of anything else and False."""
    if node.type != "string" and not _is_plain_template(node):
        # Cut before it is decoded: such arguments nest, and each holds all that are in it.
        return content[node.start_byte : min(node.end_byte, node.start_byte + _SHOWN_BYTES)].decode(
            "utf-8", "replace"
        ), False
    text = content[node.start_byte + 1 : node.end_byte - 1].decode("utf-8", "replace")
    return (_ESCAPE.sub(_unescape, text) if "\\" in text else text), True


def _is_plain_template(node: Node) -> bool:
    return node.type == "template_string" and all(c.type != "template_substitution" for c in node.named_children)


def _unescape(match: re.Match[str]) -> str:
    digits = match[1] or match[2] or match[3]
    if digits:
        code = int(digits, 16)
        # A lone surrogate or a number above Unicode is no character; the specifier then names nothing.
        return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else "\N{REPLACEMENT CHARACTER}"
    return _SIMPLE_ESCAPES.get(match[4], match[4])
