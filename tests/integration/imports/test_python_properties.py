"""Trees that are generated together with the edges their imports mean."""

from __future__ import annotations

import dataclasses
import keyword
import string
import sys
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from alexandria.domain.imports import (
    ImportForm,
    ImportStatement,
    ReadStatus,
    RepoTree,
    Resolved,
    SourceFacts,
    resolve_imports,
)
from alexandria.domain.imports import python as rules
from alexandria.domain.language import Language
from support.repos import edges_of, outcomes_of

SETUP_SRC = "[options]\npackage_dir =\n    = {root}\n"

# Two layers of names that never mean a module of the standard library or a keyword.
PLAIN = st.text(string.ascii_lowercase, min_size=2, max_size=5).filter(
    lambda name: name not in sys.stdlib_module_names and not keyword.iskeyword(name)
)
NAMES = st.lists(PLAIN.map(lambda name: "m_" + name), min_size=1, max_size=3, unique=True)


@dataclasses.dataclass(frozen=True)
class Module:
    """A module with its dotted name and its file."""

    dotted: str
    path: str
    is_package: bool

    @property
    def package(self) -> list[str]:
        """The package that its relative imports start from."""
        parts = self.dotted.split(".")
        return parts if self.is_package else parts[:-1]


@dataclasses.dataclass(frozen=True)
class Written:
    """A repository with the edges that its imports mean."""

    files: dict[str, str | bytes]
    edges: set[tuple[str, str]]


@st.composite
def modules(draw: st.DrawFn) -> tuple[dict[str, str], list[Module]]:
    """Draw manifests, and packages of one to three levels below one or two source roots."""
    roots = draw(st.sampled_from([[""], ["src"], ["lib"], ["code"], ["one/src", "two/code"], ["one", "two/lib"]]))
    manifests = {}
    for root in roots:
        project, _, source = root.rpartition("/")
        if source in {"code", "src", "lib"} and draw(st.booleans() if source != "code" else st.just(True)):
            manifests[f"{project}/setup.cfg" if project else "setup.cfg"] = SETUP_SRC.format(root=source)
        elif root:
            manifests[f"{project or root}/setup.py"] = ""
    found = []
    for number, root in enumerate(roots):
        prefix = f"{root}/" if root else ""
        for top in draw(NAMES):
            package = f"{top}{number}"  # the same name in two distributions would be one of them hidden
            found.append(Module(package, f"{prefix}{package}/__init__.py", is_package=True))
            for name in draw(NAMES):
                if draw(st.booleans()):
                    found.append(Module(f"{package}.{name}", f"{prefix}{package}/{name}.py", is_package=False))
                else:
                    deeper = f"{package}.{name}"
                    found.append(Module(deeper, f"{prefix}{package}/{name}/__init__.py", is_package=True))
                    found.extend(
                        Module(f"{deeper}.{leaf}", f"{prefix}{package}/{name}/{leaf}.py", is_package=False)
                        for leaf in draw(NAMES)
                    )
    return manifests, found


def absolute(target: Module, alias: str) -> str:
    return f"import {target.dotted}{alias}"


def from_parent(target: Module, alias: str) -> str:
    parent, _, name = target.dotted.rpartition(".")
    return f"from {parent} import {name}{alias}" if parent else f"import {name}{alias}"


def attribute(target: Module, alias: str) -> str:
    return f"from {target.dotted} import Thing{alias}"


def in_brackets(target: Module, alias: str) -> str:
    return f"from {target.dotted} import (  # {alias} import nothing\n    Thing{alias},\n    Other,\n)"


def lazily(target: Module, alias: str) -> str:
    return f"def f_():\n    try:\n        import {target.dotted}{alias}\n    except ImportError: pass"


def relatively(importer: Module, target: Module) -> str | None:
    """Write the import of `target` with dots, or None where no dots reach it."""
    here, there = importer.package, target.dotted.split(".")
    common = 0
    while common < min(len(here), len(there) - 1) and here[common] == there[common]:
        common += 1
    if common == 0:
        return None
    dots = "." * (len(here) - common + 1)
    return f"from {dots}{'.'.join(there[common:-1])} import {there[-1]}"


STYLES: list[Callable[[Module, str], str]] = [absolute, from_parent, attribute, in_brackets, lazily]
ALIASES = st.sampled_from(["", " as alias", "  as\tx"])
ENDS = st.sampled_from(["\n", "\r\n", "\n\n# import nothing\n", "; import sys\n"])


@st.composite
def repositories(draw: st.DrawFn) -> Written:
    manifests, found = draw(modules())
    files: dict[str, str | bytes] = dict(manifests)
    edges = set()
    for importer in found:
        lines = []
        for target in draw(st.lists(st.sampled_from(found), max_size=4)):
            relative = relatively(importer, target) if draw(st.booleans()) else None
            style = draw(st.sampled_from(STYLES))
            statement = relative or style(target, draw(ALIASES))
            lines.append(statement + ("\n" if "\n" in statement else draw(ENDS)))
            if target != importer:
                edges.add((importer.path, target.path))
        mark = draw(st.sampled_from(["", "\ufeff"]))
        files[importer.path] = mark + "".join(lines)
    return Written(files, edges)


