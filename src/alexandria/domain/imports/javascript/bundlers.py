"""What configurations of builds say: names that they map (`alias`, `modules`, `imports`), and their entry points.

The configurations are programs. They are not run: only values that are literals, or a literal joined to the
configuration's own directory, are read, and everything else is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from alexandria.domain.imports.javascript import jsonc
from alexandria.domain.imports.javascript.files import ancestors, join, parent
from alexandria.domain.imports.javascript.tsconfig import PathMapping

_NAME = re.compile(
    r"(?:webpack|vite|vitest|rollup|rspack|rsbuild|rslib|babel|craco|vue|nuxt|astro|farm|electron\.vite|config-overrides|"
    r"next|svelte|metro|tsup|tsdown|rolldown|esbuild|build\.config)[\w.-]*\.(?:[cm]?[jt]s|json)\Z|\.babelrc(?:\.[cm]?js|\.json)?\Z|(?:deno\.jsonc?|import_map\.json)\Z"
)
_IMPORT_MAP = re.compile(r"(?:deno\.jsonc?|import_map\.json)\Z")
_CLUES = re.compile(r"alias|module-resolver|modules|imports|entry|entries|input")
_ENTRIES = frozenset({"entry", "entries", "entryPoints", "input"})
_HAS_WEBPACK = re.compile(r"webpack|rspack|craco|config-overrides|vue\.|next\.")
_TOKEN = re.compile(
    # What is not closed reaches to the end, so that no text is scanned twice.
    r"""\s+|//[^\n]*|/\*.*?(?:\*/|\Z)|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*(?:`|\Z)"""
    r"""|/\^(?:[^/\\\n\[]|\\.)*/|[\w$.]+|.""",
    re.DOTALL,
)
# The only words a path may be made of besides literals: anything else may be anywhere.
_PATH_WORDS = frozenset(
    """
    path resolve join path.resolve path.join path.posix.join path.posix.resolve nodePath.resolve url.fileURLToPath
    fileURLToPath URL .pathname new process.cwd
    """.split()  # noqa: SIM905 - a list of that many quoted names is harder to read
)
_HERE = frozenset({"__dirname", "import.meta.url", "import.meta.dirname", "process.cwd"})
_TEMPLATE_HERE = re.compile(r"\$\{(?:__dirname|import\.meta\.dirname|process\.cwd\(\))\}/?")
_OPEN, _CLOSE = frozenset("({["), frozenset(")}]")
_QUOTES = frozenset("\"'`")


def is_bundler_config(path: str) -> bool:
    """Say whether a file is named like the configuration of a bundler, of Babel or of a framework."""
    return _NAME.match(path[path.rfind("/") + 1 :]) is not None


class Aliases(NamedTuple):
    """What the configurations of one directory map.

    Attributes:
        mappings: Names, the longest first.
        roots: Directories where bare names are looked for.
        entries: What is built: (name of the output, path or glob of its source); the name is "" where the path says it.
    """

    mappings: tuple[PathMapping, ...] = ()
    roots: tuple[str, ...] = ()
    entries: tuple[tuple[str, str], ...] = ()


class Bundlers:
    """The aliases of a repository, by the directory of the configuration that sets them."""

    def __init__(self, by_directory: Mapping[str, Aliases]) -> None:
        self.by_directory = by_directory
        self._around: dict[str, tuple[Aliases, ...]] = {}

    @classmethod
    def read(cls, manifests: Mapping[str, str], directories: Collection[str]) -> Bundlers:
        """Read every configuration among `manifests`; `directories` are those that the repository has."""
        grouped: dict[str, list[str]] = {}
        for path in sorted(manifests):
            if is_bundler_config(path) and _CLUES.search(manifests[path]):
                grouped.setdefault(parent(path), []).append(path)
        return cls({d: _aliases(d, {p: manifests[p] for p in paths}, directories) for d, paths in grouped.items()})

    def around(self, directory: str) -> tuple[Aliases, ...]:
        """Return the aliases that hold in `directory`, those of the nearest configuration first."""
        if directory not in self._around:
            found = (self.by_directory.get(ancestor) for ancestor in ancestors(directory))
            self._around[directory] = tuple(a for a in found if a is not None and (a.mappings or a.roots))
        return self._around[directory]

    def entries(self, directory: str) -> tuple[tuple[str, str], ...]:
        """Return the entry points of what is built in `directory`."""
        aliases = self.by_directory.get(directory)
        return aliases.entries if aliases is not None else ()


def _aliases(directory: str, texts: Mapping[str, str], directories: Collection[str]) -> Aliases:
    mappings: dict[tuple[str, str | None], PathMapping] = {}
    roots: list[str] = []
    entries: dict[tuple[str, str], None] = {}
    for path, text in texts.items():
        if _IMPORT_MAP.match(path[path.rfind("/") + 1 :]):
            for mapping in _import_map(text, directory):
                mappings.setdefault((mapping.prefix, mapping.suffix), mapping)
            continue
        tokens = [t for t in _TOKEN.findall(text) if not t.isspace() and not t.startswith(("//", "/*"))]
        for name, value in _alias_entries(tokens):
            target = _path_of(value, directory, directories)
            if name and target is not None:
                for mapping in _mappings(name, target):
                    mappings.setdefault((mapping.prefix, mapping.suffix), mapping)
        for value in _listed(tokens, _roots_option(path, text)):
            root = _path_of(value, directory, directories, plain=True)
            if root is not None and root in directories:
                roots.append(root)
        for name, value in _entries(tokens):
            source = _path_of(value, directory, directories, plain=True)
            if source is not None:
                entries[name, source] = None
    ordered = sorted(mappings.values(), key=lambda m: (-len(m.prefix), m.suffix is not None))
    return Aliases(tuple(ordered), tuple(dict.fromkeys(roots)), tuple(entries))


