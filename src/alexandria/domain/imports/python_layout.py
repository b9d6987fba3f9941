"""Where Python's packages begin: source roots, read from packaging metadata and from the layout.

A source root is a directory that stands on `sys.path` when the code runs or is installed; module
`a.b` is `a/b.py` below one of them. Metadata says where (setuptools, Hatch, Poetry, Flit, PDM, uv, maturin,
scikit-build-core; pytest's `pythonpath`); without it the conventions hold: `src/`, `lib/`, the project itself.
"""

from __future__ import annotations

import ast
import posixpath
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

MANIFESTS: Final = frozenset({"pyproject.toml", "setup.cfg", "setup.py", "pytest.ini", "tox.ini"})
_PROJECT_MARKS: Final = frozenset({"pyproject.toml", "setup.cfg", "setup.py", "manage.py"})
_CONVENTIONAL: Final = ("src", "lib", "python")
_MAX_MANIFEST_CHARS: Final = 300_000  # a larger one is generated or hostile, and `ast` would take seconds

# What setuptools leaves out when it looks for packages in a flat layout (its `FlatLayoutPackageFinder`): such
# a directory serves its own project and is not importable from another one.
_NOT_PACKAGES: Final = (
    "ci bin debian doc docs documentation manpages news newsfragments changelog test tests unit_test unit_tests "
    "example examples scripts tools util utils python build benchmark benchmarks exercise exercises htmlcov "
    "tasks fabfile site_scons conftest setup noxfile manage"
)
NOT_PACKAGES: Final = frozenset(_NOT_PACKAGES.split())


class Project(NamedTuple):
    """A directory that is built, installed or run as one.

    Attributes:
        directory: Relative to the repository, empty for its root.
        roots: Its source roots, most specific first; `directory` itself comes last.
        installed: Those of `roots` that an installation puts on `sys.path`, so that other projects see them.
        mounts: Packages that lie elsewhere than their name says: dotted name → directory.
    """

    directory: str
    roots: tuple[str, ...]
    installed: tuple[str, ...]
    mounts: Mapping[str, str] = MappingProxyType({})


class _Declared:
    """What the manifests of one project say, relative to it."""

    def __init__(self) -> None:
        self.roots: list[str] = []
        self.test_roots: list[str] = []
        self.mounts: dict[str, str] = {}


def projects(directories: Mapping[str, object], manifests: Mapping[str, str], marks: Iterable[str]) -> list[Project]:
    """Return the projects of a repository, outermost first; the repository root is always one.

    Args:
        directories: Every directory that holds Python, directly or below; the root is "".
        manifests: Text by path.
        marks: Paths of files that make their directory a project (`is_mark`).
    """
    written = (path for path in marks if not _is_submodule(path, directories))
    homes = {posixpath.dirname(path) for path in written} & set(directories) | {""}
    return [_project(home, directories, _read_manifests(home, manifests)) for home in sorted(homes)]


def is_mark(path: str) -> bool:
    """Whether a file makes its directory a project."""
    return path[path.rfind("/") + 1 :] in _PROJECT_MARKS


def is_manifest(path: str) -> bool:
    """Whether the text of a file is needed."""
    return path[path.rfind("/") + 1 :] in MANIFESTS


def _project(home: str, directories: Mapping[str, object], declared: _Declared) -> Project:
    roots = _existing(home, declared.roots, directories)
    by_convention = [] if roots else _existing(home, _CONVENTIONAL, directories)
    # `lib/__init__.py` makes it a package called lib, not a root.
    by_convention = [root for root in by_convention if not _is_package(root, directories)]
    installed = [*roots, *by_convention] or [home]
    ordered = [*installed, *_existing(home, declared.test_roots, directories), home]
    mounts = {
        name: place
        for name, directory in declared.mounts.items()
        if (place := _join(home, directory)) is not None and place in directories
    }
    return Project(home, tuple(dict.fromkeys(ordered)), tuple(dict.fromkeys(installed)), mounts)


def _is_package(directory: str, directories: Mapping[str, object]) -> bool:
    names = directories.get(directory)
    return isinstance(names, Mapping) and "__init__" in names


def _is_submodule(mark: str, directories: Mapping[str, object]) -> bool:
    """Whether a mark is a module of a package in a package (`ansible/modules/setup.py`) and no project's script."""
    home = posixpath.dirname(mark)
    if not mark.endswith(".py") or not home:
        return False
    return _is_package(home, directories) and _is_package(posixpath.dirname(home), directories)


def _existing(home: str, places: Iterable[str], directories: Mapping[str, object]) -> list[str]:
    joined = (_join(home, place) for place in places)
    return [place for place in dict.fromkeys(joined) if place is not None and place in directories]


def _join(home: str, place: str) -> str | None:
    """Return `place` seen from `home`, relative to the repository; None if it lies outside."""
    if place.startswith("/") or "\\" in place or "\0" in place:
        return None
    joined = posixpath.normpath(posixpath.join(home, place))
    if joined == ".":
        return ""
    return None if joined == ".." or joined.startswith("../") else joined


