"""The packages of a repository: which file of a directory declares which name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from posixpath import basename, dirname

from alexandria.domain.imports.facts import ReadStatus, SourceFacts

_READ = (ReadStatus.READ, ReadStatus.SYNTAX_ERROR)


class Package:
    """The files of one directory with the same package clause.

    Attributes:
        name: As the package clause says.
        size: How many of its files are no tests.
        unread: The file that was too large to be parsed, when the directory has exactly one such.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.size = 0
        self.unread = ""
        self._files: dict[str, list[str]] = defaultdict(list)
        self._test_files: dict[str, list[str]] = defaultdict(list)

    def add(self, file: SourceFacts) -> None:
        """Take up what a file declares."""
        test = is_test(file.path)
        self.size += not test
        declarations = self._test_files if test else self._files
        for name in file.declares:
            declarations[name].append(file.path)

    def declaring(self, name: str, *, with_tests: bool) -> Sequence[str]:
        """Return the files that declare `name`; several when build tags choose between them."""
        found = self._files.get(name, ())
        return [*found, *self._test_files.get(name, ())] if with_tests else found


class Packages:
    """All packages of the files that were parsed."""

    def __init__(self, facts: Iterable[SourceFacts]) -> None:
        self._by_directory: dict[str, dict[str, Package]] = defaultdict(dict)
        unread: dict[str, list[str]] = defaultdict(list)
        for file in facts:
            directory = dirname(file.path)
            packages = self._by_directory[directory]
            if file.package not in packages:
                packages[file.package] = Package(file.package)
            packages[file.package].add(file)
            if file.status not in _READ and not is_test(file.path):
                unread[directory].append(file.path)
        self._importable = {
            directory: package
            for directory, packages in self._by_directory.items()
            if (package := _importable(basename(directory), packages.values())) is not None
        }
        for directory, files in unread.items():
            package = self._importable.setdefault(directory, Package(basename(directory)))
            package.unread = files[0] if len(files) == 1 else ""

    def directories(self) -> Iterable[str]:
        """Return the directories that hold a package which can be imported."""
        return self._importable.keys()

    def of(self, file: SourceFacts) -> Package:
        """Return the package that a file belongs to."""
        return self._by_directory[dirname(file.path)][file.package]

    def imported(self, directory: str) -> Package:
        """Return the package that an import of one of `directories()` means."""
        return self._importable[directory]


def is_test(path: str) -> bool:
    """Whether the file belongs to the tests of its package."""
    return path.endswith("_test.go")


def _importable(directory_name: str, packages: Iterable[Package]) -> Package | None:
    """Return the one package of a directory that can be imported.

    Beside it may lie programs that the build leaves out (`//go:build ignore` and `package main`) and
    external tests. Of several others the larger counts, then the one that is called as its directory.
    """
    return max(
        (package for package in packages if package.size and package.name),
        key=lambda package: (package.name != "main", package.size, package.name == directory_name, package.name),
        default=None,
    )
