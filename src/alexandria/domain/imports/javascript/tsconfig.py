"""`tsconfig.json` and `jsconfig.json`: what they say of where modules are."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from alexandria.domain.imports.javascript import jsonc
from alexandria.domain.imports.javascript.files import Glob, climb, join, parent, within

# Frameworks that generate the configuration that the project's own one extends: their documented defaults.
_GENERATED: dict[str, dict[str, list[str]]] = {
    ".svelte-kit": {"$lib": ["src/lib"], "$lib/*": ["src/lib/*"]},
    ".nuxt": {"~/*": ["./*"], "@/*": ["./*"], "~~/*": ["${configDir}/*"], "@@/*": ["${configDir}/*"]},
}
_CONFIG_DIR = "${configDir}"


class PathMapping(NamedTuple):
    """One entry of `paths`: a name, possibly with one `*`, and where it may be.

    Attributes:
        prefix: What stands before the `*`; the whole name when there is none.
        suffix: What stands behind the `*`; None when there is none.
        targets: Paths from the repository's root, best first, with `*` for what it matched. A path
            that climbs out of the repository is left out.
    """

    prefix: str
    suffix: str | None
    targets: tuple[str, ...]

    def match(self, specifier: str) -> str | None:
        """Return what the `*` stands for ("" without one), or None when the name is another."""
        if self.suffix is None:
            return "" if specifier == self.prefix else None
        if len(specifier) < len(self.prefix) + len(self.suffix):
            return None
        if not (specifier.startswith(self.prefix) and specifier.endswith(self.suffix)):
            return None
        return specifier[len(self.prefix) : len(specifier) - len(self.suffix)]


@dataclass(eq=False, repr=False)  # each method that it writes is compiled at every start
class TsConfig:
    """One configuration with everything that it inherits; all paths are from the repository's root.

    Attributes:
        path: The file.
        base_url: Directory where bare names are looked for first, if any.
        mappings: `paths`, in the order in which they are matched: exact names, then the longest prefix.
        root_dirs: Directories that count as one for relative imports.
        out_dirs: Where `outDir` and `declarationDir` put the outputs.
        root_dir: Directory whose tree `out_dirs` mirror.
        references: The configurations of the projects that it refers to.
        conditions: `customConditions` for the `exports` of packages.
        suffixes: `moduleSuffixes` before the extension of a file, best first; empty when there is none to try.
        covers: Says whether a path is one of the project's own files.
    """

    path: str
    base_url: str | None
    mappings: tuple[PathMapping, ...]
    root_dirs: tuple[str, ...]
    out_dirs: tuple[str, ...]
    root_dir: str
    references: tuple[str, ...]
    conditions: tuple[str, ...]
    suffixes: tuple[str, ...]
    files: tuple[str, ...] | None
    include: tuple[str, ...] | None
    exclude: tuple[str, ...]

    @cached_property
    def _patterns(self) -> tuple[list[Glob], list[Glob]]:
        include = self.include
        if include is None:
            directory = parent(self.path)
            include = () if self.files is not None else (f"{directory}/**" if directory else "**",)
        return _globs(include), _globs(self.exclude)

    def covers(self, path: str) -> bool:
        """Say whether `path` is one of the project's own files."""
        if self.files is not None and path in self.files:
            return True
        include, exclude = self._patterns
        return any(p.matches(path) for p in include) and not any(p.matches(path) for p in exclude)


def _globs(patterns: tuple[str, ...]) -> list[Glob]:
    compiled = []
    for pattern in patterns:
        compiled.append(Glob(pattern))
        if not re.search(r"[*?][^/]*\Z", pattern):  # a directory stands for all in it
            compiled.append(Glob(f"{pattern}/**" if pattern else "**"))
    return compiled


class _Option(NamedTuple):
    """The value of an option, and the directory of the file that sets it."""

    value: Any
    directory: str