@given(repositories())
@settings(max_examples=100)
def test_generated_repositories_have_exactly_the_edges_that_were_written(written: Written) -> None:
    assert set(edges_of(written.files)) == written.edges


@given(repositories())
@settings(max_examples=100)
def test_a_module_that_is_taken_away_is_reported_and_nothing_else_changes(written: Written) -> None:
    modules_only = sorted(path for path in written.files if path.endswith(".py") and "__init__" not in path)
    modules_only = [path for path in modules_only if not path.endswith("setup.py")]
    if not modules_only:
        return
    gone = modules_only[len(written.edges) % len(modules_only)]
    files = {path: text for path, text in written.files.items() if path != gone}
    found = outcomes_of(files)
    resolved = {
        (path, target) for path, file in found.items() for o in file.outcomes for target in o.targets if target != path
    }
    expected = {edge for edge in written.edges if gone not in edge}
    # `from package import gone` now means a name of the package, so such an edge moves up.
    parent = gone.rpartition("/")[0] + "/__init__.py"
    assert expected <= resolved
    assert {edge for edge in resolved - expected if edge[1] != parent} == set()
    for importer in {a for a, b in written.edges if b == gone}:
        moved = any(target == parent for o in found[importer].outcomes for target in o.targets)
        reported = any(o.resolved is Resolved.UNRESOLVED for o in found[importer].outcomes)
        assert moved or reported or importer == parent


PATHS = st.lists(
    st.sampled_from(["a", "b", "src", "tests", "__init__", "json", "lib", "é", "a.b", "", "setup", "manage"]),
    min_size=1,
    max_size=4,
).map("/".join)
MANIFEST_NAMES = st.sampled_from(["pyproject.toml", "setup.cfg", "setup.py", "pytest.ini", "a/setup.py", "src/tox.ini"])
MANIFEST_TEXTS = st.one_of(
    st.text(max_size=80),
    st.sampled_from(
        [
            "[tool.setuptools]\npackage-dir = {'' = '..'}",
            "[options]\npackage_dir = a=b\n",
            "setup(package_dir={'a': 'b/../a', '': '/'})",
            "[tool.hatch.build.targets.wheel]\npackages = ['a', 'src/', '/', '']\nsources = {a = 'b', b = ''}",
            "[pytest]\npythonpath = . .. /x a",
        ]
    ),
)
SPECIFIERS = st.lists(
    st.sampled_from(["", "a", "b", "__init__", "json", "é", "\0", "src", "a b", "*"]), min_size=1, max_size=5
).map(".".join)


@st.composite
def any_facts(draw: st.DrawFn) -> list[SourceFacts]:
    statements = st.builds(
        ImportStatement,
        line=st.integers(1, 9),
        specifier=st.one_of(SPECIFIERS, st.text(min_size=1, max_size=6)),
        form=st.sampled_from(ImportForm),
        names=st.lists(st.sampled_from(["a", "b", "*", "", "json"]), max_size=3).map(tuple),
        type_only=st.booleans(),
    )
    paths = draw(st.lists(PATHS.map(lambda p: p + ".py"), max_size=8, unique=True))
    return [
        SourceFacts(path, Language.PYTHON, ReadStatus.READ, tuple(draw(st.lists(statements, max_size=5))))
        for path in paths
    ]


@given(any_facts(), st.lists(PATHS), st.dictionaries(MANIFEST_NAMES, MANIFEST_TEXTS, max_size=4))
@settings(max_examples=200)
def test_resolution_never_raises_and_answers_every_import(
    facts: list[SourceFacts], others: list[str], manifests: dict[str, str]
) -> None:
    tree = RepoTree(frozenset([*(f.path for f in facts), *others, *manifests]), manifests)
    found = list(resolve_imports(tree, facts))
    ordered = sorted(facts, key=lambda file: file.path)
    assert [file.path for file in found] == [file.path for file in ordered]
    for file, outcome in zip(ordered, found, strict=True):
        assert {o.line for o in outcome.outcomes} == {i.line for i in file.imports}
        for one in outcome.outcomes:
            assert set(one.targets) <= tree.paths
            assert one.reason
            assert bool(one.targets) <= (one.resolved is Resolved.INSIDE)


def test_manifests_are_asked_for_once() -> None:
    tree = RepoTree(frozenset({"setup.py", "a/pyproject.toml", "a/b.py", "setup.pyc", "docs/tox.ini"}))
    wanted = rules.wanted_manifests(tree)
    assert wanted == {"setup.py", "a/pyproject.toml", "docs/tox.ini"}
    assert rules.wanted_manifests(RepoTree(tree.paths, dict.fromkeys(wanted, ""))) == set()
