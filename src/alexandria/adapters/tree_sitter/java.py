"""Reads Java: its package, imports and types, and the type names that its own declarations do not bind."""

from __future__ import annotations

import functools
import re
import sys
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final, NamedTuple

import tree_sitter_java
from tree_sitter import Language as Grammar
from tree_sitter import Node, Parser, Query, QueryCursor

from alexandria.domain.imports.facts import ImportForm, ImportStatement, ReadStatus, SourceFacts
from alexandria.domain.language import Language

# @type         every component of every written type
# @dotted       `a.b.C` or `Outer.Inner` where a type is expected: the whole, then each part that starts it
# @qualifier    what stands before the dot of a call: a variable or a type
# @reference    `a::b`: a name that starts it is a qualifier too; asking for it here is a quarter of the preparation
# @chain        what starts a chain of dots: a variable, a type or a package
# @declaration  a type
# @parameter    a type parameter, and @generic, the method that it belongs to
_QUERY: Final = """
(package_declaration [(identifier) (scoped_identifier)] @package)
(import_declaration) @import

(type_identifier) @type
(scoped_type_identifier) @dotted
(annotation name: (identifier) @type)
(annotation name: (scoped_identifier) @dotted)
(marker_annotation name: (identifier) @type)
(marker_annotation name: (scoped_identifier) @dotted)
(record_pattern . (identifier) @type)
(uses_module_directive type: (scoped_identifier) @dotted)
(provides_module_directive (scoped_identifier) @dotted)
(field_access object: (identifier) @chain)
(method_invocation object: (identifier) @qualifier)
(method_reference) @reference

[(class_declaration) (interface_declaration) (enum_declaration)
 (record_declaration) (annotation_type_declaration)] @declaration
(type_parameter (type_identifier) @parameter)
(method_declaration type_parameters: (_)) @generic
(constructor_declaration type_parameters: (_)) @generic
"""

# The body or the block around a type. A root that may be anything takes three times as long to prepare as all of the
# above; a hundred files are parsed in that time.
_HOLDERS: Final = """
(_ [(class_declaration) (interface_declaration) (enum_declaration)
    (record_declaration) (annotation_type_declaration)]) @holder
"""
_MANY_DECLARATIONS: Final = 200

_IDENTIFIER: Final = rb"[\w$\x80-\xff]+"
_COMMENT: Final = re.compile(rb"//[^\r\n]*|/\*.*?\*/", re.DOTALL)
_NAME: Final = re.compile(_IDENTIFIER)
_LOWER_CASE: Final = re.compile(rb"[a-z]")
_SPACE: Final = re.compile(rb"\s+")
_DOTTED: Final = rb"%b(?:\s*\.\s*%b)*" % (_IDENTIFIER, _IDENTIFIER)
_PACKAGE: Final = re.compile(rb"package\s+(%b)" % _DOTTED)
_IMPORT: Final = re.compile(rb"import(\s+static|\s+module)?\s+(%b(?:\s*\.\s*\*)?)" % _DOTTED)
# How nearly all files begin: comments, a package, and imports of which each has a line of its own. Nothing here is
# tried twice, whatever stands there.
_USUAL_HEADER: Final = re.compile(
    rb"""(?:\s++|//[^\n]*+|/\*(?>.*?\*/))*+package[ ]([a-zA-Z_]\w*(?:\.[a-zA-Z_]\w*)*);(?:[ \t]*\r?\n)+"""
    rb"""((?:import[ ](?:static[ ])?(?:[a-zA-Z_]\w*\.)+(?:\w+|\*);\r?\n|\r?\n)*)""",
    re.DOTALL,
)
# A package clause or an import, or what may hold something that only looks like one.
_HEADER: Final = re.compile(
    rb"""//[^\r\n]*|/\*(?:.*?\*/|.*)|\"{3}(?:[^"\\]|\\.|"(?!""))*(?:\"{3})?|"(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?"""
    rb"""|\b(package|import)\b(?:[^;{}()'"=<>/]|//[^\r\n]*|/\*.*?\*/)*""",
    re.DOTALL,
)
# Type arguments end a written-out name (`Outer<A>.Inner`), annotations may stand behind any of its dots.
_TYPE_ARGUMENTS: Final = re.compile(rb"<.*", re.DOTALL)
_ANNOTATION: Final = re.compile(rb"@\s*%b(?:\.%b)*(?:\s*\([^()]*\))?" % (_IDENTIFIER, _IDENTIFIER))
# What the grammar lacks, by what may stand in its place in a second reading: annotations before `...` (JLS 8.4.1; it
# knows them before `[]`), `import module` (7.5.5), and `super(…)` behind other statements (8.8.7; any other call may
# stand there). All keep their length, so that every position stays; names are taken from the file itself.
_GAPS: Final = re.compile(
    rb"(?P<annotations>@\s*+%b(?:\s*+\.\s*+%b)*+(?:\s*+\([^()]*+\))?+\s*+)\.\.\."
    rb"|(?<=import)(?P<module>\s+module)(?=\s+[\w$])|\b(?P<call>super|this)(?=\s*\()" % (_IDENTIFIER, _IDENTIFIER)
)
# A written-out type in an expression: packages in lower case, then one name that is not.
_WRITTEN_OUT: Final = re.compile(rb"(?:[a-z_][\w$]*\s*\.\s*)+[A-Z_$\x80-\xff][\w$\x80-\xff]*")