def _read_manifests(home: str, manifests: Mapping[str, str]) -> _Declared:
    declared = _Declared()
    prefix = f"{home}/" if home else ""
    readers = {
        "pyproject.toml": _read_pyproject,
        "setup.cfg": _read_ini,
        "setup.py": _read_setup_py,
        "pytest.ini": _read_ini,
        "tox.ini": _read_ini,
    }
    for name, reader in readers.items():
        text = manifests.get(prefix + name)
        if text is not None and len(text) <= _MAX_MANIFEST_CHARS:
            reader(text, declared)
    return declared


def _read_pyproject(text: str, declared: _Declared) -> None:
    try:
        tool = _table(tomllib.loads(text), "tool")
    except (tomllib.TOMLDecodeError, RecursionError):
        return
    _read_setuptools(_table(tool, "setuptools"), declared)
    hatch = _table(tool, "hatch", "build")
    for target in (hatch, _table(hatch, "targets", "wheel"), _table(hatch, "targets", "editable")):
        declared.roots.extend(posixpath.dirname(path.rstrip("/")) or "." for path in _strings(target.get("packages")))
        declared.roots.extend(_strings(target.get("dev-mode-dirs")))
        sources = target.get("sources")
        if isinstance(sources, dict):
            # Hatch rewrites a path prefix: {"src/foo" = "bar"} makes src/foo the package bar, "" strips it.
            for directory, name in sources.items():
                _mount(declared, name, directory)
        declared.roots.extend(_strings(sources) if isinstance(sources, list) else ())
    for package in _list(_table(tool, "poetry").get("packages")):
        if isinstance(package, dict) and isinstance(package.get("include"), str):
            source = package.get("from")
            declared.roots.append(source if isinstance(source, str) else ".")
    declared.roots.extend(_strings(_table(tool, "pdm", "build").get("package-dir")))
    declared.roots.extend(_strings(_table(tool, "uv", "build-backend").get("module-root")))
    declared.roots.extend(_strings(_table(tool, "maturin").get("python-source")))
    packages = _table(tool, "scikit-build", "wheel").get("packages")
    if isinstance(packages, dict):
        for name, directory in packages.items():
            _mount(declared, name.replace("/", "."), directory)
    else:
        declared.roots.extend(posixpath.dirname(path.rstrip("/")) or "." for path in _strings(packages))
    declared.test_roots.extend(_strings(_table(tool, "pytest", "ini_options").get("pythonpath")))


def _read_setuptools(table: Mapping[str, Any], declared: _Declared) -> None:
    for name, directory in _table(table, "package-dir").items():
        _mount(declared, name, directory)
    declared.roots.extend(_strings(_table(table, "packages", "find").get("where")))


def _mount(declared: _Declared, name: object, directory: object) -> None:
    if isinstance(name, str) and isinstance(directory, str):
        if name:
            declared.mounts[name.replace("/", ".")] = directory
            parent, _, last = directory.rstrip("/").rpartition("/")
            if last == name:  # {"foo" = "src/foo"} says no more than that src is a root
                declared.roots.append(parent or ".")
        else:
            declared.roots.append(directory or ".")


def _read_ini(text: str, declared: _Declared) -> None:
    import configparser  # noqa: PLC0415 - few repositories have a setup.cfg, and all would wait for it

    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(text)
    except (configparser.Error, ValueError):
        return
    for line in parser.get("options", "package_dir", fallback="").splitlines():
        for item in line.split(","):
            name, equals, directory = item.partition("=")
            if equals:
                _mount(declared, name.strip(), directory.strip())
    declared.roots.extend(parser.get("options.packages.find", "where", fallback="").split())
    for section in ("pytest", "tool:pytest"):
        declared.test_roots.extend(parser.get(section, "pythonpath", fallback="").split())


_ESCAPE: Final = re.compile(r"\\([^'\"\\\r\n])")


def _read_setup_py(text: str, declared: _Declared) -> None:
    # Escapes cannot matter for a directory's name, and an unknown one ("\d") makes the parser warn.
    try:
        tree = ast.parse(_ESCAPE.sub(r"/\1", text))
    except (SyntaxError, ValueError, RecursionError, MemoryError, Warning):
        return
    for call in _calls(tree):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if name in ("find_packages", "find_namespace_packages"):
            where = next((k.value for k in call.keywords if k.arg == "where"), call.args[0] if call.args else None)
            if isinstance(where, ast.Constant) and isinstance(where.value, str):
                declared.roots.append(where.value)
        elif name == "setup":
            for keyword in call.keywords:
                if keyword.arg == "package_dir" and isinstance(keyword.value, ast.Dict):
                    for key, value in zip(keyword.value.keys, keyword.value.values, strict=True):
                        if isinstance(key, ast.Constant) and isinstance(value, ast.Constant):
                            _mount(declared, key.value, value.value)


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _table(table: object, *keys: str) -> Mapping[str, Any]:
    """Return the nested table, or an empty one where something else stands."""
    for key in keys:
        table = table.get(key) if isinstance(table, dict) else None
    return table if isinstance(table, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _strings(value: object) -> list[str]:
    """Return a string, or the strings of a list, as a list."""
    if isinstance(value, str):
        return [value]
    return [item for item in _list(value) if isinstance(item, str)]
