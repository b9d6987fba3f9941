"""The modules of a repository, and the path on which each file looks for them.

`sys.path` is not written in a repository, so it is reconstructed for each file: the directory that a
script or a test runner would put first, the source roots of its project, the directories above it, and
then what the projects of the repository install. Over that path the rules are those of `importlib`'s
`PathFinder`: a package before a module before a namespace portion, the first entry wins, portions add up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import Final, NamedTuple

from alexandria.domain.imports import python_layout
from alexandria.domain.imports.facts import ImportForm, SourceFacts
from alexandria.domain.imports.tree import RepoTree
from alexandria.domain.language import Language, language_of

Pair = tuple[str, str]
"""The `.py` and the `.pyi` of a name; each may be empty."""

_NOTHING: Final = ("", "")
_TESTS: Final = frozenset({"test", "tests", "testing"})
_PATH_EXTENDERS: Final = {
    ("pkgutil", "extend_path"),
    ("pkgutil", ImportForm.DYNAMIC.value),
    ("pkg_resources", "declare_namespace"),
    ("pkg_resources", ImportForm.DYNAMIC.value),
}


class Module(NamedTuple):
    """Something that an import can name.

    Attributes:
        dotted: Its full name; empty where it was reached by dots alone.
        file: The source file, or "" for a namespace package.
        stub: The `.pyi` beside it, or "".
        path: Directories in which its submodules lie.
        root: The source root that it was found under.
        is_open: It is a namespace of which installed projects hold more portions than `path` does.
    """

    dotted: str
    file: str
    stub: str
    path: tuple[str, ...] = ()
    root: str = ""
    is_open: bool = False

    @property
    def has_file(self) -> bool:
        """Whether it is more than a directory."""
        return bool(self.file or self.stub)

    def with_portions(self, path: tuple[str, ...], *, is_open: bool) -> Module:
        """Return the same package over other directories."""
        return Module(self.dotted, self.file, self.stub, path, self.root, is_open)


class Missing(NamedTuple):
    """Why a module was not found.

    Attributes:
        parent: The innermost package that was found, or None if not even the top level was.
        looked_in: Directories in which the next name was looked for, the importer's own first.
        name: That name.
    """

    parent: Module | None
    looked_in: tuple[str, ...]
    name: str


class Modules:
    """Finds modules by name; answers are remembered, so it is cheap to ask again."""

    def __init__(self, tree: RepoTree, facts: Sequence[SourceFacts]) -> None:
        """Read the layout; manifests must be complete, and facts may be of any files of the tree."""
        self._names = _index(tree)
        marks = [path for path in tree.paths if python_layout.is_mark(path)]
        projects = python_layout.projects(self._names, tree.manifests, marks)
        self._project_at = {project.directory: project for project in projects}
        self._source_roots = {root for project in projects for root in project.roots if root != project.directory}
        self._mounts = {name: place for project in projects for name, place in project.mounts.items()}
        self._extends_path = {file.path for file in facts if _extends_path(file)}
        installed: dict[str, list[str]] = {}
        for project in projects:
            for root in project.installed:
                hidden = python_layout.NOT_PACKAGES if root == project.directory else frozenset()
                for name in self._names.get(root, {}):
                    if name not in hidden:
                        installed.setdefault(name, []).append(root)
        # Dotted name of an open namespace ("" is the top) → name in it → directories that have it.
        self._installed: dict[str, dict[str, list[str]]] = {"": installed}
        self._paths: dict[str, tuple[str, ...]] = {}
        self._found: dict[tuple[tuple[str, ...], str], Module | Missing] = {}
        self._found_installed: dict[tuple[str, str], Module | None] = {}
        self._top_levels: dict[str, list[str]] | None = None

    def find(self, path: tuple[str, ...], dotted: str) -> Module | Missing:
        """Return the module that `import dotted` means where `path` is searched first."""
        found = self._found.get((path, dotted))
        if found is None:
            package, _, name = dotted.rpartition(".")
            parent = self._found.get((path, package))
            found = self.submodule(parent, name) if isinstance(parent, Module) else None
            self._found[path, dotted] = found = found or self._search(path, dotted)
        return found

    def at(self, directory: str) -> Module:
        """Return the package that a directory is, whatever it is called from outside."""
        file, stub = self._names.get(directory, {}).get("__init__", _NOTHING)
        return Module("", file, stub, (directory,))

    def descend(self, package: Module, dotted: str) -> Module | Missing:
        """Follow a dotted name from a package down; the empty name is the package."""
        for name in dotted.split(".") if dotted else ():
            sub = self.submodule(package, name)
            if sub is None:
                return self.gap(package, name)
            package = sub
        return package

    def submodule(self, package: Module, name: str) -> Module | None:
        """Return a module of a package, or None."""
        dotted = f"{package.dotted}.{name}" if package.dotted else ""
        found = self._lookup(name, dotted, package.path, package.dotted if package.is_open else None)
        if found is None or not package.dotted:
            return found
        root = package.root if package.has_file else found.root[: -len(package.dotted)].rstrip("/")
        return Module(found.dotted, found.file, found.stub, found.path, root, found.is_open)

    def gap(self, package: Module, name: str) -> Missing:
        """Say that a package has no such module."""
        return Missing(package, package.path or self._open_portions(package.dotted), name)

    def fixture(self, importer: str, dotted: str) -> Module | None:
        """Find what tests put on the path themselves, by `monkeypatch.syspath_prepend("test_apps")` and the like.

        It must be the only package or module of that name that stands at a top level in the tree of tests.
        """
        components = importer.split("/")[:-1]
        depth = next((i for i, name in enumerate(components) if name in _TESTS), None)
        if depth is None:
            return None
        if self._top_levels is None:
            self._top_levels = self._all_top_levels()
        tests = "/".join(components[: depth + 1]) + "/"
        found = [place for place in self._top_levels.get(dotted.partition(".")[0], ()) if place.startswith(tests)]
        module = self.find((found[0],), dotted) if len(found) == 1 else None
        return module if isinstance(module, Module) else None

    def name_of(self, directory: str) -> str | None:
        """Return the dotted name of a directory below the innermost root above it, or None."""
        for root in _ancestors(directory):
            if root in self._source_roots or root in self._project_at:
                return directory[len(root) + 1 if root else 0 :].replace("/", ".")
        return None

    def path_of(self, importer: str) -> tuple[str, ...]:
        """Return the directories that a file searches before what is installed for everybody."""
        directory = importer.rpartition("/")[0]
        path = self._paths.get(directory)
        if path is None:
            path = self._paths[directory] = tuple(dict.fromkeys(self._make_path(directory)))
        return path

    def _make_path(self, directory: str) -> Iterator[str]:
        above = [directory, *_ancestors(directory)]
        source_root = next((place for place in above if place in self._source_roots), None)
        if source_root is not None:
            # Installed code: its own directory is not on the path, whether it is a package or a
            # portion of a namespace. `opentelemetry/instrumentation/redis/` may import redis.
            yield source_root
        else:
            # pytest and `python script.py` put the first directory that is no package in front.
            # A repository that is itself a package is still searched from its root.
            yield next((place for place in above if "__init__" not in self._names.get(place, {})), "")
        for place in above:
            if (project := self._project_at.get(place)) is not None:
                yield from project.roots
            elif source_root is None and "__init__" not in self._names.get(place, {}):
                yield place

    def _search(self, path: tuple[str, ...], dotted: str) -> Module | Missing:
        top, _, rest = dotted.partition(".")
        rejected: set[str] = set()
        first_gap: Missing | None = None
        while True:
            package = self._lookup(top, top, path, "", rejected)
            if package is None:
                return first_gap or Missing(None, path, top)
            module = self._descend_from(path, package, rest)
            if isinstance(module, Module):
                return module
            first_gap = first_gap or module
            if not package.has_file:
                return first_gap
            # The path is a reconstruction: a package that lacks the module may just be the wrong one.
            rejected.add(package.root)

    def _descend_from(self, path: tuple[str, ...], package: Module, rest: str) -> Module | Missing:
        """Descend, and remember the packages on the way for the next import that passes them."""
        for name in rest.split(".") if rest else ():
            self._found.setdefault((path, package.dotted), package)
            sub = self.submodule(package, name)
            if sub is None:
                return self.gap(package, name)
            package = sub
        return package

    def _lookup(
        self, name: str, dotted: str, own: Sequence[str], namespace: str | None, rejected: Set[str] = frozenset()
    ) -> Module | None:
        """Search one level: the importer's own entries, then the installed portions of an open namespace."""
        mounted = [self._mounts[dotted]] if dotted in self._mounts else []
        found, is_final = self._scan(name, dotted, own, mounted, rejected)
        if is_final or namespace is None:
            return found
        others = self._lookup_installed(name, dotted, namespace, rejected)
        if found is None or (others is not None and others.has_file and not found.has_file):
            return others
        return found if others is None else found.with_portions(found.path, is_open=True)

    def _lookup_installed(self, name: str, dotted: str, namespace: str, rejected: Set[str]) -> Module | None:
        # A namespace may have hundreds of portions, and every importer asks for the same names.
        key = (namespace, name)
        if not rejected and key in self._found_installed:
            return self._found_installed[key]
        found, is_final = self._scan(name, dotted, self._portions(namespace).get(name, ()), (), rejected)
        if found is not None and not is_final:
            found = found.with_portions((), is_open=True)
        if not rejected:
            self._found_installed[key] = found
        return found

    def _scan(
        self, name: str, dotted: str, entries: Sequence[str], mounted: Sequence[str], rejected: Set[str]
    ) -> tuple[Module | None, bool]:
        """Search entries as `PathFinder` does; the answer is final unless further portions may add to it."""
        places = [*((place, place) for place in mounted), *((e, f"{e}/{name}" if e else name) for e in entries)]
        portions: list[tuple[str, str]] = []
        extended: Module | None = None  # a package that adds up over the path like a namespace
        for entry, place in places:
            if entry in rejected:
                continue
            inside = self._names.get(place)
            if inside is not None and "__init__" in inside:
                file, stub = inside["__init__"]
                if file not in self._extends_path:
                    if extended is None:
                        return Module(dotted, file, stub, (place,), entry), True
                    break
                extended = extended or Module(dotted, file, stub, (), entry)
            else:
                file, stub = self._names.get(entry, {}).get(name, _NOTHING)
                if file or stub:
                    if extended is None:
                        return Module(dotted, file, stub, (), entry), True
                    break
            if inside is not None:
                portions.append((entry, place))
        if not portions:
            return None, False
        first = extended or Module(dotted, "", "", (), portions[0][0])
        return first.with_portions(tuple([place for _, place in portions]), is_open=False), False

    def _portions(self, dotted: str) -> dict[str, list[str]]:
        """Return what all installed portions of a namespace hold: name → directories that have it."""
        known = self._installed.get(dotted)
        if known is None:
            known = self._installed[dotted] = {}
            for place in self._open_portions(dotted):
                for name in self._names[place]:
                    known.setdefault(name, []).append(place)
        return known

    def _open_portions(self, dotted: str) -> tuple[str, ...]:
        parent, _, name = dotted.rpartition(".")
        places = (f"{entry}/{name}" if entry else name for entry in self._portions(parent).get(name, ()))
        return tuple([place for place in places if self._is_portion(place)])

    def _is_portion(self, place: str) -> bool:
        inside = self._names.get(place)
        return inside is not None and ("__init__" not in inside or inside["__init__"][0] in self._extends_path)

    def _all_top_levels(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for directory, names in self._names.items():
            if "__init__" not in names:
                for name, pair in names.items():
                    place = f"{directory}/{name}" if directory else name
                    if any(pair) or "__init__" in self._names.get(place, {}):
                        found.setdefault(name, []).append(directory)
        return found


def _index(tree: RepoTree) -> dict[str, dict[str, Pair]]:
    """Return for every directory with Python in or below it: name → its files; a subdirectory has none."""
    index: dict[str, dict[str, Pair]] = {"": {}}
    for path in tree.paths:
        if language_of(path) is not Language.PYTHON:
            continue
        directory, _, base = path.rpartition("/")
        names = index.get(directory)
        if names is None:
            names = index[directory] = {}
            child = directory
            for parent in _ancestors(directory):
                known = parent in index
                index.setdefault(parent, {}).setdefault(child.rpartition("/")[2], _NOTHING)
                if known:
                    break
                child = parent
        name, _, extension = base.rpartition(".")
        file, stub = names.get(name, _NOTHING)
        names[name] = (path, stub) if extension == "py" else (file, path)
    return index


def _ancestors(directory: str) -> Iterator[str]:
    """Yield the directories above, innermost first, the repository's root last."""
    while directory:
        directory = directory.rpartition("/")[0]
        yield directory


def _extends_path(file: SourceFacts) -> bool:
    """Whether a package adds its namesakes on the path to itself, the way before PEP 420."""
    return file.path.endswith("__init__.py") and any(
        (statement.specifier, name) in _PATH_EXTENDERS
        for statement in file.imports
        for name in (statement.names if statement.form is ImportForm.FROM else (statement.form.value,))
    )
