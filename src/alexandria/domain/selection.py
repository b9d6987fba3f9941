"""Which files of a tree are the repository's own, and which lie there because a tool put them there.

What is left out by rule, each with its reason:

- `.git`, `.hg`, `.svn`: the history, not the code.
- `node_modules`, `bower_components`, `jspm_packages`, `.pnpm-store`, `.yarn`: packages (and Yarn itself) that a
  package manager of JavaScript puts there, also when they are committed.
- A directory with a `pyvenv.cfg` in it, and one that is called `.venv`: a virtual environment of Python. `venv` or
  `env` without that file is a package like any other. The root of the repository is never taken for one.
- `site-packages` in a `python3.x` or `Lib` directory: what an environment without `pyvenv.cfg` holds (conda).
  Elsewhere the name is a folder of test data.
- `__pycache__`, `.tox`, `.nox`, `.eggs`, `.mypy_cache`, `.pytest_cache`, `.ruff_cache`, `.gradle`, `.next`, `.nuxt`,
  `.svelte-kit`, `.parcel-cache`: written by tools, and written again by the next run.
- `vendor`, when it holds copies: a `modules.txt`, a `vendor.json` or a directory `github.com` lies in it, or a `go.mod`
  beside it (the go command takes no other `vendor` there), or Composer's `autoload.php` lies in it. Any other
  `vendor` is a package of the repository: its name is a word of shops, too.

`dist`, `build`, `out` and `target` are not among them: they are package names as often as outputs. They go when git
ignores them, which is the matter of whoever lists the files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from posixpath import basename, join

_BY_NAME = frozenset(
    {
        *(".git", ".hg", ".svn"),
        *("node_modules", "bower_components", "jspm_packages", ".pnpm-store", ".yarn"),
        *(".venv", "__pycache__", ".tox", ".nox", ".eggs", ".mypy_cache", ".pytest_cache", ".ruff_cache"),
        *(".gradle", ".next", ".nuxt", ".svelte-kit", ".parcel-cache"),
    }
)
_IN_VENDOR = ("modules.txt", "vendor.json", "autoload.php")
_SIGNS = ("pyvenv.cfg\n", "go.mod\n", *[f"{name}\n" for name in _IN_VENDOR], "vendor/github.com/", "site-packages")
_INSTALLED = re.compile(r"(?:.*/)?(?:python3\.\d+|Lib)/site-packages(?=/)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Selection:
    """The rules of this module, changed by globs.

    A glob is written as in a `.gitignore`: `*` and `?` stop at a slash, `**` does not, `[a-z]` is a
    class; one with a slash before its end counts from the root, any other at any depth; one that ends with a
    slash means directories only; whatever matches a directory matches all that is in it. There is no
    `!`: the other list is for that. `exclude` beats `include`, and `include` beats the rules.

    Attributes:
        include: Globs of files that count although a rule leaves them out.
        exclude: Globs of files that do not count.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def select(self, paths: Iterable[str]) -> frozenset[str]:
        """Return those of `paths` that belong to the repository.

        Args:
            paths: All files of the tree, posix, relative to its root. All of them, since some rules look at
                what lies beside a directory.
        """
        every = frozenset(paths)
        copies = _Copies(every)
        included = _matcher(self.include)
        excluded = _matcher(self.exclude)
        if included is None and excluded is None:
            if not copies.may_be_there:
                return every
            return frozenset([path for path in every if not copies.hold(path.rpartition("/")[0])])
        return frozenset(
            path
            for path in every
            if not (excluded and excluded.fullmatch(path))
            and (not copies.hold(path.rpartition("/")[0]) or (included is not None and included.fullmatch(path)))
        )

    def unmatched(self, paths: Iterable[str]) -> tuple[str, ...]:
        """Return the globs that match none of `paths`, those of `include` first: they are misspelt, most likely."""
        every = list(paths)
        return tuple(
            glob
            for glob in (*self.include, *self.exclude)
            if (matcher := _matcher((glob,))) is None or not any(matcher.fullmatch(path) for path in every)
        )


