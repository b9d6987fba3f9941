"""Resolution of Java on facts made by hand."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexandria.domain.imports.facts import ImportForm, ImportStatement, SourceFacts
from alexandria.domain.imports.java import resolve, wanted_manifests
from alexandria.domain.imports.outcome import FileOutcome, Outcome, Resolved
from alexandria.domain.imports.tree import RepoTree
from alexandria.domain.language import Language


def facts(
    path: str,
    package: str = "",
    declares: tuple[str, ...] = (),
    uses: tuple[str, ...] = (),
    imports: tuple[ImportStatement, ...] = (),
) -> SourceFacts:
    return SourceFacts(path, Language.JAVA, package=package, declares=declares, uses=uses, imports=imports)


def resolved(*files: SourceFacts, also: tuple[str, ...] = ()) -> list[FileOutcome]:
    return list(resolve(RepoTree(frozenset({*(file.path for file in files), *also})), files))


def of(file: FileOutcome) -> list[tuple[int, str, tuple[str, ...]]]:
    return [(o.line, o.specifier, o.targets) for o in file.outcomes]


B = facts("p/B.java", "p", ("B", "B.Inner"))


def single(specifier: str, form: ImportForm = ImportForm.MODULE) -> Outcome:
    """Return what became of one import beside `B`."""
    (only,) = resolved(facts("q/A.java", "q", ("A",), imports=(ImportStatement(7, specifier, form),)), B)[0].outcomes
    return only


def test_no_manifest_is_wanted() -> None:
    assert wanted_manifests(RepoTree(frozenset({"pom.xml", "build.gradle", "a/A.java"}))) == set()


def test_one_outcome_for_each_file_in_their_order() -> None:
    files = [facts("z/Z.java", "z", ("Z",)), B, facts("a/A.java", "a", ("A",))]
    assert [file.path for file in resolved(*files)] == ["z/Z.java", "p/B.java", "a/A.java"]


def test_imports_keep_their_order_and_implicit_edges_come_last() -> None:
    imports = (
        ImportStatement(2, "java.util.List"),
        ImportStatement(3, "p", ImportForm.WILDCARD),
        ImportStatement(4, "p.B.Inner", ImportForm.STATIC),
    )
    a = facts("q/A.java", "q", ("A",), ("C",), imports)
    assert of(resolved(a, B, facts("q/C.java", "q", ("C",)))[0]) == [
        (2, "java.util.List", ()),
        (3, "p.*", ()),
        (4, "p.B.Inner", ("p/B.java",)),
        (0, "C", ("q/C.java",)),
    ]


@pytest.mark.parametrize("specifier", ["p.B", "p.B.Inner", "p.B.Inherited", "p.B.Inner.Deeper"])
def test_what_goes_on_behind_a_type_is_in_its_file(specifier: str) -> None:
    assert single(specifier).targets == ("p/B.java",)


@pytest.mark.parametrize(
    ("specifier", "form", "ending"),
    [
        ("java.util.List", ImportForm.MODULE, Resolved.EXTERNAL),
        ("p.Missing", ImportForm.MODULE, Resolved.UNRESOLVED),
        ("p.Missing.max", ImportForm.STATIC, Resolved.UNRESOLVED),
        ("p.Missing", ImportForm.STATIC_WILDCARD, Resolved.UNRESOLVED),
        ("p.below.Missing", ImportForm.MODULE, Resolved.EXTERNAL),
        ("elsewhere", ImportForm.WILDCARD, Resolved.EXTERNAL),
        ("module java.base", ImportForm.WILDCARD, Resolved.UNSUPPORTED),
    ],
)
def test_how_an_import_ends_that_finds_no_file(specifier: str, form: ImportForm, ending: Resolved) -> None:
    only = single(specifier, form)
    assert (only.resolved, only.targets, only.line) == (ending, (), 7)
    assert only.reason


def test_every_ending_has_a_reason() -> None:
    a = facts(
        "p/A.java", "p", ("A",), ("B", "r.D"), (ImportStatement(1, "q.C"), ImportStatement(2, "r", ImportForm.WILDCARD))
    )
    files = resolved(a, B, facts("q/C.java", "q", ("C",)), facts("r/D.java", "r", ("D",)))
    assert all(outcome.reason for outcome in files[0].outcomes)


@pytest.mark.parametrize(
    ("file", "language"),
    [("x/q/K.kt", "Kotlin"), ("q/K.scala", "Scala"), ("src/groovy/q/K.groovy", "Groovy"), ("q/K.aj", "AspectJ")],
)
def test_package_of_another_language_is_unsupported_and_named(file: str, language: str) -> None:
    a = facts("A.java", imports=(ImportStatement(1, "q.K"),))
    (only,) = resolved(a, also=(file,))[0].outcomes
    assert only.resolved is Resolved.UNSUPPORTED
    assert language in only.reason


def test_type_declared_twice_in_one_broken_file_is_one_target() -> None:
    twice = facts("p/T.java", "p", ("T", "T"))
    assert of(resolved(facts("p/A.java", "p", ("A",), ("T",)), twice)[0]) == [(0, "T", ("p/T.java",))]


def test_the_order_of_the_files_does_not_matter() -> None:
    files = [facts(f"{root}/p/T.java", "p", ("T",)) for root in ("x", "y", "z")]
    a = facts("w/q/A.java", "q", ("A",), ("p.T",))
    assert of(resolved(a, *files)[0]) == of(resolved(a, *reversed(files))[0]) == [(0, "p.T", ("x/p/T.java",))]


names = st.text(alphabet="aAbB._*$ é", max_size=6) | st.sampled_from(
    ["a", "a.b", "a.b.A", "A.B", "", ".", "..", "a..A"]
)
statements = st.builds(ImportStatement, st.integers(1, 9), names, st.sampled_from(list(ImportForm)))
paths = st.sampled_from(
    ["A.java", "a/A.java", "a/b/A.java", "m/src/main/java/a/A.java", "src/A.java", "x/src/A.java", "/a//A.java"]
)
any_facts = st.builds(
    facts,
    paths,
    names,
    st.lists(names, max_size=4).map(tuple),
    st.lists(names, max_size=4).map(tuple),
    st.lists(statements, max_size=4).map(tuple),
)


@settings(max_examples=300)
@given(
    st.lists(any_facts, max_size=5),
    st.frozensets(st.sampled_from(["pom.xml", "a/build.gradle", "a/b/K.kt", "A.scala"])),
)
def test_no_facts_make_it_raise(files: list[SourceFacts], also: frozenset[str]) -> None:
    outcomes = list(resolve(RepoTree(also | {file.path for file in files}), files))
    assert [outcome.path for outcome in outcomes] == [file.path for file in files]
    for file, outcome in zip(files, outcomes, strict=True):
        assert len([o for o in outcome.outcomes if o.line]) == len(file.imports)
