"""Python: from import statement to file, as CPython's path finder would have it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Final

from alexandria.domain.imports import python_layout
from alexandria.domain.imports.facts import ImportForm, ImportStatement, SourceFacts
from alexandria.domain.imports.outcome import EdgeKind, FileOutcome, Outcome, Resolved
from alexandria.domain.imports.python_modules import Missing, Module, Modules
from alexandria.domain.imports.tree import RepoTree

# The interpreter that runs us is not the one that the repository was written for, so modules that later
# versions dropped are kept.
_DROPPED: Final = (
    "aifc asynchat asyncore audioop cgi cgitb chunk crypt distutils imghdr imp lib2to3 mailcap msilib nis nntplib "
    "ossaudiodev pipes smtpd sndhdr spwd sunau telnetlib uu xdrlib"
)
_STDLIB: Final = sys.stdlib_module_names.union(_DROPPED.split())
_MAX_TRIED: Final = 6  # directories; more would not help whoever reads them


def wanted_manifests(tree: RepoTree) -> set[str]:
    """Return the packaging metadata whose text is not there yet; see `imports.wanted_manifests`."""
    return {path for path in tree.paths if python_layout.is_manifest(path)} - tree.manifests.keys()


def resolve(tree: RepoTree, facts: Sequence[SourceFacts]) -> Iterator[FileOutcome]:
    """Yield the outcome of each file, in order; see `imports.resolve_imports`."""
    if not facts:
        return
    resolver = _Resolver(tree, facts)
    for file in facts:
        yield FileOutcome(file.path, tuple(resolver.outcomes(file)))


class _Resolver:
    def __init__(self, tree: RepoTree, facts: Sequence[SourceFacts]) -> None:
        self._modules = Modules(tree, facts)
        self._facts = facts
        self._imported: dict[str, set[str]] = {}  # top-level name → names that somebody imports from it
        self._used: dict[tuple[tuple[str, ...], str], bool] = {}

    def outcomes(self, file: SourceFacts) -> Iterator[Outcome]:
        for statement in file.imports:
            kind = EdgeKind.TYPE_ONLY if statement.type_only else EdgeKind.IMPORT
            line, specifier = statement.line, statement.specifier
            if statement.form is ImportForm.COMPUTED:
                yield Outcome(line, specifier, Resolved.DYNAMIC, kind, reason="the name is not a literal")
            elif specifier.startswith("."):
                yield from self._relative(file.path, statement, kind)
            elif specifier.partition(".")[0] in _STDLIB:
                yield Outcome(line, specifier, Resolved.EXTERNAL, kind, reason="standard library")
            else:
                yield from self._absolute(file.path, statement, kind)

    def _absolute(self, importer: str, statement: ImportStatement, kind: EdgeKind) -> Iterator[Outcome]:
        module = self._modules.find(self._modules.path_of(importer), statement.specifier)
        if isinstance(module, Missing) and module.parent is None:
            module = self._modules.fixture(importer, statement.specifier) or module
        yield from self._outcomes_of(importer, statement, kind, module)

    def _relative(self, importer: str, statement: ImportStatement, kind: EdgeKind) -> Iterator[Outcome]:
        rest = statement.specifier.lstrip(".")
        climbed = len(statement.specifier) - len(rest) - 1
        parts = importer.split("/")[:-1]
        if climbed > len(parts):
            reason = "climbs out of the repository"
            yield Outcome(statement.line, statement.specifier, Resolved.UNRESOLVED, kind, reason=reason)
            return
        directory = "/".join(parts[: len(parts) - climbed])
        module = self._modules.descend(self._modules.at(directory), rest)
        if isinstance(module, Missing) or (not module.has_file and statement.form is ImportForm.FROM):
            # The directory may be one portion of a namespace package, and the module lie in another.
            dotted = self._modules.name_of(directory)
            if dotted:
                path = self._modules.path_of(directory + "/_")
                wider = self._modules.find(path, f"{dotted}.{rest}" if rest else dotted)
                module = wider if isinstance(wider, Module) else module
        yield from self._outcomes_of(importer, statement, kind, module)

    def _outcomes_of(
        self, importer: str, statement: ImportStatement, kind: EdgeKind, module: Module | Missing
    ) -> Iterator[Outcome]:
        if isinstance(module, Missing):
            yield self._not_found(importer, statement, kind, module)
            return
        if statement.form is not ImportForm.FROM:
            yield _inside(importer, statement, kind, [module])
            return
        targets: list[Module] = []
        gaps: list[Missing] = []
        for name in statement.names or ("*",):
            sub = self._modules.submodule(module, name) if name != "*" else None
            if sub is not None:
                targets.append(sub)
            elif module.has_file or name == "*":
                targets.append(module)
            else:
                gaps.append(self._modules.gap(module, name))
        if targets:
            yield _inside(importer, statement, kind, targets)
        for gap in gaps:
            yield self._not_found(importer, statement, kind, gap)

    def _not_found(self, importer: str, statement: ImportStatement, kind: EdgeKind, missing: Missing) -> Outcome:
        parent, line, specifier = missing.parent, statement.line, statement.specifier
        if statement.form is ImportForm.FROM and missing.name in statement.names:
            specifier += missing.name if specifier.endswith(".") else f".{missing.name}"
        if parent is None:
            return Outcome(line, specifier, Resolved.EXTERNAL, kind, reason="no such package in the repository")
        tried = tuple(_candidates(missing))
        where = (missing.looked_in[0] if missing.looked_in else "") or "."
        if parent.has_file:
            reason = f"{parent.file or parent.stub} has no submodule {missing.name}"
            return Outcome(line, specifier, Resolved.UNRESOLVED, kind, reason=reason, tried=tried)
        if specifier.startswith(".") or self._is_used(importer, specifier.partition(".")[0]):
            reason = f"{where}/ has no module {missing.name}"
            return Outcome(line, specifier, Resolved.UNRESOLVED, kind, reason=reason, tried=tried)
        # Every directory is a namespace package, also `examples/django/`; and of a shared namespace
        # (`google`, `opentelemetry`) the repository holds but a part.
        reason = f"an installed package, or another part of the namespace that {where}/ belongs to"
        return Outcome(line, specifier, Resolved.EXTERNAL, kind, reason=reason, tried=tried)

    def _is_used(self, importer: str, top: str) -> bool:
        """Whether imports of a namespace package do find modules directly in it: then it is our own."""
        path = self._modules.path_of(importer)
        used = self._used.get((path, top))
        if used is None:
            namespace = self._modules.find(path, top)
            names = self._names_imported_from(top) if isinstance(namespace, Module) else ()
            subs = (self._modules.submodule(namespace, name) for name in names if isinstance(namespace, Module))
            used = self._used[path, top] = any(sub is not None and sub.has_file and not sub.path for sub in subs)
        return used

    def _names_imported_from(self, top: str) -> set[str]:
        if not self._imported:
            for file in self._facts:
                for statement in file.imports:
                    first, _, rest = statement.specifier.partition(".")
                    self._imported.setdefault(first, set()).update(
                        [rest.partition(".")[0]] if rest else statement.names
                    )
        return self._imported.get(top, set())


def _inside(importer: str, statement: ImportStatement, kind: EdgeKind, modules: Sequence[Module]) -> Outcome:
    stub_first = importer.endswith(".pyi")
    files = dict.fromkeys((m.stub or m.file) if stub_first else (m.file or m.stub) for m in modules)
    files.pop("", None)
    relative = statement.specifier.startswith(".")
    reason = "relative" if relative else f"source root {modules[0].root or '.'}"
    if not files:
        reason += "; a namespace package has no file"
    return Outcome(statement.line, statement.specifier, Resolved.INSIDE, kind, tuple(files), reason)


def _candidates(missing: Missing) -> Iterator[str]:
    for place in missing.looked_in[:_MAX_TRIED]:
        base = f"{place}/{missing.name}" if place else missing.name
        yield f"{base}.py"
        yield f"{base}/__init__.py"