class _Copies:
    """The directories that the rules leave out.

    Attributes:
        may_be_there: Whether there is something to leave out; most repositories have nothing.
    """

    def __init__(self, paths: frozenset[str]) -> None:
        self._marked = set(_marked(paths)) if _may_be_marked(paths) else set()
        parts = (part for directory in {path.rpartition("/")[0] for path in paths} for part in directory.split("/"))
        self.may_be_there = bool(self._marked) or not _BY_NAME.isdisjoint(parts)
        self._known: dict[str, bool] = {"": False, "/": False}

    def hold(self, directory: str) -> bool:
        """Whether a directory is one of them, or lies in one at any depth."""
        below = []
        while directory not in self._known:
            below.append(directory)
            directory = directory.rpartition("/")[0]
        held = self._known[directory]
        for lower in reversed(below):
            held = held or basename(lower) in _BY_NAME or lower in self._marked
            self._known[lower] = held
        return held


def _may_be_marked(paths: Iterable[str]) -> bool:
    # One search through the text of all paths takes a tenth of the time of looking at each.
    text = "\n".join([*paths, ""])
    return any(sign in text for sign in _SIGNS)


def _marked(paths: Iterable[str]) -> Iterator[str]:
    """Yield the directories that something in them, beside them or above them shows to hold copies."""
    for path in paths:
        directory, _, name = path.rpartition("/")
        if name == "pyvenv.cfg" and directory:
            yield directory
        elif name == "go.mod":
            yield join(directory, "vendor")
        elif name in _IN_VENDOR and basename(directory) == "vendor":
            yield directory
        if "vendor/github.com/" in path and (cut := f"/{path}".find("/vendor/github.com/")) >= 0:
            yield path[: cut + len("vendor")]
        if "site-packages" in path and (installed := _INSTALLED.match(path)):
            yield installed[0]


def _matcher(globs: Iterable[str]) -> re.Pattern[str] | None:
    """Return one expression that matches the whole path of what any of the globs means, or None for no glob."""
    expressions = [_expression(glob) for glob in globs if glob.strip("/")]
    return re.compile("|".join(expressions), re.DOTALL) if expressions else None


def _expression(glob: str) -> str:
    body = glob.removesuffix("/")
    anchored = "/" in body
    below = "/.+" if glob.endswith("/") else "(?:/.+)?"
    return (
        ("" if anchored else "(?:.*/)?")
        + "".join(_translated(re.sub(r"(\*\*/)+", "**/", body.removeprefix("/"))))
        + below
    )


_PART = re.compile(r"^\*\*/|/\*\*/|/\*\*$|\*+|\?|\[[!^]?\]?[^\]]*\]|\\.|.", re.DOTALL)
_MEANING = {"**/": "(?:.*/)?", "/**/": "/(?:.*/)?", "/**": "/.+", "?": "[^/]"}


def _translated(glob: str) -> Iterator[str]:
    """Yield the regular expression of each part of a glob."""
    for part in _PART.findall(glob):
        if part in _MEANING:
            yield _MEANING[part]
        elif part[0] == "*":
            yield ".*" if glob == "**" else "[^/]*"
        elif part[0] == "[" and len(part) > 2:
            yield _class(part[1:-1])
        else:
            yield re.escape(part[-1])


def _class(characters: str) -> str:
    """Return the expression of a character class, or that of the characters themselves if it is none."""
    negated = "^" if characters[0] in "!^" else ""
    # These mean more to Python's classes than to those of a glob.
    plain = re.sub(r"[][&~|^]|(?<=-)-", r"\\\g<0>", characters[len(negated) :])
    expression = f"(?!/)[{negated}{plain}]"
    try:
        re.compile(expression)
    except re.error:  # a range that runs backwards, or a lone backslash
        return re.escape(f"[{characters}]")
    return expression
