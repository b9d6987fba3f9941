"""The packages of a repository: which file of a directory declares which name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from posixpath import basename, dirname

from alexandria.domain.imports.facts import SourceFacts

Declarations = dict[str, list[str]]
"""Name → the files that declare it; several when build tags choose between them."""


@dataclass(slots=True)
class Package:
    """The files of one directory with the same package clause."""

    name: str
    files: Declarations = field(default_factory=lambda: defaultdict(list))
    test_files: Declarations = field(default_factory=lambda: defaultdict(list))
    size: int = 0

    def add(self, file: SourceFacts) -> None:
        """Take up what a file declares."""
        declarations = self.test_files if is_test(file.path) else self.files
        self.size += declarations is self.files
        for name in file.declares:
            declarations[name].append(file.path)

    def declaring(self, name: str, *, with_tests: bool) -> list[str]:
        """Return the files that declare `name`."""
        found = self.files.get(name, [])
        return found + self.test_files.get(name, []) if with_tests else found


class Packages:
    """All packages of the files that were parsed."""

    def __init__(self, facts: Iterable[SourceFacts]) -> None:
        self._by_directory: dict[str, dict[str, Package]] = defaultdict(dict)
        for file in facts:
            packages = self._by_directory[dirname(file.path)]
            if file.package not in packages:
                packages[file.package] = Package(file.package)
            packages[file.package].add(file)
        self._importable = {
            directory: package
            for directory, packages in self._by_directory.items()
            if (package := _importable(basename(directory), packages.values())) is not None
        }

    def directories(self) -> Iterable[str]:
        """Return the directories that hold a package which can be imported."""
        return self._importable.keys()

    def of(self, file: SourceFacts) -> Package:
        """Return the package that a file belongs to."""
        return self._by_directory[dirname(file.path)][file.package]

    def imported(self, directory: str) -> Package | None:
        """Return the package that an import of a directory means, or None if it holds none."""
        return self._importable.get(directory)


def is_test(path: str) -> bool:
    """Whether the file belongs to the tests of its package."""
    return path.endswith("_test.go")


def _importable(directory_name: str, packages: Iterable[Package]) -> Package | None:
    """Return the one package of a directory that can be imported.

    Beside it may lie programs that the build leaves out (`//go:build ignore` and `package main`) and
    external tests. Of several others the larger counts, then the one that is called as its directory.
    """
    candidates = [package for package in packages if package.size]
    return max(
        candidates,
        key=lambda package: (package.name != "main", package.size, package.name == directory_name, package.name),
        default=None,
    )
