"""From what Go files say to the outcome of each import."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from posixpath import dirname

from alexandria.domain.imports.facts import ImportStatement, SourceFacts
from alexandria.domain.imports.go.modules import Modules
from alexandria.domain.imports.go.packages import Package, Packages, is_test
from alexandria.domain.imports.outcome import EdgeKind, FileOutcome, Outcome, Resolved
from alexandria.domain.imports.tree import RepoTree


def resolve(tree: RepoTree, facts: Sequence[SourceFacts]) -> Iterator[FileOutcome]:
    """Resolve the imports of Go files, and the names that they use of their own package.

    Args:
        tree: The repository with its `go.mod` and `go.work` files.
        facts: The Go files that were parsed; a package has the files that are among them.

    Yields:
        One outcome a file, in the order of `facts`.
    """
    packages = Packages(facts)
    imports = ((dirname(file.path), statement.specifier) for file in facts for statement in file.imports)
    modules = Modules(tree, packages.directories(), imports)
    for file in facts:
        written = tuple(_written(file, packages, modules))
        yield FileOutcome(file.path, (*written, *_implicit(file, packages.of(file))))


def _written(file: SourceFacts, packages: Packages, modules: Modules) -> Iterator[Outcome]:
    """Yield what became of each import of a file."""
    qualified: dict[str, list[str]] = defaultdict(list)
    for use in file.uses:
        qualifier, dot, name = use.partition(".")
        if dot:
            qualified[qualifier].append(name)
    directory = dirname(file.path)
    for statement in file.imports:
        path = statement.specifier
        if path == "C":
            yield Outcome(statement.line, path, Resolved.EXTERNAL, reason="cgo")
            continue
        location = modules.locate(directory, path)
        package = packages.imported(location.directory) if location.directory is not None else None
        if package is None:
            resolved = Resolved.UNRESOLVED if location.inside else Resolved.EXTERNAL
            yield Outcome(statement.line, path, resolved, reason=location.reason, tried=location.tried)
        else:
            own = packages.of(file)
            # The external tests of a package also see what its own tests declare (`export_test.go`).
            with_tests = location.directory == directory and is_test(file.path)
            names = _names(statement, file, own, package, qualified)
            yield _of_package(statement, package, names, with_tests=with_tests, reason=location.reason)


def _names(
    statement: ImportStatement,
    file: SourceFacts,
    own: Package,
    package: Package,
    qualified: Mapping[str, Sequence[str]],
) -> Sequence[str]:
    """Return the names of a package that a file uses through an import."""
    if statement.alias == "_":
        return ("init",)
    if statement.alias == ".":
        return [
            name for name in file.uses if "." not in name and not own.declaring(name, with_tests=is_test(file.path))
        ]
    return qualified.get(statement.alias or package.name, ())


def _of_package(
    statement: ImportStatement, package: Package, names: Sequence[str], *, with_tests: bool, reason: str
) -> Outcome:
    """Return the outcome of an import whose package is there."""
    targets: dict[str, None] = {}
    missing = []
    for name in names:
        files = package.declaring(name, with_tests=with_tests)
        targets.update(dict.fromkeys(files))
        if not files:
            missing.append(name)
    resolved = Resolved.INSIDE
    if statement.alias == "_":
        reason += "; runs its init functions" if targets else "; it has no init function"
    elif statement.alias == ".":
        reason += "; into the scope of this file"
    elif not names:
        reason += "; no name of it is used"
    elif missing:
        resolved = Resolved.INSIDE if targets else Resolved.UNRESOLVED
        reason += f"; no file of it declares {', '.join(missing[:5])}" + (" …" if len(missing) > 5 else "")
    return Outcome(statement.line, statement.specifier, resolved, targets=tuple(targets), reason=reason)


def _implicit(file: SourceFacts, package: Package) -> Iterator[Outcome]:
    """Yield an outcome for each name that another file of the same package declares."""
    declared = frozenset(file.declares)
    with_tests = is_test(file.path)
    for name in file.uses:
        if name in declared or name == "init" or "." in name:
            continue
        files = package.declaring(name, with_tests=with_tests)
        if files:
            yield Outcome(
                0,
                name,
                Resolved.INSIDE,
                EdgeKind.IMPLICIT,
                tuple(files),
                f"declared in the same package {package.name}",
            )
