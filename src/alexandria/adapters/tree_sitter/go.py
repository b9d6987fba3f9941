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
_NAME = re.compile(rb"[A-Za-z_\x80-\xff][\w\x80-\xff]*")
_EXPORTED = re.compile(rb"[ \t]*\.\s*([A-Z\x80-\xff][\w\x80-\xff]*)")  # a line may break after the dot
_COMMENT = re.compile(rb"//[^\n]*|/\*.*?\*/", re.DOTALL)
_SHORT_VALUE_BYTES = 1000  # of a `:=`; only these are searched for names: the others would add up to the square
_BEFORE_MEMBER = b". \t"
_NO_NAMES = {b"_", b""}
_Captures = dict[str, list[tree_sitter.Node]]

_GO = tree_sitter.Language(tree_sitter_go.language())

# Selectors, field names, method names and labels have node types of their own in the grammar, so `@id` and `@type`
# are only what may name something of the file or the package. Every other capture says where a name is bound and
# from where to where (`@…_scope`), or that an identifier is no use of a name (`@no_use`). Each captured node costs
# more than a look at the bytes beside it: what is selected, and the names on the left of `:=`, are read there.
_QUERY = tree_sitter.Query(
    _GO,
    """
(package_clause (package_identifier) @package)
(import_spec) @import

(identifier) @id
(type_identifier) @type
(qualified_type) @qualified

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
(var_spec name: (identifier) @variable) @binder
(const_spec (identifier) @named)
(short_var_declaration) @assignment
(range_clause ":=") @assignment
(receive_statement ":=") @assignment

[(function_declaration) (method_declaration) (func_literal)] @function_scope
(type_switch_statement) @switch_scope
[(function_type) (method_elem)] @signature_scope
(block) @block
[
  (if_statement) (for_statement) (expression_switch_statement)
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
    content = content.removeprefix(_BOM) + b"\n"  # the grammar needs one behind the last declaration
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
        uses=_sorted_text(_uses(captures, content, bindings)),
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
        no_use: Positions of identifiers that use no name: where one is declared, keys of composite literals.
    """

    def __init__(self, captures: _Captures, content: bytes) -> None:
        # A key that is an identifier is a field, unless the type of the literal shows that it is an index. For
        # a named type the declaration would have to be seen; that of a struct is much the commoner one.
        keys = captures.get("key", ())
        self.no_use = {node.start_byte for node in keys} - {node.start_byte for node in captures.get("index", ())}
        self.declares: set[bytes] = set()
        for node in captures.get("function", ()):
            self.no_use.add(node.start_byte)
            self.declares.add(content[node.start_byte : node.end_byte])
        stretches = self._local_stretches(captures, content)
        self.hidden = {name: _union(of_name) for name, of_name in stretches.items()}
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
        self.no_use.update([start for start, _, _ in bound])
        bound += [(node.start_byte, node.end_byte, "assignment") for node in captures.get("assignment", ())]
        bound.sort()
        scopes = _Scopes(captures)
        stretches: dict[bytes, list[tuple[int, int]]] = defaultdict(list)
        binder = 0
        for start, end, kind in bound:
            scope = scopes.around(start)
            if kind == "assignment":
                self._assign(content, start, end, scope, stretches)
                continue
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

    def _assign(
        self,
        content: bytes,
        start: int,
        end: int,
        scope: tuple[int, int, int] | None,
        stretches: dict[bytes, list[tuple[int, int]]],
    ) -> None:
        """Take the names on the left of a `:=`, which are no uses there and visible from its end on.

        Between the two stands the value, where they still mean what they meant before.
        """
        left_end = content.find(b":=", start, end)
        if left_end < 0:  # the parser may put in what is missing
            return
        left = content[start:left_end]
        names = _NAME.findall(_COMMENT.sub(b"", left) if b"/" in left else left)
        if scope is None:
            self.declares.update(names)
            return
        short = end - left_end < _SHORT_VALUE_BYTES
        for name in names:
            if short and content.find(name, left_end, end) < 0:
                stretches[name].append((start, scope[2]))
            else:
                stretches[name] += ((start, left_end), (end, scope[2]))


class _Scopes:
    """Says which scope lies around a position, for positions that only grow."""

    def __init__(self, captures: _Captures) -> None:
        # (start, -end, where its parameters become visible): the outer one of two with the same start comes first.
        blocks = sorted([(node.start_byte, node.end_byte) for node in captures.get("block", ())], reverse=True)
        bodies = {end: start for start, end in blocks}  # where braces are missing, the outermost that ends there
        spans = [(start, -end, start) for start, end in blocks]
        spans += [(node.start_byte, -node.end_byte, node.start_byte) for node in captures.get("scope", ())]
        # Parameters of a function type or of an interface's method are visible nowhere.
        spans += [(node.start_byte, -node.end_byte, node.end_byte) for node in captures.get("signature_scope", ())]
        for node in captures.get("function_scope", ()):
            end = node.end_byte
            spans.append((node.start_byte, -end, bodies.get(end, end)))  # a function ends with its body
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
    if len(stretches) == 1:
        return list(stretches[0])
    stretches.sort()
    boundaries = list(stretches[0])
    for start, end in stretches:
        if start > boundaries[-1]:
            boundaries += (start, end)
        elif end > boundaries[-1]:
            boundaries[-1] = end
    return boundaries


def _uses(captures: _Captures, content: bytes, bindings: _Bindings) -> set[bytes]:
    """Return the names that are used where no local declaration hides them.

    Bare ones, and `qualifier.Name` where the qualifier may be an import and the name one that it exports.
    """
    hidden, no_use, declares = bindings.hidden, bindings.no_use, bindings.declares
    uses: set[bytes] = set()
    selectors: set[bytes] = set()
    for node in captures.get("id", ()):
        start, end = node.start_byte, node.end_byte
        name = content[start:end]
        stretches = hidden.get(name)
        if (stretches and bisect_right(stretches, start) & 1) or start in no_use:
            continue
        uses.add(name)
        if content[end] in _BEFORE_MEMBER and name not in declares and (member := _EXPORTED.match(content, end)):
            selectors.add(name + b"." + member[1])
    ends = set()
    qualified: set[bytes] = set()
    for node in captures.get("qualified", ()):
        start, end = node.start_byte, node.end_byte
        ends.add(end)
        selector = content[start:end]
        if selector in qualified:
            continue
        qualifier, dot, name = selector.partition(b".")
        stretches = hidden.get(qualifier)
        if stretches and bisect_right(stretches, start) & 1:
            continue
        qualified.add(selector)
        if qualifier not in declares and (member := _EXPORTED.match(dot + name)):
            selectors.add(qualifier + b"." + member[1])
    for node in captures.get("type", ()):
        start, end = node.start_byte, node.end_byte
        name = content[start:end]
        if name in uses or start in no_use or end in ends:  # the name of a qualified type ends where that one does
            continue
        stretches = hidden.get(name)
        if not stretches or bisect_right(stretches, start) % 2 == 0:
            uses.add(name)
    return uses - _NO_NAMES | selectors


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
