"""What a Go file says: its imports, what it declares, and what it uses of its package and of its imports."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable

import tree_sitter
import tree_sitter_go

from alexandria.domain.imports.facts import ImportStatement, ReadStatus, SourceFacts
from alexandria.domain.language import Language

_NEW = re.compile(rb"\bnew\(")
_BOM = b"\xef\xbb\xbf"
_NO_NAMES = {b"_", b""}
_Captures = dict[str, list[tree_sitter.Node]]

_GO = tree_sitter.Language(tree_sitter_go.language())

# Selectors, field names, method names and labels have node types of their own in the grammar, so `@id` is
# only what may name something of the file or the package. Every other capture says where a name is bound and
# from where to where (`@…_scope`), or that an identifier is no use of a name (`@no_use`).
_QUERY = tree_sitter.Query(
    _GO,
    """
(package_clause (package_identifier) @package)
(import_spec) @import

(identifier) @id
(type_identifier) @id
(selector_expression operand: (identifier)) @selector
(qualified_type name: (type_identifier) @no_use) @selector

(keyed_element key: (literal_element (identifier) @key))
(composite_literal
  type: [(map_type) (array_type) (slice_type) (implicit_length_array_type)]
  body: (literal_value (keyed_element key: (literal_element (identifier) @index))))

(function_declaration name: (identifier) @function)
(parameter_declaration name: (identifier) @parameter)
(variadic_parameter_declaration name: (identifier) @parameter)
(type_switch_statement alias: (expression_list (identifier) @parameter))
(type_parameter_declaration name: (identifier) @type_parameter)
(type_spec name: (type_identifier) @named)
(type_alias name: (type_identifier) @named)
(method_declaration receiver: (parameter_list (parameter_declaration type: [
  (generic_type type_arguments: (type_arguments (type_elem (type_identifier) @type_parameter)))
  (pointer_type (generic_type type_arguments: (type_arguments (type_elem (type_identifier) @type_parameter))))
])))
(short_var_declaration left: (expression_list (identifier) @variable)) @binder
(var_spec name: (identifier) @variable) @binder
(const_spec (identifier) @named)
(range_clause left: (expression_list (identifier) @variable) ":=") @binder
(receive_statement left: (expression_list (identifier) @variable) ":=") @binder

