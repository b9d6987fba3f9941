"""`package.json`: which packages a repository holds, and what their names and entry points mean."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from typing import Any

from alexandria.domain.imports.javascript import jsonc
from alexandria.domain.imports.javascript.files import Glob, ancestors, join, parent

_DEPENDENCY_FIELDS = ("dependencies", "devDependencies", "peerDependencies", "optionalDependencies", "resolutions")
_LINK = re.compile(r"(?:file|link|portal|workspace):(\.{0,2}/.*|\.{1,2})\Z")
_WORKSPACE_ALIAS = re.compile(r"workspace:((?:@[^/@]+/)?[^/@]+)@")


class Package:
    """One `package.json`.

    Attributes:
        directory: Where it lies; "" is the root of the repository.
        name: The name it is imported by, or "".
        content: The whole object.
    """

    def __init__(self, directory: str, name: str, content: Mapping[str, Any]) -> None:
        self.directory = directory
        self.name = name
        self.content = content

    @property
    def exports(self) -> Any:
        """The `exports` member; None when there is none."""
        return self.content.get("exports")

    def text(self, *names: str) -> list[str]:
        """Return those of the members that are non-empty strings, in the order of `names`."""
        return [value for name in names if isinstance(value := self.content.get(name), str) and value]

    def types_versions(self, subpath: str) -> list[str]:
        """Return the paths that `typesVersions` gives for a sub-path, those of the first range that has it."""
        ranges = self.content.get("typesVersions")
        for table in ranges.values() if isinstance(ranges, dict) else ():
            if isinstance(table, dict):
                # The same patterns as those of `exports`, without the leading dots.
                dotted = {f"./{key}": value for key, value in table.items()}
                if targets := export_targets(dotted, f"./{subpath}", None):
                    return targets
        return []

    @cached_property
    def dependencies(self) -> dict[str, str]:
        """Every declared dependency of any kind: name → version or place."""
        declared = (self.content.get(field_name) for field_name in _DEPENDENCY_FIELDS)
        return {
            name: version
            for dependencies in declared
            if isinstance(dependencies, dict)
            for name, version in dependencies.items()
            if isinstance(version, str)
        }

    def links(self) -> dict[str, str]:
        """Return the dependencies that are directories or other workspace packages: name → what it is.

        A value that starts with `./` is a directory from the repository's root; any other is a package's name.
        """
        found = {}
        for name, version in self.dependencies.items():
            if link := _LINK.match(version):
                directory = join(self.directory, link[1])
                if directory is not None:
                    found[name] = f"./{directory}"
            elif alias := _WORKSPACE_ALIAS.match(version):
                found[name] = alias[1]
        return found


class Packages:
    """All packages of a repository.

    Attributes:
        by_directory: Every `package.json` that could be read.
        members: Directories of the packages that the workspaces list.
        roots: Directories that a workspace is declared in.
    """

    def __init__(self, by_directory: dict[str, Package], members: frozenset[str], roots: frozenset[str]) -> None:
        self.by_directory = by_directory
        self.members = members
        self.roots = roots
        self._by_name: dict[str, list[Package]] = {}
        self._links: dict[str, dict[str, str]] = {}
        self._enclosing: dict[str, tuple[Package, ...]] = {}

    @classmethod
    def read(cls, manifests: Mapping[str, str]) -> Packages:
        """Read every `package.json` and every list of workspaces."""
        by_directory = {}
        for path, text in manifests.items():
            if path == "package.json" or path.endswith("/package.json"):
                content = jsonc.load_object(text)
                name = content.get("name")
                by_directory[parent(path)] = Package(parent(path), name if isinstance(name, str) else "", content)
        workspaces = list(_workspaces(manifests, by_directory))
        roots = frozenset(root for root, _ in workspaces)
        packages = cls(by_directory, frozenset(_members(workspaces, by_directory)), roots)
        for directory in sorted(by_directory, key=lambda d: (d.count("/"), d)):
            packages._by_name.setdefault(by_directory[directory].name, []).append(by_directory[directory])
        packages._by_name.pop("", None)
        return packages

    @cached_property
    def share_names(self) -> bool:
        """Whether two packages have one name."""
        return any(len(packages) > 1 for packages in self._by_name.values())

    def enclosing(self, directory: str) -> tuple[Package, ...]:
        """Return the packages that `directory` lies in, the innermost first."""
        if directory not in self._enclosing:
            found = (self.by_directory.get(ancestor) for ancestor in ancestors(directory))
            self._enclosing[directory] = tuple(package for package in found if package is not None)
        return self._enclosing[directory]

    def named(self, name: str, directory: str) -> tuple[Package, str] | None:
        """Return the package that `name` means in a file of `directory`, and the directory it is linked from.

        The innermost package that has a name means itself by it, at once when it has `exports`, as Node
        wants it, else at last. Between them come the links that an enclosing package declares, then the
        members of the workspaces. Of several with one name the nearest is meant.
        """
        itself = next((package for package in self.enclosing(directory) if package.name), None)
        if itself is None or itself.name != name:
            return self._linked(name, directory) or self._member(name, directory)
        if itself.exports is not None:
            return itself, itself.directory
        return self._linked(name, directory) or self._member(name, directory) or (itself, itself.directory)

    def _linked(self, name: str, directory: str) -> tuple[Package, str] | None:
        for package in self.enclosing(directory):
            linked = self._links_of(package).get(name)
            if linked is None:
                continue
            if not linked.startswith("./"):
                return self._member(linked, directory)
            target = self.by_directory.get(linked[2:])
            # The directory may also be what a build makes of the package of that name.
            target = target or self._nearest(self._by_name.get(name, ()), directory)
            return (target, linked[2:]) if target is not None else None
        return None

    def _member(self, name: str, directory: str) -> tuple[Package, str] | None:
        listed = [p for p in self._by_name.get(name, ()) if p.directory in self.members or p.directory in self.roots]
        # The root of a workspace often has the name of its main package, which is the one that is meant.
        member = self._nearest([p for p in listed if p.directory in self.members] or listed, directory)
        return (member, member.directory) if member is not None else None

    def called(self, name: str, directory: str) -> tuple[Package, str] | None:
        """Return the nearest package of that name, whether anything links it or not."""
        package = self._nearest(self._by_name.get(name, ()), directory)
        return (package, package.directory) if package is not None else None

    def depends(self, name: str, directory: str) -> bool:
        """Say whether a package around `directory` declares that it depends on `name`."""
        return any(name in package.dependencies for package in self.enclosing(directory))

    def _links_of(self, package: Package) -> dict[str, str]:
        if package.directory not in self._links:
            self._links[package.directory] = package.links()
        return self._links[package.directory]

    @staticmethod
    def _nearest(packages: Collection[Package], directory: str) -> Package | None:
        return max(packages, key=lambda p: len(_shared(p.directory, directory)), default=None)


def _shared(one: str, other: str) -> list[str]:
    shared = []
    for a, b in zip(one.split("/"), other.split("/"), strict=False):
        if a != b:
            break
        shared.append(a)
    return shared


def split_name(specifier: str) -> tuple[str, str]:
    """Split `@scope/name/sub/path` into the package's name and the sub-path ("" or without leading slash)."""
    parts = specifier.split("/", 2 if specifier.startswith("@") else 1)
    names = 2 if specifier.startswith("@") else 1
    return "/".join(parts[:names]), parts[names] if len(parts) > names else ""


