"""From a build output that is not in the repository to the source that it is made of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from alexandria.domain.imports.javascript.files import parent, split_source_extension, within
from alexandria.domain.imports.javascript.packages import Package
from alexandria.domain.imports.javascript.tsconfig import TsConfig

_OUTPUT_FOLDER = re.compile(
    r"_?(?:dist|build|built|builds|lib|libs|out|output|es|esm|esm5|es5|es6|es20\d\d|fesm\d*|cjs|mjs|umd|iife|amd|common|commonjs|"
    r"module|modules|types|typings|dts|declarations?|bundles?|compiled|target|node|browser|web|npm|pkg|release|prod|"
    r"dist-\w+|dist\w*|build-\w+|lib-\w+)\Z"
)
_SOURCE_FOLDERS = ("src", "source", "lib", "ts", "")
_GLOB_EXTENSION = re.compile(r"\.(?:[cm]?[jt]sx?|\{[^}/]*\}|\*)\Z")
_VARIANT = re.compile(
    r"[._-](?:min|esm|es|mjs|cjs|umd|iife|amd|system|prod|production|dev|development|global|browser|node|web|"
    r"module|modern|legacy|common|commonjs|bundle|bundled|bundler|esm-bundler|esm-browser|runtime|es5|es6|es20\d\d)\Z"
)


def sources_of(
    output: str, package: Package, configs: list[TsConfig], entries: Sequence[tuple[str, str]]
) -> Iterator[str]:
    """Yield paths without extension at which the source of `output` may be, best first.

    Args:
        output: Path of a file that is not in the repository.
        package: The package that names it.
        configs: The configurations of the package; their `outDir` and `rootDir` say how outputs are laid out.
        entries: The entry points of its build: (name of the output or "", path or glob of the source).
    """
    stem, _ = split_source_extension(output)
    stems = [stem, *_without_variants(stem)]
    start = len(package.directory) + 1 if package.directory else 0
    if entries and within(stem, package.directory):
        for name in stems:
            for inner in _without_output_folders(name[start:]):
                yield from _built_as(inner, entries)
    for config in configs:
        for out_dir in config.out_dirs:
            if within(stem, out_dir) and stem != out_dir:
                for name in stems:
                    inner = name[len(out_dir) :].lstrip("/")
                    yield _joined(config.root_dir, inner)
    if not within(stem, package.directory):
        return
    for name in stems:
        for inner in _without_output_folders(name[start:]):
            for folder in _SOURCE_FOLDERS:
                yield _joined(_joined(package.directory, folder), inner)
    if stem == _joined(package.directory, "index"):
        # The entry of Angular's package format, which has no index of its own.
        yield from (_joined(package.directory, f"src/{name}") for name in ("public-api", "public_api"))


def _built_as(name: str, entries: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yield the sources of the entry points that are called `name`, the shortest path first."""
    unnamed = []
    for output, path in entries:
        stem = _GLOB_EXTENSION.sub("", path)
        if output == name:
            yield stem
        elif not output and "*" in stem:
            before, _, after = stem.replace("**/*", "*").partition("*")
            unnamed.append(before + name + after)
        elif not output and f"/{stem}".endswith(f"/{name}"):
            unnamed.append(stem)
    yield from sorted(unnamed, key=len)


def _joined(directory: str, inner: str) -> str:
    return f"{directory}/{inner}" if directory and inner else directory or inner


def _without_variants(stem: str) -> Iterator[str]:
    folder, name = parent(stem), stem[stem.rfind("/") + 1 :]
    while shorter := _VARIANT.sub("", name):
        if shorter == name:
            return
        name = shorter
        yield _joined(folder, name)


def _without_output_folders(inner: str) -> Iterator[str]:
    """Yield the path less its leading output folders, as many as there are, then all shorter cuts."""
    parts = inner.split("/")
    count = 0
    while count < len(parts) - 1 and _OUTPUT_FOLDER.match(parts[count]):
        count += 1
    for cut in range(count, -1, -1):
        yield "/".join(parts[cut:])