class TsConfigs:
    """All configurations of a repository, read once each."""

    def __init__(
        self, manifests: Mapping[str, str], find_package_config: Callable[[str, str], str | None], paths: frozenset[str]
    ) -> None:
        self._manifests = manifests
        self._find_package_config = find_package_config
        self._paths = paths
        self._read: dict[str, dict[str, Any]] = {}
        self._configs: dict[str, TsConfig] = {}
        self._inheriting: dict[str, tuple[dict[str, _Option], dict[str, _Option]]] = {}
        self._referred: dict[str, list[TsConfig]] = {}

    def extended(self, path: str) -> list[str]:
        """Return the files that the configuration `path` extends, in order, as far as they are in the repository."""
        found = []
        for name in jsonc.strings(self._object(path).get("extends")):
            target = self._extends_target(path, name)
            if target is not None:
                found.append(target)
        return found

    def _extends_target(self, path: str, name: str) -> str | None:
        if not name.startswith(("./", "../")) and name not in {".", ".."}:
            return self._find_package_config(parent(path), name)
        base = join(parent(path), name)
        if base is None:
            return None
        for candidate in (base, base + ".json", base + "/tsconfig.json"):
            if candidate in self._paths:
                return candidate
        return None

    def _object(self, path: str) -> dict[str, Any]:
        if path not in self._read:
            self._read[path] = jsonc.load_object(self._manifests.get(path, ""))
        return self._read[path]

    def for_file(self, path: str) -> tuple[TsConfig, ...]:
        """Return the configurations that hold for a file, the one that decides first.

        That is the nearest `tsconfig.json`, else `jsconfig.json`. When it refers to other projects and does not
        cover the file itself, the first project that does cover it decides.
        """
        nearest = climb(self._nearest, parent(path))
        if nearest is None:
            return ()
        config = self.config(nearest)
        if not config.references or config.covers(path):
            return (config,)
        project = next((project for project in self._projects(config) if project.covers(path)), None)
        return (config,) if project is None else (project, config)

    def _projects(self, config: TsConfig) -> list[TsConfig]:
        """Return the projects that a configuration refers to, directly or not, in that order."""
        if config.path not in self._referred:
            found: dict[str, TsConfig] = {}
            waiting = deque(config.references)
            while waiting:
                path = waiting.popleft()
                if path != config.path and path not in found and path in self._manifests:
                    found[path] = self.config(path)
                    waiting.extend(found[path].references)
            self._referred[config.path] = list(found.values())
        return self._referred[config.path]

    @cached_property
    def _nearest(self) -> dict[str, str | None]:
        """For each directory that was asked about, the configuration that holds in it; at first those that have one."""
        nearest: dict[str, str | None] = {"": None}
        for name in ("jsconfig.json", "tsconfig.json"):  # where both lie the second holds
            nearest.update({parent(path): path for path in self._manifests if path[path.rfind("/") + 1 :] == name})
        return nearest

    def in_directory(self, directory: str) -> list[TsConfig]:
        """Return every configuration that lies in `directory`, whatever its name."""
        prefix = directory + "/" if directory else ""
        return [self.config(path) for path in self._by_directory.get(directory, ()) if path.startswith(prefix)]

    @cached_property
    def _by_directory(self) -> dict[str, list[str]]:
        grouped: dict[str, list[str]] = {}
        for path in sorted(self._manifests):
            name = path[path.rfind("/") + 1 :]
            if name.startswith(("tsconfig", "jsconfig")) and name.endswith(".json"):
                grouped.setdefault(parent(path), []).append(path)
        return grouped

    def config(self, path: str) -> TsConfig:
        """Return the configuration of the file `path` with all that it inherits."""
        if path not in self._configs:
            self._configs[path] = self._build(path)
        return self._configs[path]

    def _inherited(self, path: str) -> tuple[dict[str, _Option], dict[str, _Option]]:
        """Return the compiler options and the other inherited members; a cycle of `extends` ends where it closes."""
        if path in self._inheriting:
            return self._inheriting[path]
        options: dict[str, _Option] = {}
        members: dict[str, _Option] = {}
        self._inheriting[path] = ({}, {})
        for base in self.extended(path):
            base_options, base_members = self._inherited(base)
            options.update(base_options)
            members.update(base_members)
        content = self._object(path)
        own = content.get("compilerOptions")
        if isinstance(own, dict):
            options.update({name: _Option(value, parent(path)) for name, value in own.items()})
        members.update({n: _Option(content[n], parent(path)) for n in ("files", "include", "exclude") if n in content})
        self._inheriting[path] = (options, members)
        return options, members

    def _build(self, path: str) -> TsConfig:
        directory = parent(path)
        options, members = self._inherited(path)

        def place(option: _Option | None) -> str | None:
            return None if option is None else _place(option.value, option.directory, directory)

        def places(option: _Option | None) -> tuple[str, ...]:
            if option is None or not isinstance(option.value, list):
                return ()
            found = (_place(value, option.directory, directory) for value in option.value)
            return tuple(p for p in found if p is not None)

        base_url = place(options.get("baseUrl"))
        paths = options.get("paths")
        mapping_base = base_url if base_url is not None else paths.directory if paths is not None else directory
        files = places(members["files"]) if "files" in members else None
        include = places(members["include"]) if "include" in members else None
        out_dirs = tuple(p for p in (place(options.get("outDir")), place(options.get("declarationDir"))) if p)
        exclude = places(members["exclude"]) if "exclude" in members else out_dirs
        root_dir = place(options.get("rootDir"))
        conditions = options.get("customConditions")
        suffixes = options.get("moduleSuffixes")
        return TsConfig(
            path=path,
            base_url=base_url,
            mappings=(
                *_mappings(paths.value if paths else None, mapping_base, directory),
                *self._generated_mappings(path),
            ),
            root_dirs=places(options.get("rootDirs")),
            out_dirs=out_dirs,
            root_dir=root_dir if root_dir is not None else _common_directory(directory, files, include),
            references=self._references(path),
            conditions=tuple(jsonc.strings(conditions.value)) if conditions else (),
            suffixes=tuple(jsonc.strings(suffixes.value)) if suffixes else (),
            files=files,
            include=include,
            exclude=exclude,
        )

    def _generated_mappings(self, path: str) -> tuple[PathMapping, ...]:
        """Return what a framework would write into the configuration that `path` extends and git does not hold."""
        content = self._object(path)
        references = content.get("references")
        named = jsonc.strings(content.get("extends"))
        if isinstance(references, list):
            named += [r["path"] for r in references if isinstance(r, dict) and isinstance(r.get("path"), str)]
        directory = parent(path)
        for folder, mappings in _GENERATED.items():
            if any(f"{folder}/" in name for name in named) and join(directory, folder) not in self._paths:
                app = join(directory, "app") or ""
                has_app = folder == ".nuxt" and any(p.startswith(f"{app}/") for p in self._paths)
                return _mappings(mappings, app if has_app else directory, directory)
        return ()

    def _references(self, path: str) -> tuple[str, ...]:
        found = []
        listed = self._object(path).get("references")
        for reference in listed if isinstance(listed, list) else ():
            target = _place(reference.get("path"), parent(path), parent(path)) if isinstance(reference, dict) else None
            if target is None:
                continue
            found.append(target if target.endswith(".json") else f"{target}/tsconfig.json".lstrip("/"))
        return tuple(found)


