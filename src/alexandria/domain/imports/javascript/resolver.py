"""What a specifier of JavaScript or TypeScript means, in the order of TypeScript's and Node's resolvers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import NamedTuple, Self

from alexandria.domain.imports.facts import ImportForm, ImportStatement, SourceFacts
from alexandria.domain.imports.javascript.build_outputs import sources_of
from alexandria.domain.imports.javascript.bundlers import Bundlers
from alexandria.domain.imports.javascript.files import (
    SOURCE_EXTENSIONS,
    FileIndex,
    climb,
    is_declaration,
    join,
    parent,
    split_source_extension,
    within,
)
from alexandria.domain.imports.javascript.packages import Package, Packages, export_targets, split_name
from alexandria.domain.imports.javascript.tsconfig import PathMapping, TsConfig, TsConfigs
from alexandria.domain.imports.outcome import EdgeKind, FileOutcome, Outcome, Resolved
from alexandria.domain.imports.tree import RepoTree

BUILTINS = frozenset(
    """
    assert async_hooks buffer child_process cluster console constants crypto dgram diagnostics_channel dns domain
    events fs http http2 https inspector module net os path perf_hooks process punycode querystring readline repl
    stream string_decoder sys timers tls trace_events tty url util v8 vm wasi worker_threads zlib
    """.split()  # noqa: SIM905 - a list of that many quoted names is harder to read
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_PACKAGE_SCHEMES = frozenset({"node", "npm", "jsr", "bun", "deno", "cloudflare", "workerd", "electron"})
_PACKAGE_NAME = re.compile(r"(?:@[a-z0-9~_][\w.~-]*/)?[A-Za-z0-9_][\w.~-]*\Z")


class Answer(NamedTuple):
    """What a specifier means, without the place where it is written."""

    resolved: Resolved
    reason: str
    target: str = ""
    tried: tuple[str, ...] = ()


class _Importer(NamedTuple):
    """Everything of an importing file that changes what its specifiers mean.

    Attributes:
        directory: Where it lies.
        declaration: Whether it is a `.d.ts` file or its kin.
        configs: The configurations that hold for it.
        key: Names all these.
        name_key: Names what changes the meaning of specifiers that are no paths; many directories share it.
    """

    directory: str
    declaration: bool
    configs: tuple[TsConfig, ...]
    key: tuple[str, ...]
    name_key: tuple[str, ...]

    @classmethod
    def of(cls, path: str, configs: tuple[TsConfig, ...], territory: Callable[[str], str]) -> Self:
        directory, declaration = parent(path), is_declaration(path)
        rest = ("declaration" if declaration else "", *[config.path for config in configs])
        return cls(directory, declaration, configs, (directory, *rest), (territory(directory), *rest))


class Resolver:
    """Resolves the imports of one repository; keeps what it looked up."""

    def __init__(self, tree: RepoTree) -> None:
        self._files = FileIndex(tree.paths)
        self._packages = Packages.read(tree.manifests)
        self._configs = TsConfigs(tree.manifests, self.package_config, tree.paths)
        self._manifests = tree.manifests
        self._answers: dict[tuple[str, bool, tuple[str, ...]], Answer] = {}

    @cached_property
    def _bundlers(self) -> Bundlers:
        return Bundlers.read(self._manifests, self._files.directories)

    # -- files ---------------------------------------------------------------------------------------------------

    def outcome(self, facts: SourceFacts) -> FileOutcome:
        """Resolve every import of one file."""
        if not facts.imports:
            return FileOutcome(facts.path)
        importer = _Importer.of(facts.path, self._configs.for_file(facts.path), self._territory)
        return FileOutcome(facts.path, tuple([self._outcome(statement, importer) for statement in facts.imports]))

    def _territory(self, directory: str) -> str:
        """Return the directory around `directory` in which every name means the same.

        That is the nearest one with a package or with a configuration of a bundler. Where two packages have one
        name, the nearer of them is meant, and each directory stands for itself.
        """
        if self._packages.share_names:
            return directory
        return climb(self._territories, directory)

    @cached_property
    def _territories(self) -> dict[str, str]:
        return {place: place for place in ("", *self._packages.by_directory, *self._bundlers.by_directory)}

    def _outcome(self, statement: ImportStatement, importer: _Importer) -> Outcome:
        if statement.form is ImportForm.COMPUTED:
            return Outcome(statement.line, statement.specifier, Resolved.DYNAMIC, reason="the specifier is computed")
        kind = EdgeKind.IMPORT
        if statement.type_only:
            kind = EdgeKind.TYPE_ONLY
        elif statement.form is ImportForm.REEXPORT:
            kind = EdgeKind.REEXPORT
        answer = self.answer(statement.specifier, importer, required=statement.form is ImportForm.REQUIRE)
        return Outcome(
            statement.line,
            statement.specifier,
            answer.resolved,
            kind,
            (answer.target,) if answer.target else (),
            answer.reason,
            answer.tried,
        )

    def answer(self, specifier: str, importer: _Importer, *, required: bool) -> Answer:
        """Return what `specifier` means in a file like `importer`."""
        is_name = specifier[:1] != "." and "!" not in specifier
        key = (specifier, required, importer.name_key if is_name else importer.key)
        known = self._answers.get(key)
        if known is None:
            known = self._resolve(specifier, importer, required)
            if known.resolved is Resolved.UNRESOLVED:
                # Looked for once more, to be able to say where: failures are few, and lists are slow.
                self._files.tried = []
                self._resolve(specifier, importer, required)
                tried, self._files.tried = self._files.tried, None
                known = Answer(known.resolved, known.reason, tried=tuple(dict.fromkeys(tried)))
            self._answers[key] = known
        return known

    def _resolve(self, specifier: str, importer: _Importer, required: bool) -> Answer:
        name = specifier
        if "!" in name and not name.startswith("data:"):  # webpack's `loader!file`
            name = name.rpartition("!")[2]
        answer = self._named(name, importer, required)
        if "?" in name and answer.resolved in {Resolved.UNRESOLVED, Resolved.EXTERNAL}:
            name = name.partition("?")[0]
            answer = self._named(name, importer, required)
        return answer

    def _named(self, specifier: str, importer: _Importer, required: bool) -> Answer:
        if not specifier:
            return Answer(Resolved.UNRESOLVED, "the specifier is empty")
        if specifier.startswith(("./", "../")) or specifier in {".", ".."}:
            return self._relative(specifier, importer)
        mapped = self._mapped(specifier, importer) or self._aliased(specifier, importer)
        if mapped is not None:
            return mapped
        if specifier.startswith("#"):
            return self._package_import(specifier, importer, required)
        return _beyond_packages(specifier) or self._package(specifier, importer, required)

    # -- paths ---------------------------------------------------------------------------------------------------

    def _relative(self, specifier: str, importer: _Importer) -> Answer:
        path = join(importer.directory, specifier)
        if path is None:
            return Answer(Resolved.UNRESOLVED, "the path climbs out of the repository")
        only_directory = specifier.endswith("/") or specifier.rpartition("/")[2] in {".", ".."}
        found = self._path(path, importer, only_directory=only_directory)
        if found is None:
            found = self._through_root_dirs(path, importer)
        if found is None:
            if "node_modules" in path.split("/"):
                return Answer(Resolved.EXTERNAL, "a file of an installed package")
            return Answer(Resolved.UNRESOLVED, self._why_missing(path, importer))
        return self._inside(found, "a path")

    def _why_missing(self, path: str, importer: _Importer) -> str:
        package = next(iter(self._packages.enclosing(parent(path))), None)
        source = None if package is None else self._source(path, package, importer)
        if source is None:
            return "no such file"
        return f"no such file; it may be built from {source}"

    def _inside(self, path: str, reason: str) -> Answer:
        if path.endswith(SOURCE_EXTENSIONS):
            return Answer(Resolved.INSIDE, reason, path)
        return Answer(Resolved.UNSUPPORTED, f"no source file: {path}")

    def _path(self, path: str, importer: _Importer, *, only_directory: bool = False) -> str | None:
        """Return the file that a path means: itself, with an extension, or the entry of the directory."""
        if path and not only_directory:
            found = self._suffixed(path, importer) or self._files.source(path, declaration=importer.declaration)
            if found is not None:
                return found
        if path in self._files.directories:
            found = self._directory(path, importer)
            if found is not None:
                return found
        return self._files.with_rare_extension(path) if path else None

    def _suffixed(self, path: str, importer: _Importer) -> str | None:
        """Return the file that a path means with one of the `moduleSuffixes` (`./button` is `button.ios.ts`)."""
        suffixes = importer.configs[0].suffixes if importer.configs else ()
        for suffix in suffixes:
            stem, extension = split_source_extension(path)
            found = self._files.source(f"{stem}{suffix}{extension}", declaration=importer.declaration)
            if found is not None:
                return found
        return None

    def _directory(self, directory: str, importer: _Importer) -> str | None:
        """Return the file that a directory stands for: the entry of its package, or its index."""
        package = self._packages.by_directory.get(directory)
        if package is not None:
            return self._main(package, directory, importer)
        index = _in(directory, "index")
        return self._suffixed(index, importer) or self._files.source(index, declaration=importer.declaration)

    def _through_root_dirs(self, path: str, importer: _Importer) -> str | None:
        for config in importer.configs:
            own = max((r for r in config.root_dirs if within(path, r)), key=len, default=None)
            if own is None:
                continue
            inner = path[len(own) :].lstrip("/")
            for root in config.root_dirs:
                if root != own:
                    found = self._path(_in(root, inner), importer)
                    if found is not None:
                        return found
        return None

    # -- names that the configuration maps -----------------------------------------------------------------------

    def _mapped(self, specifier: str, importer: _Importer) -> Answer | None:
        for config in importer.configs:
            found = self._first_mapping(config.mappings, specifier, importer)
            if found is not None:
                return self._inside(found, f"paths of {config.path}")
            if config.base_url is not None:
                path = join(config.base_url, specifier)
                found = None if path is None else self._path(path, importer)
                if found is not None:
                    return self._inside(found, f"baseUrl of {config.path}")
        return None

    def _first_mapping(self, mappings: tuple[PathMapping, ...], specifier: str, importer: _Importer) -> str | None:
        """Return the file that the first matching entry leads to; the entries behind it are not asked."""
        for mapping in mappings:
            matched = mapping.match(specifier)
            if matched is None:
                continue
            for target in mapping.targets:
                path = join("", target.replace("*", matched, 1))
                found = None if path is None else self._path(path, importer)
                if found is not None:
                    return found
            return None
        return None

    def _aliased(self, specifier: str, importer: _Importer) -> Answer | None:
        for aliases in self._bundlers.around(importer.directory):
            found = self._first_mapping(aliases.mappings, specifier, importer)
            if found is not None:
                return self._inside(found, "an alias of the bundler")
            name = split_name(specifier)[0]
            if not aliases.roots or name in BUILTINS or self._packages.depends(name, importer.directory):
                continue
            for root in aliases.roots:
                path = join(root, specifier)
                found = None if path is None else self._path(path, importer)
                if found is not None:
                    return self._inside(found, f"a module of the bundler's folder {root}")
        return None

    # -- packages ------------------------------------------------------------------------------------------------

    def _conditions(self, importer: _Importer, required: bool) -> frozenset[str]:
        custom = [condition for config in importer.configs for condition in config.conditions]
        types = ["types"] if importer.declaration else []
        return frozenset([*custom, *types, "node", "require" if required else "import"])

    def _package_import(self, specifier: str, importer: _Importer, required: bool) -> Answer:
        for package in self._packages.enclosing(importer.directory):
            imports = package.content.get("imports")
            if not isinstance(imports, dict):
                continue
            path = _in(package.directory, "package.json")
            targets = export_targets(imports, specifier, self._conditions(importer, required))
            dependency = next((target for target in targets if not target.startswith("./")), None)
            if dependency is not None:
                return self._package(dependency, importer, required)
            found = self._exported(package, package.directory, imports, specifier, importer=importer, required=required)
            if found is not None:
                return self._inside(found, f"imports of {path}")
            return Answer(Resolved.UNRESOLVED, f"imports of {path} has no such key, or it leads to no file")
        return Answer(Resolved.UNRESOLVED, "no package.json around has imports")

    def _package(self, specifier: str, importer: _Importer, required: bool) -> Answer:
        name, subpath = split_name(specifier)
        linked = self._packages.named(name, importer.directory)
        config = None
        if linked is None:
            config = next((c for c in importer.configs for m in c.mappings if _maps(m, specifier)), None)
            # `paths` often leads to what a build makes of a package, whether a workspace lists it or not.
            linked = None if config is None else self._packages.called(name, importer.directory)
        if linked is None:
            return self._outside(name, importer, config)
        package, directory = linked
        found = self._entry(package, directory, subpath, importer, required)
        if found is not None:
            return self._inside(found, f"package {package.name}")
        return Answer(Resolved.UNRESOLVED, f"package {package.name} has no such entry")

    def _outside(self, name: str, importer: _Importer, config: TsConfig | None) -> Answer:
        if name in BUILTINS:
            return Answer(Resolved.EXTERNAL, "a module of Node")
        if config is not None and not self._packages.depends(name, importer.directory):
            return Answer(Resolved.UNRESOLVED, f"paths of {config.path} leads to no file")
        if not _PACKAGE_NAME.match(name):
            return Answer(Resolved.UNRESOLVED, "no package can have this name, and no configuration maps it")
        return Answer(Resolved.EXTERNAL, "a package that is not in the repository")

    def _entry(self, package: Package, directory: str, subpath: str, importer: _Importer, required: bool) -> str | None:
        if package.exports is not None:
            key = f"./{subpath}" if subpath else "."
            found = self._exported(package, directory, package.exports, key, importer=importer, required=required)
            if found is not None:
                return found
        if not subpath:
            return self._main(package, directory, importer)
        versions = package.types_versions(subpath) if package.exports is None else []
        for path in _paths_in(directory, [subpath, *versions]):
            found = self._path(path, importer) or self._source(path, package, importer)
            if found is not None:
                return found
        return None

    def _exported(
        self, package: Package, directory: str, table: object, key: str, *, importer: _Importer, required: bool
    ) -> str | None:
        """Return the file that a key of `exports` or `imports` leads to, of a package that lies in `directory`.

        The targets under the conditions that hold come first, then all others: a target that is in the
        repository is what this repository has of the entry. Where none is, the declarations say best
        which source the entry is built from, as bundles have many.
        """
        conditions = self._conditions(importer, required)
        everything = export_targets(table, key, None)
        targets = dict.fromkeys([*export_targets(table, key, conditions), *everything])
        for path in _paths_in(directory, targets):
            if self._files.has(path):
                return path if importer.declaration else self._files.implementation(path)
        for path in _paths_in(directory, [*export_targets(table, key, conditions | {"types"}), *everything]):
            found = self._path(path, importer) or self._source(path, package, importer)
            if found is not None:
                return found
        return None

    def _main(self, package: Package, directory: str, importer: _Importer) -> str | None:
        """Return the file that a package without `exports` is entered by, as if it lay in `directory`."""
        types = package.text("types", "typings")
        code = package.text("main", "module", "jsnext:main", "browser")
        entries = [join(directory, entry) for entry in ([*types, *code] if importer.declaration else [*code, *types])]
        paths = [path for path in entries if path is not None and path != directory]
        index = _in(directory, "index")
        for path in paths:
            found = self._files.source(path, declaration=importer.declaration)
            found = found or self._files.source(_in(path, "index"), declaration=importer.declaration)
            if found is not None:
                return found
        for entry in package.text("source"):
            source = join(package.directory, entry)
            if source is not None and self._files.has(source):
                return source
        found = self._files.source(index, declaration=importer.declaration)
        if found is not None:
            return found
        sources = (self._source(path, package, importer) for path in [*paths, index])
        found = next((source for source in sources if source is not None), None)
        return found if found is not None else self._only_entry(package)

    def _only_entry(self, package: Package) -> str | None:
        """Return the one source that the package is built from; its bundle may have any name."""
        entries = self._bundlers.entries(package.directory)
        found = self._files.source(entries[0][1], declaration=False) if len(entries) == 1 else None
        return found if found is not None and found.endswith(SOURCE_EXTENSIONS) else None

    def _source(self, output: str, package: Package, importer: _Importer) -> str | None:
        """Return the source of a build output that is not in the repository."""
        inner = next(iter(self._packages.enclosing(parent(output))), package)
        for owner in dict.fromkeys([inner.directory, package.directory]):
            of = self._packages.by_directory.get(owner, package)
            if of is not package and output in {join(owner, entry) for entry in of.text("main", "module")}:
                found = self._main(of, owner, importer)
                if found is not None:
                    return found
            for candidate in sources_of(output, of, self._build_configs(owner), self._bundlers.entries(owner)):
                found = self._files.source(candidate, declaration=False)
                found = found or self._files.source(_in(candidate, "index"), declaration=False)
                if found is not None and found.endswith(SOURCE_EXTENSIONS):
                    return found
        return None

    def _build_configs(self, directory: str) -> list[TsConfig]:
        return self._configs.in_directory(directory)

    def package_config(self, directory: str, name: str) -> str | None:
        """Return the configuration that `extends: "name"` means in a file of `directory`."""
        package_name, subpath = split_name(name)
        linked = self._packages.named(package_name, directory)
        if linked is None:
            return None
        package = linked[0]
        candidates = []
        if package.exports is not None:
            candidates += export_targets(package.exports, f"./{subpath}" if subpath else ".", None)
        if subpath:
            candidates += [subpath, subpath + ".json", subpath + "/tsconfig.json"]
        else:
            candidates += [*package.text("tsconfig"), "tsconfig.json"]
        paths = (join(package.directory, candidate) for candidate in candidates)
        return next((path for path in paths if path is not None and path in self._files.paths), None)

    def configurations(self) -> TsConfigs:
        """Return the configurations, for the question which manifests are still missing."""
        return self._configs


def _maps(mapping: PathMapping, specifier: str) -> bool:
    # `*` alone matches every name, and so says nothing about any; installed packages are not ours to find.
    inside = any("node_modules" not in target.split("/") for target in mapping.targets)
    return mapping.prefix != "" and inside and mapping.match(specifier) is not None


def _beyond_packages(specifier: str) -> Answer | None:
    """Return the answer for a specifier that is a URL or an absolute path; None for the name of a package."""
    if specifier.startswith("/"):
        return Answer(Resolved.UNSUPPORTED, "a path from the root of a server or a file system")
    scheme = _SCHEME.match(specifier)
    if scheme is None:
        return None
    if scheme[1] in _PACKAGE_SCHEMES:
        return Answer(Resolved.EXTERNAL, f"a module of {scheme[1]}")
    return Answer(Resolved.UNSUPPORTED, "a URL, or a module that a bundler makes")


def _paths_in(directory: str, targets: Iterable[str]) -> list[str]:
    return [path for target in targets if (path := join(directory, target)) is not None]


def _in(directory: str, name: str) -> str:
    return f"{directory}/{name}" if directory else name