_FORMS: Final = {  # static?, wildcard?
    (False, False): ImportForm.MODULE,
    (False, True): ImportForm.WILDCARD,
    (True, False): ImportForm.STATIC,
    (True, True): ImportForm.STATIC_WILDCARD,
}
_BINDING_FORMS: Final = frozenset({ImportForm.MODULE, ImportForm.STATIC})
_BODIES: Final = frozenset({"class_body", "interface_body", "annotation_type_body", "enum_body_declarations"})
# Names of types deeper than this are written by nobody; without a bound their lengths would add up to
# the square of the file's.
_LONGEST_NAME: Final = 1000

_Span = tuple[int, int]


def read(path: str, language: Language, content: bytes) -> SourceFacts:
    """Read one Java file.

    `declares` names the types that other files can name, nested ones as `Outer.Inner`; local and
    anonymous ones are left out. `uses` holds the type names that resolution has to look up: simple
    names that no type of this file, no type parameter and no single-type import binds where they
    stand, and names that are written out (`java.util.List`). In an expression, what stands before a
    dot is taken for a type when it does not start in lower case.

    Never raises: broken source yields what the parser recovered, with status SYNTAX_ERROR.
    """
    if b"\n" not in content:  # the grammar would end no line comment at a lone carriage return
        content = content.replace(b"\r", b"\n")
    root = _parse(content)
    usual = None if root.has_error else _USUAL_HEADER.match(content)
    cursor = QueryCursor(_query(_QUERY))
    if usual:  # the parts of imports are many nodes, and nothing else of them is asked for
        cursor.set_byte_range(usual.end(), len(content))
    captured = cursor.captures(root)
    captured["holder"] = _holders(root, captured.get("declaration", ()))
    # An error may swallow the import beside it, and an annotated `package p;` looks like a variable.
    if usual:
        _, further = _header(content, captured)
        package, imports = usual[1].decode(), [*_usual_imports(content, usual), *further]
    elif root.has_error or ("package" not in captured and b"package" in content):
        package, imports = _scan(content)
    else:
        package, imports = _header(content, captured)
    declares, bound = _declarations(content, captured)
    uses = _uses(content, captured, bound)
    uses.difference_update(i.specifier.rpartition(".")[2] for i in imports if i.form in _BINDING_FORMS)
    return SourceFacts(
        path=path,
        language=language,
        status=ReadStatus.SYNTAX_ERROR if root.has_error else ReadStatus.READ,
        imports=tuple(imports),
        package=package,
        declares=declares,
        uses=tuple(sorted(uses)),
    )


@functools.cache
def _grammar() -> Grammar:
    return Grammar(tree_sitter_java.language())


@functools.cache
def _query(patterns: str) -> Query:
    return Query(_grammar(), patterns)


def _parse(content: bytes) -> Node:
    """Return the root of the syntax tree, without the errors that only the grammar sees."""
    parser = Parser(_grammar())
    root = parser.parse(content).root_node
    if root.has_error and (filled := _GAPS.sub(_stand_in, content)) != content:
        root = parser.parse(filled).root_node
    return root


def _stand_in(gap: re.Match[bytes]) -> bytes:
    if gap["annotations"]:
        return gap["annotations"] + b"[] "
    return (b"_" if gap["call"] else b" ") * len(gap[0])


def _holders(root: Node, declarations: Sequence[Node]) -> list[Node]:
    """Return the nodes around the declarations; one that holds several may come several times."""
    if len(declarations) > _MANY_DECLARATIONS:  # each `parent` is looked for from the root
        return QueryCursor(_query(_HOLDERS)).captures(root).get("holder", [])
    return [node.parent for node in declarations if node.parent is not None]


