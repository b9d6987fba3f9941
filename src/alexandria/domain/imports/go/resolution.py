"""From what Go files say to the outcome of each import."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from posixpath import dirname

from alexandria.domain.imports.facts import ImportStatement, SourceFacts
from alexandria.domain.imports.go.modules import Modules
from alexandria.domain.imports.go.packages import Package, Packages, is_test
from alexandria.domain.imports.outcome import EdgeKind, FileOutcome, Outcome, Resolved
from alexandria.domain.imports.tree import RepoTree

_SHOWN = 5


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
        qualifier, _, name = use.partition(".")
        if _is_exported(name):
            qualified[qualifier].append(name)
    directory = dirname(file.path)
    for statement in file.imports:
        line, path = statement.line, statement.specifier
        if path == "C":
            yield Outcome(line, path, Resolved.EXTERNAL, reason="cgo")
            continue
        location = modules.locate(directory, path)
        if location.directory is None:
            resolved = Resolved.UNRESOLVED if location.inside else Resolved.EXTERNAL
            yield Outcome(line, path, resolved, reason=location.reason, tried=location.tried)
            continue
        package = packages.imported(location.directory)
        # The external tests of a package also see what its own tests declare (`export_test.go`).
        with_tests = location.directory == directory and is_test(file.path)
        if statement.alias == "_":
            targets = tuple(package.declaring("init", with_tests=with_tests))
            found = "runs its init functions" if targets else "it has no init function"
            yield Outcome(line, path, Resolved.INSIDE, targets=targets, reason=f"{location.reason}; {found}")
        elif statement.alias == ".":
            targets = _dotted(file, packages.of(file), package, with_tests=with_tests)
            reason = f"{location.reason}; into the scope of the file"
            yield Outcome(line, path, Resolved.INSIDE, targets=targets, reason=reason)
        else:
            names = qualified.get(statement.alias or package.name, ())
            yield from _named(statement, package, names, with_tests=with_tests, rule=location.reason)


def _dotted(file: SourceFacts, own: Package, imported: Package, *, with_tests: bool) -> tuple[str, ...]:
    """Return the files that declare what a file uses of a package without naming it."""
    bare = (name for name in file.uses if "." not in name and _is_exported(name))
    missing_here = (name for name in bare if not own.declaring(name, with_tests=is_test(file.path)))
    return tuple(
        dict.fromkeys(path for name in missing_here for path in imported.declaring(name, with_tests=with_tests))
    )


def _named(
    statement: ImportStatement, package: Package, names: Sequence[str], *, with_tests: bool, rule: str
) -> Iterator[Outcome]:
    """Yield the outcome of an import whose package is there, and one for the names that it has not.

    Such names come from files that a generator writes into no commit; where one file of the package was too
    large to be read, from that.
    """
    line, path = statement.line, statement.specifier
    targets: dict[str, None] = {}
    missing = []
    for name in names:
        files = package.declaring(name, with_tests=with_tests)
        targets.update(dict.fromkeys(files))
        if not files:
            missing.append(name)
    if missing and package.unread:
        targets[package.unread] = None
        missing = []
    if targets or not missing:
        reason = rule if names else f"{rule}; no name of it is used"
        yield Outcome(line, path, Resolved.INSIDE, targets=tuple(targets), reason=reason)
    if missing:
        shown = ", ".join(missing[:_SHOWN]) + (", …" if missing[_SHOWN:] else "")
        specifier = f"{path}.{{{shown}}}" if targets else path
        yield Outcome(line, specifier, Resolved.UNRESOLVED, reason=f"{rule}; no file of it declares {shown}")


def _implicit(file: SourceFacts, package: Package) -> Iterator[Outcome]:
    """Yield an outcome for each name that another file of the same package declares."""
    declared = frozenset(file.declares)
    with_tests = is_test(file.path)
    reason = f"declared in the same package {package.name}"
    for name in file.uses:
        if "." in name or name in declared or name == "init":
            continue
        files = package.declaring(name, with_tests=with_tests)
        if files:
            yield Outcome(0, name, Resolved.INSIDE, EdgeKind.IMPLICIT, tuple(files), reason)


def _is_exported(name: str) -> bool:
    return name[:1].isupper()