def _place(value: object, directory: str, leaf_directory: str) -> str | None:
    """Return a path option from the repository's root; None when it is none or lies outside."""
    if not isinstance(value, str) or value.startswith("/"):
        return None
    if value.startswith(_CONFIG_DIR):
        return join(leaf_directory, value.removeprefix(_CONFIG_DIR))
    return join(directory, value)


def _mappings(value: object, base: str, leaf_directory: str) -> tuple[PathMapping, ...]:
    if not isinstance(value, dict):
        return ()
    mappings = []
    for name, targets in value.items():
        placed = (_place(target, base, leaf_directory) for target in jsonc.strings(targets))
        prefix, star, suffix = name.partition("*")
        mappings.append(PathMapping(prefix, suffix if star else None, tuple(p for p in placed if p is not None)))
    return tuple(sorted(mappings, key=lambda m: (m.suffix is not None, -len(m.prefix))))


def _common_directory(directory: str, files: tuple[str, ...] | None, include: tuple[str, ...] | None) -> str:
    """Return the directory that outputs are laid out from when no `rootDir` says it."""
    if files and not include:
        folders = [parent(file) for file in files]
    elif include:
        folders = [re.split(r"/?[^/]*[*?{]", pattern, maxsplit=1)[0] for pattern in include]
        folders = [parent(folder) if "." in folder[folder.rfind("/") + 1 :] else folder for folder in folders]
    else:
        return directory
    common = folders[0]
    while not all(within(folder, common) for folder in folders):
        common = parent(common)
    return common