[(function_declaration) (method_declaration) (func_literal)] @function_scope
(type_switch_statement) @switch_scope
[(function_type) (method_elem)] @signature_scope
[
  (block) (if_statement) (for_statement) (expression_switch_statement)
  (expression_case) (type_case) (default_case) (communication_case)
  (type_spec) (type_alias)
] @scope
""",
)


def read(path: str, language: Language, content: bytes) -> SourceFacts:
    """Return what one Go file says of its imports; no content makes it raise.

    `declares` holds the names of the package block that the file declares, and `init` when it has a
    `func init()`. `uses` holds every name that is used where no local declaration of that name is in
    scope: bare ones (`parse`) and qualified, exported ones (`url.Parse`), whose qualifier is an import or a
    name of the package; which one, only resolution knows. Both are sorted.

    Args:
        path: Repository-relative posix path; handed through.
        language: `Language.GO`; handed through.
        content: The file's bytes. A byte order mark is passed over.
    """
    content = content.removeprefix(_BOM)
    root = _parse(content)
    captures = tree_sitter.QueryCursor(_QUERY).captures(root)
    bindings = _Bindings(captures, content)
    packages = sorted(captures.get("package", ()), key=lambda node: node.start_byte)  # captures come in no order
    return SourceFacts(
        path=path,
        language=language,
        status=ReadStatus.SYNTAX_ERROR if root.has_error else ReadStatus.READ,
        imports=_imports(captures.get("import", ()), content),
        package=_text(packages[0], content) if packages else "",
        declares=_sorted_text(bindings.declares),
        uses=_sorted_text(_qualified_uses(captures, content, bindings) | _bare_uses(captures, content, bindings)),
    )


def _parse(content: bytes) -> tree_sitter.Node:
    """Return the root of the syntax tree."""
    parser = tree_sitter.Parser(_GO)
    root = parser.parse(content).root_node
    if root.has_error and b"new(" in content:
        # Since Go 1.26 `new` takes an expression; the grammar wants a type, but only of a function of that name.
        # Text of the same length keeps every position, and names are taken from `content`.
        without_new = parser.parse(_NEW.sub(b"neW(", content)).root_node
        if not without_new.has_error:
            return without_new
    return root


class _Bindings:
    """What the names of a file are bound to.

    Attributes:
        declares: Names that the file declares in the package block.
        hidden: For each name that is declared locally: the sorted boundaries of the stretches of bytes
            where that declaration is in scope (in, out, in, …).
        no_use: Positions of identifiers that use no name: where one is declared, the name in `url.Parse`,
            keys of composite literals.
    """

    def __init__(self, captures: _Captures, content: bytes) -> None:
        # A key that is an identifier is a field, unless the type of the literal shows that it is an index. For
        # a named type the declaration would have to be seen; that of a struct is much the commoner one.
        keys = captures.get("key", ())
        self.no_use = {node.start_byte for node in keys} - {node.start_byte for node in captures.get("index", ())}
        self.no_use.update(node.start_byte for node in captures.get("no_use", ()))
        self.declares: set[bytes] = set()
        for node in captures.get("function", ()):
            self.no_use.add(node.start_byte)
            self.declares.add(content[node.start_byte : node.end_byte])
        self.hidden = {name: _union(stretches) for name, stretches in self._local_stretches(captures, content).items()}
        self.declares -= _NO_NAMES

    def _local_stretches(self, captures: _Captures, content: bytes) -> dict[bytes, list[tuple[int, int]]]:
        """Return where each local declaration is in scope, and take the others into `declares`."""
        binders = [(node.start_byte, node.end_byte) for node in captures.get("binder", ())]
        binders.append((len(content), len(content)))
        binders.sort()
        bound = [
            (node.start_byte, node.end_byte, kind)
            for kind in ("parameter", "variable", "named", "type_parameter")
            for node in captures.get(kind, ())
        ]
        bound.sort()
        self.no_use.update(start for start, _, _ in bound)
        scopes = _Scopes(captures)
        stretches: dict[bytes, list[tuple[int, int]]] = defaultdict(list)
        binder = 0
        for start, end, kind in bound:
            scope = scopes.around(start)
            if scope is None:
                self.declares.add(content[start:end])
                continue
            scope_start, visible_from, visible_to = scope
            if kind == "variable":
                while binders[binder + 1][0] <= start:
                    binder += 1
                visible_from = binders[binder][1]
            elif kind == "named":
                # Right for types. A constant is visible after its value only, but packages have thousands of them,
                # and to capture each once more, for a local `const x = x`, costs more than all else here.
                visible_from = start
            elif kind == "type_parameter":
                visible_from = scope_start  # their constraints may name one another in any order
            if visible_from < visible_to:
                stretches[content[start:end]].append((visible_from, visible_to))
        return stretches


class _Scopes:
    """Says which scope lies around a position, for positions that only grow."""

    def __init__(self, captures: _Captures) -> None:
        # (start, -end, where its parameters become visible): the outer one of two with the same start comes first.
        spans = [(node.start_byte, -node.end_byte, node.start_byte) for node in captures.get("scope", ())]
        # Parameters of a function type or of an interface's method are visible nowhere.
        spans += [(node.start_byte, -node.end_byte, node.end_byte) for node in captures.get("signature_scope", ())]
        for node in captures.get("function_scope", ()):
            body = node.child_by_field_name("body")
            spans.append((node.start_byte, -node.end_byte, body.start_byte if body else node.end_byte))
        for node in captures.get("switch_scope", ()):
            value = node.child_by_field_name("value")
            spans.append((node.start_byte, -node.end_byte, value.end_byte if value else node.start_byte))
        spans.sort(reverse=True)
        self._spans = spans
        self._open: list[tuple[int, int, int]] = []

    def around(self, position: int) -> tuple[int, int, int] | None:
        """Return (start, where its parameters become visible, end) of the innermost scope, or None.

        A scope that begins at `position` is not around it: the name of a type stands outside of the
        scope of its type parameters.
        """
        spans, opened = self._spans, self._open
        while spans and spans[-1][0] < position:
            start, negative_end, visible_from = spans.pop()
            while opened and opened[-1][2] <= start:
                opened.pop()
            opened.append((start, visible_from, -negative_end))
        while opened and opened[-1][2] <= position:
            opened.pop()
        return opened[-1] if opened else None


def _union(stretches: list[tuple[int, int]]) -> list[int]:
    """Return the sorted boundaries of the union of half-open intervals."""
    stretches.sort()
    boundaries = list(stretches[0])
    for start, end in stretches:
        if start > boundaries[-1]:
            boundaries += (start, end)
        elif end > boundaries[-1]:
            boundaries[-1] = end
    return boundaries


def _bare_uses(captures: _Captures, content: bytes, bindings: _Bindings) -> set[bytes]:
    """Return the names that an identifier uses where no local declaration hides them."""
    hidden, no_use = bindings.hidden, bindings.no_use
    uses: set[bytes] = set()
    for node in captures.get("id", ()):
        start = node.start_byte
        name = content[start : node.end_byte]
        if name in uses or start in no_use:
            continue
        if name not in hidden or bisect_right(hidden[name], start) % 2 == 0:
            uses.add(name)
    return uses - _NO_NAMES


def _qualified_uses(captures: _Captures, content: bytes, bindings: _Bindings) -> set[bytes]:
    """Return `qualifier.Name` for the qualifiers that may be an import, and names that it may export."""
    hidden, declares = bindings.hidden, bindings.declares
    uses: set[bytes] = set()
    decided: set[bytes] = set()
    for node in captures.get("selector", ()):
        start = node.start_byte
        selector = content[start : node.end_byte]
        if selector in decided:
            continue
        qualifier, _, name = selector.partition(b".")
        if b"_" <= name[:1] <= b"z":  # a name that is not exported; most are fields
            decided.add(selector)
            continue
        if qualifier in hidden and bisect_right(hidden[qualifier], start) % 2:
            continue
        decided.add(selector)
        words = name.split()  # a line may break after the dot
        if words and qualifier not in declares:
            uses.add(qualifier + b"." + words[-1])
    return uses


def _imports(specs: Iterable[tree_sitter.Node], content: bytes) -> tuple[ImportStatement, ...]:
    imports = []
    for spec in specs:
        path = spec.child_by_field_name("path")
        alias = spec.child_by_field_name("name")
        if path is not None and not path.is_missing:
            line = spec.start_point.row + 1
            specifier = _text(path, content).strip('"`')
            imports.append(ImportStatement(line, specifier, alias=_text(alias, content) if alias else ""))
    return tuple(sorted(imports, key=lambda statement: (statement.line, statement.specifier)))


def _text(node: tree_sitter.Node, content: bytes) -> str:
    return content[node.start_byte : node.end_byte].decode("utf-8", "replace")


def _sorted_text(names: Iterable[bytes]) -> tuple[str, ...]:
    return tuple(sorted(name.decode("utf-8", "replace") for name in names))
