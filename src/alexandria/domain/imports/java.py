"""From Java's imports and type names to files, by the rules of the Java Language Specification (JLS).

A simple type name means, in this order (JLS 6.4.1): a type parameter or a type declared around it, a
single-type import, a type of the same package, a type of a package or type imported on demand. The
first two are settled where the file is read; `SourceFacts.uses` holds the names that are left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from alexandria.domain.imports.facts import ImportForm, ImportStatement, SourceFacts
from alexandria.domain.imports.outcome import EdgeKind, FileOutcome, Outcome, Resolved
from alexandria.domain.imports.tree import RepoTree

# Other languages of the Java virtual machine: their types are imported like Java's, their files are not read.
_OTHER_LANGUAGES = {".kt": "Kotlin", ".scala": "Scala", ".groovy": "Groovy", ".aj": "AspectJ", ".clj": "Clojure"}
_BUILD_FILES = frozenset({"pom.xml", "build.xml", "build.sbt"})
_BUILD_SUFFIXES = (".gradle", ".gradle.kts")
_TEST_FOLDERS = frozenset({"test", "tests", "javatests", "testsrc", "test-src"})
# What lies in a declared package of this many parts (`com.acme.shop.generated`) is taken for a package of
# this repository too; shorter ones (`com.acme`) are shared with the libraries of the same house.
_OWN_PARTS = 3
_MOST_TRIED = 5
# A longer one is no name, and its prefixes would add up to the square of its length.
_LONGEST_NAME = 1000


def wanted_manifests(tree: RepoTree) -> set[str]:
    """Return nothing: where the build files lie is enough, their text is not needed."""
    return set()


def resolve(tree: RepoTree, facts: Sequence[SourceFacts]) -> Iterator[FileOutcome]:
    """Resolve every import of `facts`, and every other type name they use."""
    types = _Types(tree, facts)
    for file in facts:
        yield FileOutcome(file.path, tuple(_outcomes(types, file)))


class _Place(NamedTuple):
    """Where a file stands: decides between files that declare the same type."""

    root: str  # of its sources: its folder without the folders of its package
    module: str  # the nearest folder above that has a build file
    audience: int  # 0 sources for everybody, 1 test fixtures, 2 tests
    folders: tuple[str, ...]


class _Types:
    """The types that the repository declares."""

    def __init__(self, tree: RepoTree, facts: Sequence[SourceFacts]) -> None:
        self.packages: dict[str, dict[str, list[str]]] = {}  # package → type, nested ones with dots → files
        # Most names are imported by many files: what they mean, and why they mean nothing here, is found once.
        self._declared: dict[str, tuple[list[str], str, str] | None] = {}
        self.missing: dict[tuple[str, ImportForm], Outcome] = {}
        self._package_of: dict[str, str] = {}
        self._places: dict[str, _Place] = {}
        self._modules: set[str] = set()
        self._other_languages: dict[str, list[tuple[str, str]]] = {}  # last folder → (folder, language)
        for file in facts:
            self._package_of[file.path] = file.package
            types = self.packages.setdefault(file.package, {})
            for name in file.declares:
                files = types.setdefault(name, [])
                if not files or files[-1] != file.path:  # broken source may declare a type twice
                    files.append(file.path)
        self._survey(tree)

    def _survey(self, tree: RepoTree) -> None:
        others: set[tuple[str, str]] = set()
        for path in tree.paths:
            folder, _, name = path.rpartition("/")
            if name in _BUILD_FILES or name.endswith(_BUILD_SUFFIXES):
                self._modules.add(folder)
            language = _OTHER_LANGUAGES.get(name[name.rfind(".") :])
            if language is not None:
                others.add((folder, language))
        for folder, language in sorted(others):
            self._other_languages.setdefault(folder.rpartition("/")[2], []).append((folder, language))

    def find(self, importer: str, name: str) -> tuple[str, str, str] | None:
        """Return what a written-out name means for `importer`: (file, package, top-level type).

        A name may go on behind the type, to a nested type or to a member: that is in the same file.
        """
        try:
            declared = self._declared[name]
        except KeyError:
            declared = self._declared[name] = self._declaring(name)
        if declared is None:
            return None
        files, package, top = declared
        return self.nearest(importer, files), package, top

    def _declaring(self, name: str) -> tuple[list[str], str, str] | None:
        dot = name.find(".") if len(name) <= _LONGEST_NAME else -1
        while dot > 0:
            package = name[:dot]
            after = name.find(".", dot + 1)
            types = self.packages.get(package)
            if types is not None:
                top = name[dot + 1 : after] if after > 0 else name[dot + 1 :]
                if files := types.get(top):
                    return files, package, top
            dot = after
        return None

    def nearest(self, importer: str, files: Sequence[str]) -> str:
        """Return which of the `files` that declare a type `importer` means.

        Its own source root, its own module, what other modules may see, the nearest folder.
        """
        if len(files) == 1:
            return files[0]
        here = self._place(importer)

        def distance(path: str) -> tuple[bool, bool, int, int, int, str]:
            there = self._place(path)
            shared = 0
            for a, b in zip(here.folders, there.folders, strict=False):
                if a != b:
                    break
                shared += 1
            return (
                here.root != there.root,
                here.module != there.module,
                there.audience,
                -shared,
                len(there.folders),
                path,
            )

        return min(files, key=distance)

    def other_language(self, package: str) -> str:
        """Return the language in which a folder of `package` has files that are not read, or an empty string."""
        folder = package.replace(".", "/")
        for candidate, language in self._other_languages.get(folder.rpartition("/")[2], ()):
            if f"/{candidate}".endswith(f"/{folder}"):
                return language
        return ""

    def folders(self, package: str) -> list[str]:
        """Return the folders whose files declare types of `package`, sorted."""
        return sorted({path.rpartition("/")[0] for files in self.packages[package].values() for path in files})

    def _place(self, path: str) -> _Place:
        place = self._places.get(path)
        if place is None:
            folder = path.rpartition("/")[0]
            package = self._package_of[path].replace(".", "/")
            root = folder
            if package and f"/{folder}".endswith(f"/{package}"):
                root = folder[: len(folder) - len(package)].rstrip("/")
            module = folder
            while module and module not in self._modules:
                module = module.rpartition("/")[0]
            place = self._places[path] = _Place(root, module, _audience(root), tuple(folder.split("/")))
        return place


def _audience(root: str) -> int:
    """Return who may see the sources under `root`; Maven and Gradle keep them in `src/<set>/java`."""
    folders = root.split("/")
    if "src" in folders[:-1]:
        source_set = folders[folders.index("src") + 1]
        if source_set == "main":
            return 0
        if source_set == "testFixtures":
            return 1
        if len(folders) > folders.index("src") + 2:
            return 2
    return 2 if not _TEST_FOLDERS.isdisjoint(folders) else 0


def _outcomes(types: _Types, file: SourceFacts) -> Iterator[Outcome]:
    used = _Used(types, file)
    for statement in file.imports:
        if statement.form is ImportForm.WILDCARD:
            yield used.on_demand(statement)
        else:
            yield _named(types, file, statement)
    for name, path in used.same_package:
        yield Outcome(0, name, Resolved.INSIDE, EdgeKind.IMPLICIT, (path,), "a type of the same package")
    for name, path in used.written_out:
        yield Outcome(0, name, Resolved.INSIDE, EdgeKind.IMPORT, (path,), "a type written out with its package")


class _Used:
    """The type names that one file uses, by the rule that binds them."""

    def __init__(self, types: _Types, file: SourceFacts) -> None:
        self.same_package: list[tuple[str, str]] = []
        self.written_out: list[tuple[str, str]] = []
        self._types = types
        self._file = file
        self._wildcards: dict[str, tuple[dict[str, list[str]], str]] = {}  # specifier → types of a package, prefix
        self._found: dict[str, list[str]] = {}  # specifier → files
        for statement in file.imports:
            if statement.form is ImportForm.WILDCARD:
                self._open(statement.specifier)
        own = types.packages[file.package]
        for name in file.uses:
            if name in own:
                self.same_package.append((name, types.nearest(file.path, own[name])))
            elif "." in name:
                if found := types.find(file.path, name):
                    path, package, _ = found
                    (self.same_package if package == file.package else self.written_out).append((name, path))
            elif self._wildcards:
                self._demand(name)

    def _open(self, specifier: str) -> None:
        if specifier in self._types.packages:
            self._wildcards[specifier] = self._types.packages[specifier], ""
        elif found := self._types.find(self._file.path, specifier):
            _, package, _ = found
            self._wildcards[specifier] = self._types.packages[package], specifier[len(package) + 1 :] + "."

    def _demand(self, name: str) -> None:
        for specifier, (declared, prefix) in self._wildcards.items():
            if files := declared.get(prefix + name):
                self._found.setdefault(specifier, []).append(self._types.nearest(self._file.path, files))
                return

    def on_demand(self, statement: ImportStatement) -> Outcome:
        """Return what `import a.b.*` or `import a.B.*` brings in: only types that the file uses."""
        specifier = statement.specifier
        if specifier not in self._wildcards:
            return _outside(self._types, statement)
        targets = tuple(dict.fromkeys(self._found.get(specifier, ())))
        reason = "types of it that are used here" if targets else "no type of it is used here"
        return Outcome(statement.line, _written(statement), Resolved.INSIDE, EdgeKind.IMPORT, targets, reason)


def _named(types: _Types, file: SourceFacts, statement: ImportStatement) -> Outcome:
    found = types.find(file.path, statement.specifier)
    if found is None:
        return _outside(types, statement)
    path, package, top = found
    rest = statement.specifier[len(package) + len(top) + 2 :]
    reason = f"declares {top}, which holds {rest}" if rest else f"declares {top}"
    return Outcome(statement.line, _written(statement), Resolved.INSIDE, EdgeKind.IMPORT, (path,), reason)


def _outside(types: _Types, statement: ImportStatement) -> Outcome:
    """Return why no file is found: a dependency, another language, or something that should be here."""
    key = statement.specifier, statement.form
    why = types.missing.get(key)
    if why is None:
        why = types.missing[key] = _missing(types, statement)
    return Outcome(statement.line, why.specifier, why.resolved, reason=why.reason, tried=why.tried)


def _missing(types: _Types, statement: ImportStatement) -> Outcome:
    line, specifier = statement.line, _written(statement)
    if " " in specifier:
        return Outcome(line, specifier, Resolved.UNSUPPORTED, reason="an import of a whole module")
    package = _package(statement)
    if language := types.other_language(package):
        return Outcome(line, specifier, Resolved.UNSUPPORTED, reason=f"the package has {language}, which is not read")
    if package in types.packages:
        rest = statement.specifier[len(package) + 1 :].split(".")[0]
        tried = tuple(f"{folder}/{rest}.java" for folder in types.folders(package)[:_MOST_TRIED])
        reason = f"the package is declared here, {rest} is not: generated, or from a dependency"
        return Outcome(line, specifier, Resolved.UNRESOLVED, reason=reason, tried=tried)
    parent = package.rpartition(".")[0]
    if parent in types.packages and parent.count(".") + 1 >= _OWN_PARTS:
        reason = f"{parent} is declared here, {package} is not: generated, or from a dependency"
        return Outcome(line, specifier, Resolved.UNRESOLVED, reason=reason)
    return Outcome(line, specifier, Resolved.EXTERNAL, reason="no file declares the package")


def _package(statement: ImportStatement) -> str:
    """Return the package of an import that is not found: what stands before the first name in upper case."""
    parts = statement.specifier.split(".")
    behind = {ImportForm.WILDCARD: 0, ImportForm.STATIC: 2}.get(statement.form, 1)
    first = next((i for i, part in enumerate(parts) if part[:1].isupper()), len(parts) - behind)
    return ".".join(parts[: max(first, 0)])


def _written(statement: ImportStatement) -> str:
    """Return the import as the file writes it; the specifier of a wildcard has no star."""
    specifier, form = statement.specifier, statement.form
    wildcard = form is ImportForm.WILDCARD or form is ImportForm.STATIC_WILDCARD
    return f"{specifier}.*" if wildcard and " " not in specifier else specifier