def _plain(name: bytes) -> str:
    """Return a dotted name without the comments, annotations and blanks that may stand in it."""
    if b"/" in name:
        name = _COMMENT.sub(b"", name)
    if b"<" in name:
        name = _TYPE_ARGUMENTS.sub(b"", name)
    if b"@" in name:
        name = _ANNOTATION.sub(b"", name)
    return _SPACE.sub(b"", name).decode("utf-8", "replace")


def _usual_imports(content: bytes, header: re.Match[bytes]) -> Iterator[ImportStatement]:
    """Yield the imports of a file that begins as nearly all do; each has a line of its own."""
    first = content.count(b"\n", 0, header.start(2)) + 1
    for line, written in enumerate(header[2].decode().splitlines(), first):
        if written:
            name = written[len("import ") : -1]
            plain = name.removeprefix("static ")
            yield ImportStatement(line, plain.removesuffix(".*"), _FORMS[plain != name, plain[-1] == "*"])


def _header(content: bytes, captured: dict[str, list[Node]]) -> tuple[str, list[ImportStatement]]:
    """Return the package and the imports that the parser found."""
    package = "".join(_plain(content[node.start_byte : node.end_byte]) for node in captured.get("package", ())[:1])
    imports: list[ImportStatement] = []
    line, counted = 1, 0
    spans = [(node.start_byte, node.end_byte) for node in captured.get("import", ())]
    for start, end in sorted(spans):  # captures come as their matches end
        line += content.count(b"\n", counted, start)
        counted = start
        text = content[start:end]
        name = text[len("import ") : -1].decode("ascii", "replace")
        usual = name.removeprefix("static ")
        if usual.replace(".", "_").isidentifier() and "." in usual and text[-1:] == b";":  # nearly all are like this
            imports.append(ImportStatement(line, usual, ImportForm.MODULE if usual == name else ImportForm.STATIC))
        else:
            imports.extend(_import(line, text))
    return package, imports


def _scan(content: bytes) -> tuple[str, list[ImportStatement]]:
    """Return the package and the imports by their words alone, outside of comments and literals."""
    package = ""
    imports: list[ImportStatement] = []
    line, counted = 1, 0
    for match in _HEADER.finditer(content):
        if match[1] == b"import":
            line += content.count(b"\n", counted, match.start())
            counted = match.start()
            imports.extend(_import(line, match[0]))
        elif match[1] and not package and (clause := _PACKAGE.match(_COMMENT.sub(b" ", match[0]))):
            package = _plain(clause[1])
    return package, imports


def _import(line: int, text: bytes) -> Iterator[ImportStatement]:
    """Yield what an import says, or nothing if it names no type: `import java.` with an end that is missing."""
    match = _IMPORT.match(_COMMENT.sub(b" ", text) if b"/" in text else text)
    if match is None:
        return
    name = _plain(match[2])
    if match[1] and match[1].endswith(b"module"):
        yield ImportStatement(line, f"module {name}", ImportForm.WILDCARD)
    elif name.endswith(".*"):
        yield ImportStatement(line, name[:-2], _FORMS[bool(match[1]), True])
    elif "." in name:  # what has no package cannot be imported
        yield ImportStatement(line, name, _FORMS[bool(match[1]), False])


class _Around(NamedTuple):
    """A node that a declaration may stand in."""

    start: int
    end: int
    role: str
    node: Node
    name: str = ""  # of a type that other files can name


def _declarations(content: bytes, captured: dict[str, list[Node]]) -> tuple[tuple[str, ...], dict[bytes, list[_Span]]]:
    """Return the types that other files can name, and where in the file which name is bound.

    One sweep over the declarations, with those around on a stack. Scopes as in the Java Language Specification, 6.3.
    """
    around: list[_Around] = []
    declares: list[str] = []
    bound: dict[bytes, list[_Span]] = {}
    for start, end, role, node in _in_order(captured):
        while around and around[-1].end <= start:
            around.pop()
        name = ""
        if role == "parameter":
            bound.setdefault(content[start:end], []).append((around[-1].start, around[-1].end) if around else (0, end))
            continue
        if role == "declaration" and (identifier := node.child_by_field_name("name")) is not None:
            simple = content[identifier.start_byte : identifier.end_byte]
            span, prefix = _scope(start, around)
            bound.setdefault(simple, []).append(span)
            if prefix is not None and len(prefix) < _LONGEST_NAME:
                name = prefix + simple.decode("utf-8", "replace")
                declares.append(name)
        around.append(_Around(start, end, role, node, name))
    return tuple(declares), bound