def _members(workspaces: list[tuple[str, list[str]]], by_directory: Mapping[str, Package]) -> Iterator[str]:
    for root, patterns in workspaces:
        wanted: list[Glob] = []
        unwanted: list[Glob] = []
        for pattern in patterns:
            path = join(root, pattern.removeprefix("!"))
            if path is not None:
                (unwanted if pattern.startswith("!") else wanted).append(Glob(path))
        for directory in by_directory:
            if any(p.matches(directory) for p in wanted) and not any(p.matches(directory) for p in unwanted):
                yield directory


def _workspaces(manifests: Mapping[str, str], by_directory: Mapping[str, Package]) -> Iterator[tuple[str, list[str]]]:
    """Yield (root directory, globs of the member directories) of every workspace that is declared."""
    for directory, package in by_directory.items():
        listed = package.content.get("workspaces")
        patterns = jsonc.strings(listed.get("packages") if isinstance(listed, dict) else listed)
        if patterns:
            yield directory, patterns
    for path, text in manifests.items():
        name = path[path.rfind("/") + 1 :]
        if name == "pnpm-workspace.yaml":
            yield parent(path), yaml_list(text, "packages")
        elif name == "lerna.json":
            yield parent(path), jsonc.strings(jsonc.load_object(text).get("packages"))
        elif name == "rush.json":
            projects = jsonc.load_object(text).get("projects")
            folders = (
                [p.get("projectFolder") for p in projects if isinstance(p, dict)] if isinstance(projects, list) else []
            )
            yield parent(path), jsonc.strings(folders)