def _import_map(text: str, directory: str) -> Iterator[PathMapping]:
    """Yield what the `imports` of an import map (a web standard, which Deno's configuration holds) map to files."""
    imports = jsonc.load_object(text).get("imports")
    for name, target in imports.items() if isinstance(imports, dict) else ():
        if name and isinstance(target, str) and target.startswith(("./", "../")):
            path = join(directory, target)
            if path is not None:
                ends = name.endswith("/")
                yield PathMapping(name, "" if ends else None, (f"{path}/*" if ends else path,))


def _roots_option(path: str, text: str) -> str:
    """Return the name of the option that lists directories of modules; "" where there is none."""
    if "module-resolver" in text:
        return "root"
    return "modules" if _HAS_WEBPACK.match(path[path.rfind("/") + 1 :]) else ""


def _mappings(name: str, target: str) -> Iterator[PathMapping]:
    """Yield what `name: target` maps: the name itself and, without webpack's `$`, everything below it."""
    if name.endswith("/"):
        yield PathMapping(name, "", (f"{target}/*",))
        return
    yield PathMapping(name.removesuffix("$"), None, (target,))
    if not name.endswith("$") and "." not in target[target.rfind("/") + 1 :]:
        yield PathMapping(f"{name}/", "", (f"{target}/*",))


def _alias_entries(tokens: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield (name, tokens of the value) of every entry of every `alias: {…}` and `alias: [{find, replacement}]`."""
    for i, token in enumerate(tokens[:-2]):
        if _word(token) != "alias" or tokens[i + 1] not in {":", "="}:
            continue
        if tokens[i + 2] == "{":
            yield from _members(tokens, i + 3)
        elif tokens[i + 2] == "[":
            for item in _items(tokens, i + 3):
                members = dict(_members(item, 1)) if item[:1] == ["{"] else {}
                find, replacement = members.get("find"), members.get("replacement")
                if find and replacement and len(find) == 1 and (name := _find(find[0])):
                    yield name, replacement


def _listed(tokens: list[str], name: str) -> Iterator[list[str]]:
    for i, token in enumerate(tokens[:-2]):
        if _word(token) == name and tokens[i + 1] == ":" and tokens[i + 2] == "[":
            yield from _items(tokens, i + 3)


def _entries(tokens: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield (name or "", tokens of the path) of all that `entry: …` lists: a path, paths, or names with paths."""
    for i, token in enumerate(tokens[:-2]):
        if _word(token) not in _ENTRIES or tokens[i + 1] != ":":
            continue
        if tokens[i + 2] == "{":
            yield from _members(tokens, i + 3)
        elif tokens[i + 2] == "[":
            yield from (("", item) for item in _items(tokens, i + 3))
        else:
            yield "", next(_items(tokens, i + 2), [])


def _find(token: str) -> str:
    """Return the name that `find` means: a literal, or a regular expression that is a literal prefix."""
    if token[0] in _QUOTES:
        return token[1:-1]
    if token.startswith("/^"):
        pattern = token[2:-1]
        name = re.sub(r"\\(.)", r"\1", pattern.removesuffix("$"))
        if not re.search(r"(?<!\\)[.*+?()\[\]|{}]", pattern) and name:
            return name + "$" * pattern.endswith("$")
    return ""


def _word(token: str) -> str:
    return token[1:-1] if token[:1] in _QUOTES else token


def _items(tokens: list[str], start: int) -> Iterator[list[str]]:
    """Yield the items between the commas at depth 0 from `start` to the bracket that closes."""
    depth = 0
    item: list[str] = []
    for piece in tokens[start:]:
        if depth == 0 and (piece == "," or piece in _CLOSE):
            if item:
                yield item
            if piece != ",":
                return
            item = []
            continue
        depth += (piece in _OPEN) - (piece in _CLOSE)
        item.append(piece)


def _members(tokens: list[str], start: int) -> Iterator[tuple[str, list[str]]]:
    for item in _items(tokens, start):
        if len(item) > 2 and item[1] == ":":
            yield _word(item[0]), item[2:]


def _path_of(tokens: list[str], directory: str, directories: Collection[str], *, plain: bool = False) -> str | None:
    """Return the path that an expression means, or None when it is no path or not plain enough to tell.

    Args:
        tokens: The expression.
        directory: Of the configuration.
        directories: Those that the repository has.
        plain: A literal without a leading `./` is a path, too.
    """
    literals = [token[1:-1] for token in tokens if token[0] in _QUOTES]
    words = [token for token in tokens if token[0] not in _QUOTES and (token[0].isalnum() or token[0] in "_$.")]
    if not literals or any(word not in _PATH_WORDS and word not in _HERE for word in words):
        return None
    literals[0] = _TEMPLATE_HERE.sub("./", literals[0])
    if any("${" in literal for literal in literals):
        return None
    joined = "/".join(literals)
    if not words and not plain and not joined.startswith(("./", "../", "/")):
        return None  # the name of a package
    base = directory
    # Templates of old have `function resolve(dir) { return path.join(__dirname, "..", dir) }`.
    if words == ["resolve"]:
        first = joined.removeprefix("./").split("/")[0]
        base = next((a for a in ancestors(directory) if (f"{a}/{first}" if a else first) in directories), directory)
    path = join(base, joined)
    return None if path is None else _existing(path, base, directories)


def _existing(path: str, base: str, directories: Collection[str]) -> str:
    """Return `path`, or without the folder of outputs above it when only its source is in the repository."""
    if path in directories or parent(path) in directories:
        return path
    inner = path[len(base) :].lstrip("/").partition("/")[2]
    source = f"{base}/{inner}" if base and inner else inner
    return source if source and (source in directories or parent(source) in directories) else path