def _in_order(captured: dict[str, list[Node]]) -> list[tuple[int, int, str, Node]]:
    """Return declarations and what holds them, outer before inner."""
    found = [
        (node.start_byte, node.end_byte, role, node)
        for role in ("holder", "generic", "declaration", "parameter")
        for node in captured.get(role, ())
    ]
    # A holder may span the same bytes as the only declaration in it; the sort is stable and keeps it first.
    found.sort(key=lambda item: (item[0], -item[1]))
    return found


def _scope(start: int, around: Sequence[_Around]) -> tuple[_Span, str | None]:
    """Return where a type declared at `start` is bound, and what stands before its name.

    The prefix is None when other files cannot name the type: it is local or in an anonymous class.
    """
    enclosing = next((a for a in reversed(around) if a.role == "declaration"), None)
    if enclosing is None:
        return (0, sys.maxsize), ""
    holder = around[-1]
    kind = holder.node.type
    # The body of a type ends where its declaration ends; that of an anonymous class in it does not.
    if kind in ("enum_body_declarations", "ERROR") or (kind in _BODIES and holder.end == enclosing.end):
        # Constants stand before the declarations of an enum, components before the body of a record.
        whole = enclosing.node.type in ("enum_declaration", "record_declaration")
        span = (enclosing.start if whole else holder.start, enclosing.end)
        return span, f"{enclosing.name}." if enclosing.name else None
    return (holder.start if kind in _BODIES else start, holder.end), None


def _uses(content: bytes, captured: dict[str, list[Node]], bound: dict[bytes, list[_Span]]) -> set[str]:
    """Return the type names that the file uses and does not bind."""
    nodes = captured.get("type", [])
    used: set[str] = set()
    heads: list[tuple[bytes, int]] = []
    if "dotted" in captured:
        written_out, heads, starts = _dotted(content, captured["dotted"])
        used |= written_out
        # What stands behind a dot ends where the name up to there ends. (As a pattern of the query, this
        # would take the square of the dots.)
        ends = {node.end_byte for node in captured["dotted"]}
        nodes = [node for node in nodes if node.start_byte not in starts and node.end_byte not in ends]
    chains = captured.get("chain", [])
    for node in chains:
        if match := _WRITTEN_OUT.match(content, node.start_byte):
            used.add(_plain(match[0]))
    firsts = [node.named_child(0) for node in captured.get("reference", ())]
    referring = [node for node in firsts if node is not None and node.type == "identifier"]
    qualifiers = [*captured.get("qualifier", ()), *chains, *referring]

    # Hundreds of names a file pass here: one slice each, and a second look only at those that clash.
    types = [content[node.start_byte : node.end_byte] for node in nodes]
    before_dots = [content[node.start_byte : node.end_byte] for node in qualifiers]
    names = {name for name in set(before_dots) if not _LOWER_CASE.match(name)}
    names.update(types, [name for name, _ in heads])
    names.discard(b"")  # the parser may put in a name that is missing
    if clashing := names & bound.keys():
        names -= clashing
        both = zip(chain(types, before_dots), chain(nodes, qualifiers), strict=True)
        places = chain(heads, [(name, node.start_byte) for name, node in both if name in clashing])
        names |= _free(places, {name: _merged(bound[name]) for name in clashing})
    used.update(b" ".join(names).decode("utf-8", "replace").split(" ") if names else ())
    return used


def _dotted(content: bytes, nodes: Sequence[Node]) -> tuple[set[str], list[tuple[bytes, int]], set[int]]:
    """Return the names that start with a package, the types that start others, and where all of them start."""
    written_out: set[str] = set()
    heads: list[tuple[bytes, int]] = []
    starts: set[int] = set()
    for node in sorted(nodes, key=lambda node: (node.start_byte, -node.end_byte)):
        start = node.start_byte
        if start in starts:  # the beginning of a longer one
            continue
        starts.add(start)
        head = _NAME.match(content, start)
        if head is None or _LOWER_CASE.match(head[0]):
            written_out.add(_plain(content[start : node.end_byte]))
        else:
            heads.append((head[0], start))
    return written_out, heads, starts


def _merged(spans: Sequence[_Span]) -> list[_Span]:
    """Return the same stretch of the file as spans that are apart, in order."""
    merged: list[_Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _free(places: Iterable[tuple[bytes, int]], bound: dict[bytes, list[_Span]]) -> set[bytes]:
    """Return the names of `bound` that stand somewhere outside of the spans where they are bound."""
    free: set[bytes] = set()
    for name, start in places:
        spans = bound.get(name)
        if spans is None or name in free:
            continue
        before = bisect_right(spans, (start, sys.maxsize)) - 1
        if before < 0 or spans[before][1] <= start:
            free.add(name)
    return free
