"""Python: from import statement to file, as CPython's path finder would have it.

`sys.path` is not written in a repository, so it is reconstructed for each file: the directory that a
script or a test runner would put first, the source roots of its project, the directories above it, and
then what the other projects of the repository install. Over that path the rules are the interpreter's:
a package before a module before a namespace portion, the first entry wins, namespace portions add up.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from alexandria.domain.imports import python_layout
from alexandria.domain.imports.facts import ImportForm, ImportStatement, SourceFacts
from alexandria.domain.imports.outcome import EdgeKind, FileOutcome, Outcome, Resolved
from alexandria.domain.imports.tree import RepoTree
from alexandria.domain.language import Language, language_of

# The interpreter that runs us is not the one that the repository was written for, so modules that later
# versions dropped are kept.
_DROPPED: Final = (
    "aifc asynchat asyncore audioop cgi cgitb chunk crypt distutils imghdr imp lib2to3 mailcap msilib nis nntplib "
    "ossaudiodev pipes smtpd sndhdr spwd sunau telnetlib uu xdrlib"
)
_STDLIB: Final = sys.stdlib_module_names.union(_DROPPED.split())
_MAX_TRIED: Final = 12
_TESTS: Final = frozenset({"test", "tests", "testing"})
_NO_MODULE: Final = ("", "")
_PATH_EXTENDERS: Final = {
    ("pkgutil", "extend_path"),
    ("pkgutil", ImportForm.DYNAMIC.value),
    ("pkg_resources", "declare_namespace"),
    ("pkg_resources", ImportForm.DYNAMIC.value),
}


def wanted_manifests(tree: RepoTree) -> set[str]:
    """Return the packaging metadata whose text is not there yet; see `imports.wanted_manifests`."""
    return {path for path in tree.paths if python_layout.is_manifest(path)} - tree.manifests.keys()


def resolve(tree: RepoTree, facts: Sequence[SourceFacts]) -> Iterator[FileOutcome]:
    """Yield the outcome of each file, in order; see `imports.resolve_imports`."""
    if not facts:
        return
    finder = _Finder(tree, facts)
    for file in facts:
        yield FileOutcome(file.path, tuple(finder.outcomes(file)))


@dataclass(frozen=True, slots=True)
class _Module:
    """Something that an import can name.

    Attributes:
        file: The source file, or "" for a namespace package.
        stub: The `.pyi` beside it, or "".
        path: Directories in which its submodules lie; empty if it is no package.
        root: The source root that it was found under.
    """

    file: str
    stub: str
    path: tuple[str, ...]
    root: str


@dataclass(frozen=True, slots=True)
class _Missing:
    """Why a module was not found.

    Attributes:
        parent: The innermost package that was found, or None if not even the top level was.
        looked_in: Directories in which the next name was looked for.
        name: That name.
    """

    parent: _Module | None
    looked_in: tuple[str, ...]
    name: str


class _Finder:
    """All modules of a repository, and the path on which each file looks for them."""

    def __init__(self, tree: RepoTree, facts: Sequence[SourceFacts]) -> None:
        self._names = _index(tree)
        marks = [path for path in tree.paths if python_layout.is_mark(path)]
        self._projects = python_layout.projects(self._names, tree.manifests, marks)
        self._project_at = {project.directory: project for project in self._projects}
        self._source_roots = {root for project in self._projects for root in project.roots if root != project.directory}
        self._mounts = {name: place for project in self._projects for name, place in project.mounts.items()}
        self._shared_namespaces = {file.path for file in facts if _extends_path(file)}
        self._installed: dict[str, list[str]] = {}  # top-level name → roots that have it, for everybody
        for project in self._projects:
            for root in project.installed:
                hidden = python_layout.NOT_PACKAGES if root == project.directory else frozenset()
                for name in self._names.get(root, {}):
                    if name not in hidden:
                        self._installed.setdefault(name, []).append(root)
        self._local_paths: dict[str, tuple[str, ...]] = {}
        self._facts = facts
        self._imported: dict[str, set[str]] = {}  # top-level name → names that somebody imports from it
        self._top_levels: dict[str, list[str]] | None = None
        self._used: dict[tuple[tuple[str, ...], str], bool] = {}
        self._found: dict[tuple[tuple[str, ...], str], _Module | _Missing] = {}

    def outcomes(self, file: SourceFacts) -> Iterator[Outcome]:
        for statement in file.imports:
            kind = EdgeKind.TYPE_ONLY if statement.type_only else EdgeKind.IMPORT
            if statement.form is ImportForm.COMPUTED:
                yield Outcome(
                    statement.line, statement.specifier, Resolved.DYNAMIC, kind, reason="the name is not a literal"
                )
            elif statement.specifier.startswith("."):
                yield from self._relative(file.path, statement, kind)
            else:
                yield from self._absolute(file.path, statement, kind)

    # -- absolute ---------------------------------------------------------------------------------

    def _absolute(self, importer: str, statement: ImportStatement, kind: EdgeKind) -> Iterator[Outcome]:
        specifier = statement.specifier
        top = specifier.partition(".")[0]
        if top in _STDLIB:
            yield Outcome(statement.line, specifier, Resolved.EXTERNAL, kind, reason="standard library")
            return
        module = self._find(self._path_of(importer), specifier)
        if isinstance(module, _Missing) and module.parent is None:
            module = self._fixture(importer, specifier) or module
        yield from self._outcomes_of(importer, statement, kind, module)

    def _outcomes_of(
        self, importer: str, statement: ImportStatement, kind: EdgeKind, module: _Module | _Missing
    ) -> Iterator[Outcome]:
        if isinstance(module, _Missing):
            yield self._not_found(importer, statement, kind, module)
            return
        if statement.form is not ImportForm.FROM:
            yield self._inside(importer, statement, kind, [module])
            return
        targets: list[_Module] = []
        missing: list[Outcome] = []
        for name in statement.names or ("*",):
            sub = self._submodule(module, name) if name != "*" else None
            if sub is not None:
                targets.append(sub)
            elif module.file or module.stub or name == "*":
                targets.append(module)
            else:
                gap = _Missing(module, module.path, name)
                missing.append(self._not_found(importer, statement, kind, gap))
        if targets:
            yield self._inside(importer, statement, kind, targets)
        yield from missing

    def _inside(self, importer: str, statement: ImportStatement, kind: EdgeKind, modules: Sequence[_Module]) -> Outcome:
        stub_first = importer.endswith(".pyi")
        files = dict.fromkeys((m.stub or m.file) if stub_first else (m.file or m.stub) for m in modules)
        files.pop("", None)
        relative = statement.specifier.startswith(".")
        reason = "relative" if relative else f"source root {modules[0].root or '.'}"
        if not files:
            reason += "; a namespace package has no file"
        return Outcome(statement.line, statement.specifier, Resolved.INSIDE, kind, tuple(files), reason)

    def _not_found(self, importer: str, statement: ImportStatement, kind: EdgeKind, missing: _Missing) -> Outcome:
        parent, line, specifier = missing.parent, statement.line, statement.specifier
        if statement.form is ImportForm.FROM and missing.name in statement.names:
            specifier += missing.name if specifier.endswith(".") else f".{missing.name}"
        if parent is None:
            return Outcome(line, specifier, Resolved.EXTERNAL, kind, reason="no such package in the repository")
        tried = tuple(_candidates(missing))
        if parent.file or parent.stub:
            reason = f"{parent.file or parent.stub} has no submodule {missing.name}"
            return Outcome(line, specifier, Resolved.UNRESOLVED, kind, reason=reason, tried=tried)
        if specifier.startswith(".") or self._is_used(importer, specifier.partition(".")[0]):
            reason = f"{parent.path[0]}/ has no module {missing.name}"
            return Outcome(line, specifier, Resolved.UNRESOLVED, kind, reason=reason, tried=tried)
        # Every directory is a namespace package, also `examples/django/`; and of a shared namespace
        # (`google`, `opentelemetry`) the repository holds but a part.
        reason = f"an installed package, or another part of the namespace that {parent.path[0]}/ belongs to"
        return Outcome(line, specifier, Resolved.EXTERNAL, kind, reason=reason, tried=tried)

    def _is_used(self, importer: str, top: str) -> bool:
        """Whether imports of a namespace package do find modules directly in it: then it is our own."""
        path = self._path_of(importer)
        if (known := self._used.get((path, top))) is not None:
            return known
        if not self._imported:
            for file in self._facts:
                for statement in file.imports:
                    first, _, rest = statement.specifier.partition(".")
                    wanted = [rest.partition(".")[0]] if rest else statement.names
                    self._imported.setdefault(first, set()).update(wanted)
        namespace = self._find(path, top)
        used = isinstance(namespace, _Module) and any(
            file or stub
            for name in self._imported.get(top, ())
            for place in namespace.path
            for file, stub in [self._names.get(place, {}).get(name, _NO_MODULE)]
        )
        self._used[path, top] = used
        return used

    def _fixture(self, importer: str, dotted: str) -> _Module | None:
        """Find what tests put on the path themselves, by `monkeypatch.syspath_prepend("test_apps")` and the like.

        It must be the only package or module of that name that stands at a top level in the tree of tests.
        """
        components = importer.split("/")[:-1]
        depth = next((i for i, name in enumerate(components) if name in _TESTS), None)
        if depth is None:
            return None
        if self._top_levels is None:
            self._top_levels = {}
            for directory, names in self._names.items():
                if "__init__" not in names:
                    for name, pair in names.items():
                        place = f"{directory}/{name}" if directory else name
                        if any(pair) or "__init__" in self._names.get(place, {}):
                            self._top_levels.setdefault(name, []).append(directory)
        prefix = "/".join(components[: depth + 1]) + "/"
        top = dotted.partition(".")[0]
        found = [place for place in self._top_levels.get(top, ()) if place.startswith(prefix)]
        module = self._find((found[0],), dotted) if len(found) == 1 else None
        return module if isinstance(module, _Module) else None

    # -- relative ---------------------------------------------------------------------------------

    def _relative(self, importer: str, statement: ImportStatement, kind: EdgeKind) -> Iterator[Outcome]:
        rest = statement.specifier.lstrip(".")
        levels = len(statement.specifier) - len(rest)
        parts = importer.split("/")[:-1]
        if levels - 1 > len(parts):
            yield Outcome(
                statement.line, statement.specifier, Resolved.UNRESOLVED, kind, reason="climbs out of the repository"
            )
            return
        base = parts[: len(parts) - levels + 1]
        directory = "/".join(base)
        module = self._descend(self._package_at(directory), rest)
        if isinstance(module, _Missing) or (not module.file and not module.stub and statement.form is ImportForm.FROM):
            wider = self._in_namespace(directory, rest)
            if isinstance(wider, _Module):
                module = wider
        yield from self._outcomes_of(importer, statement, kind, module)

    def _package_at(self, directory: str) -> _Module:
        names = self._names.get(directory, {})
        file, stub = names.get("__init__", ("", ""))
        return _Module(file, stub, (directory,), "")

    def _descend(self, package: _Module, dotted: str) -> _Module | _Missing:
        for name in dotted.split(".") if dotted else ():
            sub = self._submodule(package, name)
            if sub is None:
                return _Missing(package, package.path, name)
            package = sub
        return package

    def _in_namespace(self, directory: str, rest: str) -> _Module | _Missing | None:
        """Look for a relative import in the other portions of the namespace package around it."""
        for root in sorted(self._source_roots | {p.directory for p in self._projects}, key=len, reverse=True):
            if directory.startswith(root + "/") or (not root and directory):
                dotted = directory[len(root) + 1 if root else 0 :].replace("/", ".")
                return self._find(self._path_of(directory + "/_"), f"{dotted}.{rest}" if rest else dotted)
        return None

    # -- the path ---------------------------------------------------------------------------------

    def _path_of(self, importer: str) -> tuple[str, ...]:
        """Return the directories that the importer searches before what is installed for everybody."""
        directory = importer.rpartition("/")[0]
        path = self._local_paths.get(directory)
        if path is None:
            path = self._local_paths[directory] = tuple(dict.fromkeys(self._make_path(directory)))
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

    # -- finding ----------------------------------------------------------------------------------

    def _find(self, path: tuple[str, ...], dotted: str) -> _Module | _Missing:
        key = (path, dotted)
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = self._search(path, dotted)
        return found

    def _search(self, path: tuple[str, ...], dotted: str) -> _Module | _Missing:
        top, _, rest = dotted.partition(".")
        entries = tuple(dict.fromkeys([*path, *self._installed.get(top, ())]))
        first_gap: _Missing | None = None
        while True:
            package = self._lookup(entries, top, top)
            if package is None:
                return first_gap or _Missing(None, entries, top)
            module = self._descend_named(package, top, rest)
            if isinstance(module, _Module):
                return module
            first_gap = first_gap or module
            # The path is a reconstruction: a package that lacks the module may just be the wrong one.
            if not (package.file or package.stub) or package.root not in entries:
                return first_gap
            entries = entries[entries.index(package.root) + 1 :]

    def _descend_named(self, package: _Module, dotted: str, rest: str) -> _Module | _Missing:
        for name in rest.split(".") if rest else ():
            dotted = f"{dotted}.{name}"
            sub = self._submodule(package, name, dotted)
            if sub is None:
                return _Missing(package, package.path, name)
            package = sub
        return package

    def _submodule(self, package: _Module, name: str, dotted: str = "") -> _Module | None:
        found = self._lookup(package.path, name, dotted)
        return found and _Module(found.file, found.stub, found.path, package.root)

    def _lookup(self, entries: tuple[str, ...], name: str, dotted: str) -> _Module | None:
        """Search one level as `PathFinder` does."""
        places = [(entry, f"{entry}/{name}" if entry else name) for entry in entries]
        if dotted in self._mounts:
            places.insert(0, (self._mounts[dotted], self._mounts[dotted]))
        portions: list[tuple[str, str]] = []
        shared: _Module | None = None  # a package that adds up over the path like a namespace
        for entry, place in places:
            inside = self._names.get(place)
            if inside is not None and "__init__" in inside:
                file, stub = inside["__init__"]
                if file not in self._shared_namespaces:
                    return shared or _Module(file, stub, (place,), entry)
                shared = shared or _Module(file, stub, (), entry)
                portions.append((entry, place))
                continue
            file, stub = self._names.get(entry, {}).get(name, _NO_MODULE)
            if file or stub:
                return shared or _Module(file, stub, (), entry)
            if inside is not None:
                portions.append((entry, place))
        if not portions:
            return None
        path = tuple([place for _, place in portions])
        return _Module(shared.file, shared.stub, path, shared.root) if shared else _Module("", "", path, portions[0][0])


def _index(tree: RepoTree) -> dict[str, dict[str, tuple[str, str]]]:
    """Return for every directory with Python in or below it: name → (.py, .pyi); a subdirectory has neither."""
    index: dict[str, dict[str, tuple[str, str]]] = {"": {}}
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
                index.setdefault(parent, {}).setdefault(child.rpartition("/")[2], _NO_MODULE)
                if known:
                    break
                child = parent
        name, _, extension = base.rpartition(".")
        file, stub = names.get(name, _NO_MODULE)
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


def _candidates(missing: _Missing) -> Iterator[str]:
    for place in missing.looked_in[:_MAX_TRIED]:
        base = f"{place}/{missing.name}" if place else missing.name
        yield f"{base}.py"
        yield f"{base}/__init__.py"
