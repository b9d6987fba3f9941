"""What one source file says: its imports, and the names that resolution needs.

Named tuples and no dataclasses, here and in the modules beside: a repository has hundreds of thousands of
these values, a process that parses starts a third sooner without `dataclasses`, which imports `inspect`, and a
dataclass compiles its methods whenever it is loaded.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from alexandria.domain.language import Language


class ImportForm(StrEnum):
    """How an import is written."""

    MODULE = "module"  # Python `import a.b`; JS/TS `import … from`; Java `import a.B;`; Go `import "a/b"`
    FROM = "from"  # Python `from a import b, c`
    REEXPORT = "reexport"  # JS/TS `export … from`
    REQUIRE = "require"  # `require("lit")`, TypeScript `import x = require("lit")`
    DYNAMIC = "dynamic"  # JS/TS `import("lit")`, Python `importlib.import_module("lit")`
    WILDCARD = "wildcard"  # Java `import a.*;`
    STATIC = "static"  # Java `import static a.B.c;`
    STATIC_WILDCARD = "static_wildcard"  # Java `import static a.B.*;`
    COMPUTED = "computed"  # the specifier is not a literal: counted as dynamic, resolves to nothing


class ImportStatement(NamedTuple):
    """One import as the file writes it.

    Attributes:
        line: 1-based line of the statement.
        specifier: As written: `..pkg.mod` (with the dots), `./x`, `java.util.List`, `github.com/a/b`.
        form: How it is written.
        names: Python and JS/TS: the imported names (`*` for all). Empty elsewhere; what Go uses through
            an import stands in the file's `uses`, as only the imported package says its own name.
        alias: Go: the local name, `.` or `_` when given, else empty. Python and Java: empty.
        type_only: `import type`, `export type`, `import("x").T`, Python under `if TYPE_CHECKING`.
    """

    line: int
    specifier: str
    form: ImportForm = ImportForm.MODULE
    names: tuple[str, ...] = ()
    alias: str = ""
    type_only: bool = False


class ReadStatus(StrEnum):
    """How far a source file could be read; a file of any status is a node of the graph."""

    READ = "read"
    SYNTAX_ERROR = "syntax_error"  # the parser recovered: what it found is used, the file is counted
    TOO_LARGE = "too_large"  # over the size limit: not parsed
    MINIFIED = "minified"  # a generated bundle: not parsed
    UNREADABLE = "unreadable"  # no bytes could be had, or they are no text
    CRASHED = "crashed"  # the parser died or ran out of time on it


class SourceFacts(NamedTuple):
    """Everything that resolution needs to know of one file; small, picklable, free of syntax trees.

    Attributes:
        path: Repository-relative posix path.
        language: The language it was parsed as.
        status: How far it could be read.
        imports: In the order of the file.
        package: Java: the declared package. Go: the package clause. Empty elsewhere.
        declares: Java: declared types, nested ones with dots (`Outer.Inner`). Go: top-level names, no
            methods, `init` among them.
        uses: Java: type names used, written-out ones with dots. Go: names that no local
            declaration hides: bare ones, and `qualifier.name` whose qualifier may be an import.
    """

    path: str
    language: Language
    status: ReadStatus = ReadStatus.READ
    imports: tuple[ImportStatement, ...] = ()
    package: str = ""
    declares: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
