"""Generated Java repositories, with the edges that their generator knows they have."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from support.repos import edges_of, facts_of, outcomes_of

PACKAGES = ("", "a", "a.b", "a.c", "com.acme.shop", "com.acme.shop.cart")
ROOTS = ("", "src/", "one/src/main/java/", "one/src/test/java/", "two/src/main/java/")
TYPES = ("T0", "T1", "T2", "T3", "Größe", "_T5")
NESTED = ("N0", "N1", "T0", "T1")
KINDS = (
    "class {0} {{{1}}}",
    "interface {0} {{{1}}}",
    "enum {0} {{ X; {1} }}",
    "record {0}() {{{1}}}",
    "@interface {0} {{{1}}}",
)
USES = (
    "{0} f{1};",
    "java.util.List<? extends {0}> f{1};",
    "Object f{1} = new {0}[0];",
    "Object f{1} = {0}.class;",
    "Object f{1} = {0}.call(1);",
    "java.util.function.Supplier f{1} = {0}::new;",
    "@{0} int f{1};",
    "abstract class C{1} extends {0} {{}}",
    "class C{1} {{ void m({0}... x) throws {0} {{ try {{ }} catch ({0} e) {{ }} }} }}",
)


@dataclass
class File:
    """One file as the generator sees it: `names` are the simple names that its code uses."""

    package: str
    type: str
    root: str
    kind: str
    nested: str = ""
    header: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    written_out: list[str] = field(default_factory=list)

    @property
    def path(self) -> str:
        folder = self.package.replace(".", "/")
        return f"{self.root}{folder}{'/' if folder else ''}{self.type}.java"

    @property
    def qualified(self) -> str:
        return f"{self.package}.{self.type}"


@dataclass
class Repository:
    files: list[File]
    edges: dict[tuple[str, str], str] = field(default_factory=dict)
    styles: list[str] = field(default_factory=list)

    def edge(self, importer: File, imported: File, kind: str) -> None:
        pair = importer.path, imported.path
        if importer is not imported and self.edges.get(pair) != "import":
            self.edges[pair] = kind

    def text(self) -> dict[str, str]:
        texts = {}
        for file in self.files:
            uses = [*file.names, *file.written_out]
            body = "".join(self.styles[i % len(self.styles)].format(name, i) + "\n" for i, name in enumerate(uses))
            if file.nested:
                body += f"static class {file.nested} {{}}\n"
            clause = f"package {file.package};\n" if file.package else ""
            texts[file.path] = clause + "".join(file.header) + file.kind.format(file.type, body)
        return texts


@st.composite
def repositories(draw: st.DrawFn) -> Repository:
    """Packages and types first, then imports and uses of them, each with the edge that it makes."""
    places = draw(
        st.lists(st.tuples(st.sampled_from(PACKAGES), st.sampled_from(TYPES)), min_size=2, max_size=9, unique=True)
    )
    files = [
        File(
            package,
            name,
            draw(st.sampled_from(ROOTS)),
            draw(st.sampled_from(KINDS)),
            draw(st.sampled_from(["", *(n for n in NESTED if n != name)])),
        )
        for package, name in places
    ]
    repository = Repository(files, styles=draw(st.permutations(USES)))
    for file in files:
        connect(draw, repository, file)
    return repository


def connect(draw: st.DrawFn, repository: Repository, file: File) -> None:
    others = st.sampled_from(repository.files)
    importable = [other for other in repository.files if other.package]
    bound = {file.type, file.nested}
    for other in draw(st.lists(st.sampled_from(importable), max_size=3, unique_by=id)) if importable else ():
        static = draw(st.booleans())
        nested = other.nested if other.nested and draw(st.booleans()) else ""
        simple = "member" if static else nested or other.type
        if simple in bound:
            continue  # the compiler would refuse it
        name = f"{other.qualified}.{nested}" if nested else other.qualified
        file.header.append(f"import static {name}.{simple};\n" if static else f"import {name};\n")
        if not static:
            bound.add(simple)
        repository.edge(file, other, "import")

    packages = sorted({other.package for other in importable})
    on_demand = draw(st.lists(st.sampled_from(packages), max_size=2, unique=True)) if packages else []
    file.header.extend(f"import {package}.*;\n" for package in on_demand)
    for other in draw(st.lists(others, max_size=4, unique_by=id)):
        name = other.type
        file.names.append(name)
        if name in bound:
            continue
        same = [f for f in repository.files if f.package == file.package and f.type == name]
        demanded = [f for f in repository.files if f.package in on_demand and f.type == name]
        if same:
            repository.edge(file, same[0], "implicit")
        elif len(demanded) == 1:
            repository.edge(file, demanded[0], "import")
        elif demanded:
            file.names.pop()  # ambiguous: the compiler would refuse it
    for other in draw(st.lists(others, max_size=2, unique_by=id)):
        if other.package:
            file.written_out.append(other.qualified)
            repository.edge(file, other, "implicit" if other.package == file.package else "import")


@settings(max_examples=200)
@given(repositories())
def test_generated_repository_has_the_edges_that_it_was_generated_with(repository: Repository) -> None:
    assert edges_of(repository.text()) == repository.edges


# Pieces of Java in senseless order: fragments of real source reach further into a parser than random bytes.
WORDS = """
package import static module class interface enum record @interface extends implements permits new this super
switch case a.b a.* A B A.B T <T> <T extends B> @A { } ( ) [ ] ; , . :: -> = " ' triple /* */ // \\ é uses provides with
<<<<<<< ======= >>>>>>>
"""
fragments = st.sampled_from([*WORDS.replace("triple", '"""').split(), "\n", "\r", "\t", "\0", "void m() {"])
sources = st.lists(fragments, max_size=60).map(" ".join).map(str.encode) | st.binary(max_size=200)


@settings(max_examples=300)
@given(sources, st.booleans())
def test_no_content_makes_it_raise(content: bytes, in_other: bool) -> None:
    files = {"p/A.java": content, "p/B.java": b"package p; class B { A a; }", "q/C.java": b"package a; class b {}"}
    if in_other:
        files["p/package-info.java"] = content[::-1]
    outcomes = outcomes_of(files)
    assert set(outcomes) == set(files)
    assert {target for file in outcomes.values() for o in file.outcomes for target in o.targets} <= set(files)
    for facts in facts_of(files):
        lines = files[facts.path].replace(b"\r", b"\n").count(b"\n") + 1
        assert all(1 <= statement.line <= lines for statement in facts.imports)
        for name in (facts.package, *facts.declares, *facts.uses):
            name.encode()  # no lone surrogates: every name can be stored