_YAML_ITEM = re.compile(r"""\s*-\s+(?:'((?:[^']|'')*)'|"((?:[^"\\]|\\.)*)"|([^#'"\s][^#]*?))\s*(?:#.*)?\Z""")
_YAML_FLOW_ITEM = re.compile(r"""'([^']*)'|"([^"]*)"|([^\s,'"\[\]#][^,\[\]#]*)""")


def yaml_list(text: str, key: str) -> list[str]:
    """Return the strings of a top-level list in YAML, in block or flow style; empty when there is none.

    No more of YAML is understood: it serves `pnpm-workspace.yaml`, whose lists hold plain or quoted globs.
    """
    lines = iter(text.removeprefix("\N{BOM}").splitlines())
    for line in lines:
        name, colon, rest = line.partition(":")
        if not colon or name.strip("'\"") != key:
            continue
        rest = rest.split(" #")[0].strip()
        if rest.startswith("["):
            while "]" not in rest and (line := next(lines, "]")):
                rest += " " + line.split(" #")[0]
            return [(a or b or c).strip() for a, b, c in _YAML_FLOW_ITEM.findall(rest[1 : rest.find("]")])]
        return list(_block_items(lines))
    return []


def _block_items(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        item = _YAML_ITEM.match(line)
        if item:
            yield (item[1] or "").replace("''", "'") or item[2] or (item[3] or "").strip()
        elif line.strip() and not line.lstrip().startswith("#"):
            return


def export_targets(exports: Any, subpath: str, conditions: Collection[str] | None) -> list[str]:
    """Return the targets that `exports` or `imports` of a package names for one key, best first.

    The rules are those of Node's PACKAGE_IMPORTS_EXPORTS_RESOLVE: an exact key, else the pattern with
    the longest prefix; the conditions of an object in the order in which they are written.

    Args:
        exports: The member as it was read, of any shape.
        subpath: `.`, `./sub/path` or `#name`.
        conditions: The conditions that hold; None when all of them do.
    """
    if isinstance(exports, dict) and all(isinstance(key, str) and key[:1] in {".", "#"} for key in exports):
        table: Mapping[str, Any] = exports
    else:
        table = {".": exports}
    if subpath in table and "*" not in subpath:
        return list(_leaves(table[subpath], "", conditions, 0))
    patterns = []
    for key, value in table.items():
        prefix, star, suffix = key.partition("*")
        if star or key.endswith("/"):
            long_enough = len(subpath) >= len(prefix) + len(suffix)
            if long_enough and subpath.startswith(prefix) and subpath.endswith(suffix) and subpath != prefix:
                patterns.append((len(prefix), len(suffix), star, value))
    if not patterns:
        return []
    prefix_length, suffix_length, star, value = max(patterns, key=lambda p: (p[0], p[1]))
    matched = subpath[prefix_length : len(subpath) - suffix_length]
    targets = _leaves(value, matched, conditions, 0)
    return list(targets) if star else [target + matched for target in targets]


def _leaves(value: Any, matched: str, conditions: Collection[str] | None, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value.replace("*", matched)
    elif depth > 50:
        return
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, matched, conditions, depth + 1)
    elif isinstance(value, dict):
        for condition, item in value.items():
            if conditions is None or condition in conditions or condition == "default":
                yield from _leaves(item, matched, conditions, depth + 1)
