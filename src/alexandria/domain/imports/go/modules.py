"""From an import path to a directory of the repository, by `go.mod`, `go.work`, vendoring, or GOPATH."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from posixpath import dirname, join, normpath
from typing import NamedTuple

from alexandria.domain.imports.go.manifests import Manifest, read_manifests
from alexandria.domain.imports.tree import RepoTree

# A directory of Go's own packages may be called as a module of the repository; then the toolchain takes its own.
_STANDARD = frozenset(
    {
        "bufio",
        "bytes",
        "cmp",
        "context",
        "crypto",
        "embed",
        "errors",
        "expvar",
        "flag",
        "fmt",
        "hash",
        "html",
        "image",
        "io",
        "iter",
        "log",
        "maps",
        "math",
        "mime",
        "net",
        "os",
        "path",
        "plugin",
        "reflect",
        "regexp",
        "runtime",
        "slices",
        "sort",
        "strconv",
        "strings",
        "structs",
        "sync",
        "syscall",
        "testing",
        "time",
        "unicode",
        "unique",
        "unsafe",
        "weak",
    }
)


class Location(NamedTuple):
    """Where an import path leads.

    Attributes:
        inside: Whether the path means this repository.
        reason: The rule that decided.
        directory: The directory of the package; None when there is none.
        tried: Directories that were looked at without success.
    """

    inside: bool
    reason: str
    directory: str | None = None
    tried: tuple[str, ...] = ()


class Modules:
    """The modules and workspaces of a repository."""

    def __init__(self, tree: RepoTree, directories: Iterable[str], imports: Iterable[tuple[str, str]]) -> None:
        """Read the manifests.

        Args:
            tree: The repository.
            directories: Those that hold a package which can be imported.
            imports: (directory, import path) of every import; they tell what a repository without
                `go.mod` is called.
        """
        self._directories = frozenset(directories)
        self._manifests = read_manifests(tree, "go.mod")
        self._is_go_itself = any(manifest.module == "std" for manifest in self._manifests.values())
        self._workspaces = tuple(read_manifests(tree, "go.work").values())
        self._vendors = frozenset(found for d in self._directories for found in _ending_with("vendor", d))
        self._sources = frozenset(found for d in self._directories for found in _ending_with("src", d))
        self._owners: dict[str, str | None] = {}
        self._roots: dict[tuple[str | None, str], dict[str, list[str]]] = {}
        self._located: dict[tuple[str, str], Location] = {}
        self._guessed = self._guess_prefix(imports)

    def locate(self, directory: str, path: str) -> Location:
        """Return where the import of `path` by a file of `directory` leads."""
        known = self._located.get((directory, path))
        if known is None:
            known = self._located[directory, path] = self._locate(directory, path)
        return known

    def _locate(self, directory: str, path: str) -> Location:
        if path in _STANDARD and not self._is_go_itself:
            return Location(False, "standard library")
        if path.startswith(("./", "../")):
            return self._relative(directory, path)
        tried: list[str] = []
        found = self._in_modules(directory, path, tried) or self._beside(directory, path, tried)
        if found is not None:
            return found
        if tried:
            return Location(True, "its module has no such package here", tried=tuple(tried))
        standard = "." not in path.partition("/")[0]
        return Location(False, "standard library" if standard else "no module of this repository")

    def _in_modules(self, directory: str, path: str, tried: list[str]) -> Location | None:
        owner = self._owner_of(directory)
        roots = self._roots_seen_from(owner, directory)
        required = self._manifests[owner].requires if owner is not None else frozenset()
        for prefix, rest in _splits(path):
            if prefix in required and prefix not in roots:
                return None  # a longer path than that of any module here, and its code is elsewhere
            for root in roots.get(prefix, ()):
                candidate = join(root, rest) if rest else root
                if candidate in self._directories and self._owner_of(candidate) == self._owner_of(root):
                    return Location(True, f"module {prefix or 'std'} in {root or '.'}", candidate)
                if prefix:  # without a module's name in the path nothing says that it means this repository
                    tried.append(candidate)
        return None

    def _beside(self, directory: str, path: str, tried: list[str]) -> Location | None:
        """Look where the toolchain looked before there were modules, and still looks for vendored code."""
        for vendor in _around(directory, "vendor", self._vendors):
            if join(vendor, path) in self._directories:
                return Location(True, f"vendored in {vendor}", join(vendor, path))
        if self._owner_of(directory) is not None and not _ignored(directory):
            return None
        for source in _around(directory, "src", self._sources):
            if join(source, path) in self._directories:
                return Location(True, f"GOPATH directory {source}", join(source, path))
        if self._guessed and self._owner_of(directory) is None and (path + "/").startswith(self._guessed + "/"):
            candidate = path[len(self._guessed) + 1 :]
            if candidate in self._directories:
                return Location(True, f"no go.mod; most imports say that this is {self._guessed}", candidate)
            tried.append(candidate)
        return None

    def _relative(self, directory: str, path: str) -> Location:
        candidate = normpath(join(directory, path))
        candidate = "" if candidate == "." else candidate
        if candidate in self._directories:
            return Location(True, "relative path", candidate)
        return Location(True, "relative path without a package", tried=(candidate,))

    def _owner_of(self, directory: str) -> str | None:
        """Return the nearest directory above, or the same, that holds a `go.mod`."""
        passed = []
        current: str | None = directory
        while current is not None and current not in self._owners:
            passed.append(current)
            if current in self._manifests:
                self._owners[current] = current
            else:
                current = dirname(current) if current else None
        owner = self._owners[current] if current is not None else None
        for below in passed:
            self._owners[below] = owner
        return owner

    def _roots_seen_from(self, owner: str | None, directory: str) -> dict[str, list[str]]:
        """Return import path prefix → directories that may hold what follows it, best first.

        What the importer's own `go.mod` and `go.work` say stands alone for its prefix. The other modules of
        the repository count even when nothing links them: their path names this repository, and released code is
        the same code. The toolchain does not see those under `testdata` or `_…`, and nor do importers outside.
        """
        ignored = _ignored(directory)
        known = self._roots.get((owner, ignored))
        if known is not None:
            return known
        roots: dict[str, list[str]] = {}
        for prefix, root in self._linked(owner):
            roots.setdefault(prefix, [root])
        linked = frozenset(roots)
        here = ignored if owner is None else owner
        nearest_first = sorted(
            self._manifests.values(), key=lambda manifest: (-_shared(here, manifest.directory), manifest.directory)
        )
        for manifest in nearest_first:
            path = _prefix(manifest)
            if path is not None and path not in linked and _is_visible(manifest, ignored):
                roots.setdefault(path, []).append(manifest.directory)
        self._roots[owner, ignored] = roots
        return roots

    def _linked(self, owner: str | None) -> Iterator[tuple[str, str]]:
        """Yield (prefix, directory) of what the manifests of an importer name, strongest first."""
        workspaces = [workspace for workspace in self._workspaces if owner in workspace.uses]
        for workspace in workspaces:
            yield from workspace.replaces
        if owner is not None:
            own = self._manifests[owner]
            yield from _itself(own)
            yield from own.replaces
        for workspace in workspaces:
            members = [self._manifests[use] for use in sorted(workspace.uses) if use in self._manifests]
            for member in members:
                yield from _itself(member)
            for member in members:
                yield from member.replaces

    def _guess_prefix(self, imports: Iterable[tuple[str, str]]) -> str:
        """Return what a repository without `go.mod` is called, or nothing.

        It is the beginning of import paths, one to three elements, after which most of them name a
        directory that is there.
        """
        paths = {
            path for directory, path in imports if "." in path.partition("/")[0] and self._owner_of(directory) is None
        }
        said: Counter[str] = Counter()
        found: Counter[str] = Counter()
        for path in paths:
            for prefix, rest in _splits(path):
                if rest and prefix.count("/") < 3 and prefix:
                    said[prefix] += 1
                    found[prefix] += rest in self._directories
        likely = [prefix for prefix in said if found[prefix] * 2 > said[prefix]]
        return max(likely, key=lambda prefix: (found[prefix], prefix), default="")


def _itself(manifest: Manifest) -> Iterator[tuple[str, str]]:
    prefix = _prefix(manifest)
    if prefix is not None:
        yield prefix, manifest.directory


def _prefix(manifest: Manifest) -> str | None:
    """Return what the import paths of a module begin with: its path, but nothing for the standard library."""
    return "" if manifest.module == "std" else manifest.module or None


def _is_visible(manifest: Manifest, ignored: str) -> bool:
    """Whether a module that nothing links is seen by a file below the directory `ignored`, or below none."""
    hidden = _ignored(manifest.directory)
    # A path without a dot in its first element belongs to the standard library, or is local to its module.
    named = "." in manifest.module.partition("/")[0] or manifest.module == "std"
    return named and (not hidden or f"{ignored}/".startswith(f"{hidden}/"))


def _splits(path: str) -> Iterator[tuple[str, str]]:
    """Yield (prefix, rest) for each way to cut a path between elements, the longest prefix first."""
    yield path, ""
    cut = path.rfind("/")
    while cut > 0:
        yield path[:cut], path[cut + 1 :]
        cut = path.rfind("/", 0, cut)
    yield "", path


def _ending_with(name: str, directory: str) -> Iterator[str]:
    """Yield the directory and those above it whose last element is `name`."""
    parts = directory.split("/")
    return ("/".join(parts[: i + 1]) for i, part in enumerate(parts) if part == name)


def _around(directory: str, name: str, existing: Collection[str]) -> Iterator[str]:
    """Yield the directories called `name` that lie in `directory` or in one above it, nearest first."""
    while existing:
        candidate = join(directory, name)
        if candidate in existing:
            yield candidate
        if not directory:
            return
        directory = dirname(directory)


def _ignored(directory: str) -> str:
    """Return the lowest directory, this or one above, that `./...` of the toolchain passes over; or nothing."""
    parts = directory.split("/")
    for i in range(len(parts), 0, -1):
        part = parts[i - 1]
        if part in ("testdata", "vendor", "node_modules") or part.startswith((".", "_")):
            return "/".join(parts[:i])
    return ""


def _shared(a: str, b: str) -> int:
    """Return how many leading elements two directories share."""
    count = 0
    for x, y in zip(a.split("/"), b.split("/"), strict=False):
        if x != y:
            break
        count += 1
    return count
